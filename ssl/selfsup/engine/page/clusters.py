"""Section: what each cluster of the method holds."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from ...evals import agreement, sizes
from ..assignments import assigned, has_clusters
from .facts import Facts, OfOtherMethods
from .gallery import shown
from .html import Html, joined, short, table, tag
from .thumbnails import thumbnails

MOST_CLUSTERS = 24
MEMBERS = 10  # of each cluster
SIDE = 64
CLASSES = 3  # most frequent classes that are named


class Cluster(NamedTuple):
    """One cluster of test rows.

    Attributes:
      number: its number.
      size: rows, of all test rows the share `share`.
      classes: name and share of its most frequent classes; empty without labels.
      members: pictures of the rows of largest score, with their files.
    """

    number: int
    size: int
    share: float
    classes: list[tuple[str, float]]
    members: list[tuple[Image.Image | None, str]]


class Clusters(NamedTuple):
    """The largest clusters, how many there are and are used, and how they fit the classes; `fit` is empty without."""

    found: list[Cluster]
    count: int
    spread: dict[str, float]
    fit: dict[str, float]
    pictured: bool


def clusters(facts: Facts) -> Clusters:
    """The clusters of the test rows, largest first."""
    drawn = facts.drawn
    if not has_clusters(drawn.encoder):
        raise OfOtherMethods(f'The method {drawn.encoder.config.method.name} sorts nothing into clusters.')
    labels = drawn.encoded.test.labels
    outputs = {'features': drawn.encoded.test.features, 'embeddings': drawn.encoded.embeddings}
    own = assigned(drawn.encoder, outputs)
    counts = np.bincount(own.clusters, minlength=own.count)
    order = np.argsort(-counts, kind='stable')[:MOST_CLUSTERS]
    places = {int(k): _most_certain(own.clusters == k, own.scores) for k in order if counts[k]}
    pictured = drawn.data.test.spec.is_image
    numbers = drawn.encoded.rows[1]
    wanted = [int(numbers[p]) for rows in places.values() for p in rows]
    pictures = thumbnails(drawn.data.test, wanted, SIDE) if pictured else {}
    found = [
        Cluster(
            k,
            int(counts[k]),
            float(counts[k] / len(labels)),
            _frequent(facts, labels[own.clusters == k]),
            [(pictures.get(int(numbers[p])), facts.file_name(int(p))) for p in rows],
        )
        for k, rows in places.items()
    ]
    known = labels >= 0
    cells = np.zeros((own.count, int(labels.max(initial=0)) + 1), np.int64)
    np.add.at(cells, (own.clusters[known], labels[known]), 1)
    return Clusters(found, own.count, sizes(counts), agreement(cells) if known.any() else {}, pictured)


def _most_certain(mine: np.ndarray, scores: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(mine)
    return rows[np.argsort(-scores[rows], kind='stable')[:MEMBERS]]


def _frequent(facts: Facts, labels: np.ndarray) -> list[tuple[str, float]]:
    """Name and share, among the labelled rows, of the most frequent classes."""
    labels = labels[labels >= 0]
    values, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind='stable')[:CLASSES]
    return [(facts.class_name(int(values[i])), float(counts[i] / len(labels))) for i in order]


def clusters_html(found: Clusters) -> Html:
    """A row for each cluster: its size, its classes, and the members of largest score."""
    spread, fit = found.spread, found.fit
    text = (
        f'Clusters of the method itself, of the test rows: {spread["used"]:.0f} of {found.count} are used, the largest '
        f'holds {spread["largest"]:.1%}, and their sizes are those of {spread["perplexity"]:.1f} even ones.'
    )
    if fit:
        text += (
            f' Under the one-to-one matching with most hits on these rows {fit["accuracy_matched"]:.1%} are right; '
            f'NMI {fit["nmi"]:.3f}, ARI {fit["ari"]:.3f}.'
        )
    if len(found.found) < spread['used']:
        text += f' The {len(found.found)} largest are shown.'
    rows = []
    for one in found.found:
        classes = ', '.join(f'{short(name, 24)} {share:.0%}' for name, share in one.classes)
        cells = [str(one.number), f'{one.size:,}', f'{one.share:.1%}', classes or '–']
        if found.pictured:
            figures = (shown(picture, f'{file} in cluster {one.number}') for picture, file in one.members)
            cells.append(tag('div', *figures, class_='strip'))
        rows.append(cells)
    headings = ['cluster', 'rows', 'of all', 'classes', *(['members of largest score'] if found.pictured else [])]
    return joined([tag('p', text), table(headings, rows, label='Clusters', class_='pictures')])
