"""Sections of pictures: the views, the nearest neighbours, the hardest images, and the report's own pictures."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from .facts import Facts, OfOtherMethods, Picture
from .gather import Neighbour, Neighbours, Views
from .html import Html, absent, image, joined, short, table, tag
from .thumbnails import data_uri, thumbnails

SMALLEST = 48  # CSS pixels of a shown image
HARDEST = 24
PICTURE_BYTES = 2**19  # of one picture of the report
HARD_SIDE = 96
APART = ('training.png', 'features.png')  # the page draws what these show by itself


def shown(picture: Image.Image | None, text: str, least: int = SMALLEST) -> Html:
    """A small picture, enlarged by the browser where it is tiny."""
    if picture is None:
        return tag('span', 'no picture', class_='absent')
    return image(data_uri(picture), text, max(least, picture.width))


def views_html(found: Views) -> Html:
    """A row for each training image: as it is stored, and its views."""
    rows = []
    for number, (original, views) in enumerate(zip(found.originals, found.views, strict=True), 1):
        cells = [shown(view, f'view {v} of image {number}', 72) for v, view in enumerate(views, 1)]
        rows.append([str(number), shown(original, f'image {number}', 72), *cells])
    count = max(map(len, found.views), default=0)
    text = (
        'The first images of the first batch, and their views as the step draws them: same rows, same random numbers.'
    )
    if found.control == 'shuffled_pairs':
        text += ' This run is the control with shuffled pairs: views in one row are of different images.'
    if found.dropped:
        text += f' {found.dropped} more views of each image are not shown.'
    headings = ['', 'stored', *(f'view {v}' for v in range(1, count + 1))]
    return joined([tag('p', text), table(headings, rows, label='Augmented views', class_='pictures')])


def _neighbour(facts: Facts, label: int, one: Neighbour) -> Html:
    name = facts.class_name(one.label)
    same = 'unknown' if label < 0 or one.label < 0 else 'same' if one.label == label else 'other'
    mark = {'same': '✓ ', 'other': '✗ '}.get(same, '')
    text = f'neighbour: {name or "no label"}, cosine {one.cosine:.3f}'
    return tag(
        'figure',
        shown(one.picture, text),
        tag('figcaption', f'{mark}{short(name, 16)}' if name else f'{one.cosine:.2f}'),
        class_=f'near {same}',
        title=short(text),
    )


def neighbours_html(facts: Facts, found: Neighbours) -> Html:
    """A row for each test image, a column of neighbours for each representation."""
    rows = []
    for number, (picture, label, name) in enumerate(found.queries):
        true = facts.class_name(label)
        head = tag(
            'figure',
            shown(picture, f'test image {name}, class {true or "unknown"}'),
            tag('figcaption', short(true, 16)),
            class_='near',
        )
        cells = [
            tag('div', *(_neighbour(facts, label, n) for n in rows[number]), class_='strip')
            for rows in found.found.values()
        ]
        rows.append([head, *cells])
    text = (
        f'Test images, evenly from the classes, and the {found.among} images of largest cosine in each representation, '
        f'nearest first. ✓ is the same class, ✗ another.'
    )
    headings = ['test image', *(facts.names[name] for name in found.found)]
    return joined(
        [
            tag('p', text),
            table(headings, rows, label='Nearest neighbours', class_='pictures'),
            *map(absent, found.notes),
        ]
    )


class Hard(NamedTuple):
    """A test image that the probe finds hard: its picture, file, true and predicted class, and its certainty."""

    picture: Image.Image | None
    file: str
    true: str
    predicted: str
    certainty: float
    own: float
    wrong: bool


def hardest(facts: Facts) -> list[Hard]:
    """The test rows whose true class gets the least probability from the linear probe, wrong ones first."""
    probe = facts.probe
    wrong = probe.predicted != probe.labels
    order = np.lexsort((probe.true, ~wrong))[:HARDEST]
    if wrong.any():
        order = order[wrong[order]]
    data, numbers = facts.drawn.data.test, facts.drawn.encoded.rows[1][probe.rows[order]]
    pictures = thumbnails(data, numbers, HARD_SIDE) if data.spec.is_image else {}
    return [
        Hard(
            pictures.get(int(number)),
            facts.file_name(int(probe.rows[i])),
            facts.class_name(int(probe.labels[i])),
            facts.class_name(int(probe.predicted[i])),
            float(probe.certainty[i]),
            float(probe.true[i]),
            bool(wrong[i]),
        )
        for i, number in zip(order, numbers, strict=True)
    ]


def hardest_html(found: list[Hard]) -> Html:
    """Cards of the hardest images, or a table where the rows are no images."""
    text = 'Test rows that the linear probe gets wrong, those whose true class has the least probability first.'
    if not any(hard.wrong for hard in found):
        text = 'The linear probe gets every test row right; these are the ones that it is least certain of.'
    if all(hard.picture is None for hard in found):
        rows = [[short(h.file), short(h.true), short(h.predicted), f'{h.certainty:.2f}', f'{h.own:.2f}'] for h in found]
        headings = ('row', 'true', 'predicted', 'probability', 'of the true class')
        return joined([tag('p', text), table(headings, rows, label='Hardest test rows')])
    cards = (
        tag(
            'figure',
            shown(hard.picture, f'{hard.file}: {hard.true}, predicted {hard.predicted}', 72),
            tag(
                'figcaption',
                tag('b', short(hard.true, 24)),
                f' taken for {short(hard.predicted, 24)}, {hard.certainty:.2f}',
            ),
            title=short(hard.file),
        )
        for hard in found
    )
    return joined([tag('p', text), tag('div', *cards, class_='cards')])


class Shown(NamedTuple):
    """A picture of the report as a data URI."""

    uri: str
    caption: str
    note: str


def pictures(facts: Facts) -> list[Shown | str]:
    """The pictures of the report that the page does not draw itself, such as reconstructions."""
    found: list[Shown | str] = [p for p in facts.pictures if isinstance(p, str)]
    for picture in facts.pictures:
        if isinstance(picture, Picture) and picture.file not in APART:
            found.append(Shown(_embedded(facts.workdir / picture.file), picture.caption, picture.note))
    if not found:
        raise OfOtherMethods(f'The method {facts.drawn.encoder.config.method.name} has no pictures of its own.')
    return found


def _embedded(file: Path) -> str:
    with Image.open(file) as picture:
        return data_uri(picture.convert('L' if picture.mode == 'L' else 'RGB'), PICTURE_BYTES)


def pictures_html(found: list[Shown | str]) -> Html:
    """Each picture with its caption; a line for each that is left out."""
    return joined(
        absent(one)
        if isinstance(one, str)
        else tag('figure', image(one.uri, one.caption), tag('figcaption', one.caption, ' ', one.note), class_='wide')
        for one in found
    )
