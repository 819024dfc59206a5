"""What the sections of a page are made from, and what several of them share."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...errors import UserError
from ...evals import Features, even_draw, logistic_regression, standardized
from ...evals.logistic import scores
from ...files import read_json
from ..drawn import MAPPED, Drawn

MOST_FITTED = 2**26  # values of training features that the page's probe is fitted on; more are drawn from


class LeftOut(Exception):
    """A section that cannot be made, with the reason in one sentence, which stands in its place."""


class OfOtherMethods(LeftOut):
    """A section that runs of this method never have: the page is without it."""


class Picture(NamedTuple):
    """A picture of the report: its file, its caption, and a sentence on what is left out of it ('' for nothing)."""

    file: str
    caption: str
    note: str


class Probe(NamedTuple):
    """What a linear probe says of the labelled test rows.

    Attributes:
      rows: their places among the test features, `[n]`.
      labels, predicted: classes, `[n]`.
      certainty: probability of the predicted class, `[n]`.
      true: probability of the true class, 0 for a class that the probe does not know, `[n]`.
      fitted: number of training rows it was fitted on.
    """

    rows: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    certainty: np.ndarray
    true: np.ndarray
    fitted: int


@dataclass(frozen=True)
class Facts:
    """What a page shows.

    Attributes:
      workdir: folder of the run.
      drawn: data, encoder, what it encoded, metrics.
      table: representation -> score -> value; empty without probes.
      names: representation -> how it is called.
      headings: score -> its column heading.
      ranks: name -> value, None where it is not finite.
      verdict: of the last measurement; ''.
      speed: the account of the run in a sentence; ''.
      protocol: how the probes were made; ''.
      pictures: of the report, or the reason why one is left out.
      others: further numbers of the summary, by name.
    """

    workdir: Path
    drawn: Drawn
    table: dict[str, dict[str, float]]
    names: dict[str, str]
    headings: dict[str, str]
    ranks: dict[str, float | None]
    verdict: str
    speed: str
    protocol: str
    pictures: Sequence[Picture | str]
    others: dict[str, str] = field(default_factory=dict)

    @property
    def about(self) -> dict[str, Any]:
        """What `config.json` holds; empty for an encoder that was not trained here."""
        try:
            return read_json(self.workdir / 'config.json')
        except UserError:
            return {}

    @property
    def shown(self) -> np.ndarray:
        """Places among the test features of those on the map."""
        return np.arange(min(MAPPED, len(self.drawn.encoded.test.labels)))

    def of_images(self) -> None:
        """Raises :class:`LeftOut` where the rows are no images."""
        spec = self.drawn.data.test.spec
        if not spec.is_image:
            raise LeftOut(f'There are no pictures: the data are {spec.unit} {list(spec.shape)}.')

    def class_name(self, label: int) -> str:
        """The name of a class; '' for a row without a label."""
        names = self.drawn.data.test.class_names
        return '' if label < 0 else names[label] if label < len(names) else f'class {label}'

    def file_name(self, place: int) -> str:
        """The file or number of the image behind a row of the test features."""
        number = int(self.drawn.encoded.rows[1][place])
        return self.drawn.data.test.reader.name(number) if _has_names(self) else f'number {number}'

    @functools.cached_property
    def probe(self) -> Probe:
        """The linear probe of the trained encoder, with all labels; see :func:`fitted`."""
        if 'trained' not in self.table:
            raise LeftOut('There is no linear probe of the trained encoder.')
        train, test = self.drawn.encoded.features['trained']
        places = np.flatnonzero(self.drawn.encoded.test.labels >= 0)
        return fitted(
            train, test, places, inverse_regularization=self.drawn.encoder.config.evaluate.inverse_regularization
        )


def _has_names(facts: Facts) -> bool:
    reader = facts.drawn.data.test.reader
    return bool(hasattr(reader, 'name') and len(facts.drawn.encoded.rows[1]) and reader.name(0))


@functools.partial(jax.jit, static_argnames='classes')
def _probabilities(train: Array, labels: Array, test: Array, true: Array, c: Array, *, classes: int) -> tuple:
    """Predicted class, its probability and that of the true class (0 where that is negative), of each test row."""
    model = logistic_regression(train, labels, classes=classes, inverse_regularization=c)
    shares = jax.nn.softmax(scores(model, test), axis=1)
    own = jnp.take_along_axis(shares, jnp.maximum(true, 0)[:, None], axis=1)[:, 0]
    return jnp.argmax(shares, axis=1), jnp.max(shares, axis=1), jnp.where(true >= 0, own, 0.0)


def fitted(train: Features, test: Features, places: np.ndarray, *, inverse_regularization: float) -> Probe:
    """The report's linear probe with all labels, and what it says of each test row.

    Args:
      train, test: labelled features.
      places: of the test rows among all test features.
      inverse_regularization: C.

    Where train has more than `MOST_FITTED` values, the probe is fitted on rows drawn evenly from the classes.
    """
    x, x_test = standardized(train, test)
    rows = even_draw(train.labels, max(MOST_FITTED // x.shape[1], 1), seed=0)
    classes, labels = np.unique(train.labels[rows], return_inverse=True)
    found = np.searchsorted(classes, test.labels)
    known = classes[np.minimum(found, len(classes) - 1)] == test.labels
    true = np.where(known, found, -1).astype(np.int32)
    predicted, certainty, own = map(
        np.asarray,
        _probabilities(
            x[rows], labels.astype(np.int32), x_test, true, jnp.float32(inverse_regularization), classes=len(classes)
        ),
    )
    return Probe(places, test.labels, classes[predicted], certainty, own, len(rows))
