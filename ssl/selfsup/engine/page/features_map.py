"""Section: the t-SNE map of test features, which is panned and zoomed, with the image under the pointer."""

import contextlib
import json
import math
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from .facts import Facts, LeftOut
from .html import Html, absent, joined, short, tag
from .thumbnails import data_uri, sprite, thumbnails

SIDE = 600  # of the map, in its own units
MARGIN = 15
TILE = 32  # pixels of a thumbnail, at most
COLUMNS = 32
SPRITE_BYTES = 3 * 2**19
# Ten colours of one class each; of more classes they repeat in a lighter and a darker tone.
HUES = ('#1f77b4', '#ff7f0e', '#2ca02c', '#d62728', '#9467bd', '#8c564b', '#e377c2', '#7f7f7f', '#bcbd22', '#17becf')
TONES = ('', '#fff', '#000')
LEGEND = 20  # classes that the legend names


class Map(NamedTuple):
    """Points of the map.

    Attributes:
      places: `[n, 2]`, within the map.
      labels: `[n]`, −1 where unknown.
      classes: label -> name.
      predicted: `[n]` predicted label, −1 where there is none.
      files: `n` names.
      sheet: thumbnails in the order of the points, or None; `tile` is their side in pixels.
    """

    places: np.ndarray
    labels: np.ndarray
    classes: dict[int, str]
    predicted: np.ndarray
    files: list[str]
    sheet: Image.Image | None
    tile: int


def features_map(facts: Facts) -> Map:
    """Places that the report has computed, with what is shown of each point."""
    places, encoded = facts.drawn.places, facts.drawn.encoded
    if isinstance(places, str):
        raise LeftOut(f'There is no map of the test features: {places}.')
    shown = facts.shown
    labels = encoded.test.labels[shown]
    predicted = np.full(len(encoded.test.labels), -1)
    with contextlib.suppress(LeftOut):  # without labels points have no classes
        predicted[facts.probe.rows] = facts.probe.predicted
    predicted = predicted[shown]
    data, numbers, sheet, tile = facts.drawn.data.test, encoded.rows[1][shown], None, TILE
    if data.spec.is_image:
        tile = min(TILE, max(data.image_shape[:2]))
        pictures = thumbnails(data, numbers, tile)
        sheet = sprite([pictures.get(int(number)) for number in numbers], tile, COLUMNS)
    low, high = places.min(axis=0), places.max(axis=0)
    scale = (SIDE - 2 * MARGIN) / max(float((high - low).max()), 1e-30)
    centred = MARGIN + (SIDE - 2 * MARGIN - scale * (high - low)) / 2 + scale * (places - low)
    classes = {int(label): facts.class_name(int(label)) for label in np.union1d(labels, predicted) if label >= 0}
    files = [short(facts.file_name(int(place)), 80) for place in shown]
    return Map(centred.astype(np.float64), labels, classes, predicted, files, sheet, tile)


def colour(label: int) -> str:
    """The colour of a class; grey without one."""
    return '#777777' if label < 0 else HUES[label % len(HUES)]


def _edge(label: int) -> str | None:
    """The outline that tells classes of one colour apart."""
    return TONES[label // len(HUES) % len(TONES)] or None if label >= 0 else None


def _point(number: int, found: Map) -> Html:
    x, y = found.places[number]
    label = int(found.labels[number])
    name = found.classes.get(label, 'no label')
    return tag(
        'circle',
        tag('title', short(name, 40)),
        cx=f'{x:.1f}',
        cy=f'{y:.1f}',
        r='4',
        fill=colour(label),
        stroke=_edge(label),
        data_l=label,
    )


def _legend(found: Map) -> list[Any]:
    present = [int(label) for label in np.unique(found.labels) if label >= 0]
    entries = [
        tag(
            'button',
            tag('i', style=f'background:{colour(label)}'),
            short(found.classes[label], 30),
            type='button',
            data_l=label,
        )
        for label in present[:LEGEND]
    ]
    if len(present) > LEGEND:
        return [tag('p', f'{len(present)} classes; colours repeat, and the panel names the class of a point.')]
    return [tag('div', *entries, class_='classes', role='group', aria_label='Show one class')] if entries else []


def script_data(content: Any) -> Html:
    """JSON inside a script element, where no markup can begin."""
    text = json.dumps(content, ensure_ascii=True, separators=(',', ':'))
    for character in '<>&':
        text = text.replace(character, f'\\u{ord(character):04x}')
    return Html(text)


def map_html(found: Map) -> Html:
    """The map as SVG, a panel for the chosen point, and the data that the script reads."""
    count = len(found.places)
    drawing = tag(
        'svg',
        tag('g', *(_point(number, found) for number in range(count))),
        id='plane',
        viewBox=f'0 0 {SIDE} {SIDE}',
        tabindex='0',
        role='img',
        aria_label=(
            f't-SNE map of {count} test features. Arrow keys choose a point, plus and minus zoom, shift and arrow '
            f'keys move the map, 0 shows all.'
        ),
    )
    zoom = tag(
        'div',
        *(
            tag('button', text, type='button', data_zoom=factor, aria_label=label)
            for text, factor, label in (('+', '1.5', 'zoom in'), ('−', '0.667', 'zoom out'), ('all', '0', 'show all'))
        ),
        class_='zoom',
    )
    data = {
        'labels': found.labels.tolist(),
        'predicted': found.predicted.tolist(),
        'classes': {str(label): short(name) for label, name in found.classes.items()},
        'files': found.files,
        'tile': found.tile,
        'columns': COLUMNS,
        'rows': math.ceil(count / COLUMNS),
        'sheet': data_uri(found.sheet, SPRITE_BYTES) if found.sheet is not None else '',
    }
    panel = tag(
        'div',
        tag('div', id='seen'),
        tag('p', 'Without scripts the map is a still picture.', id='told', aria_live='polite'),
        class_='panel',
    )
    text = (
        f't-SNE of {count} test features by class: what lies close is alike, distances between groups mean little. '
        f'Wheel, two fingers or the buttons zoom.'
    )
    parts = [
        tag('p', text),
        tag('div', tag('div', drawing, zoom, class_='plane'), panel, class_='map'),
        *_legend(found),
        tag('script', script_data(data), id='points', type='application/json'),
    ]
    return joined(
        parts if found.sheet is not None else [*parts, absent('Points have no pictures: the rows are no images.')]
    )
