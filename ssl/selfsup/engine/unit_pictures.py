"""What turns the units of a dictionary on: for each unit its images, beside images along random directions."""

from pathlib import Path

import numpy as np

from ..data.sources import Source
from ..evals.dictionary import LEAST_DENSE, TOP
from . import images, origin
from .encoder import Encoder
from .pictures import sheet

UNITS, RANDOM, EACH = 12, 4, TOP  # rows of units, rows of random directions, images in a row


def top_rows(values: np.ndarray, count: int) -> np.ndarray:
    """For each column the numbers of its rows of largest magnitude, the largest first: `[columns, count]`."""
    return np.argsort(-np.abs(values), axis=0, kind='stable')[:count].T


def shown_units(codes: np.ndarray) -> np.ndarray:
    """Numbers of at most `UNITS` units, of the largest mean |code|, that `EACH` rows or more turn on, no dense ones.

    Args:
      codes: `[rows, units]`.
    """
    rate = (codes != 0).mean(axis=0)
    fit = (rate * len(codes) >= EACH - 0.5) & (rate <= LEAST_DENSE)
    order = np.argsort(-np.abs(codes).mean(axis=0), kind='stable')
    return order[fit[order]][:UNITS]


def chosen_rows(codes: np.ndarray, inputs: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of test to show: `[units, EACH]` of :func:`shown_units`, and `[RANDOM, EACH]` of random directions.

    Args:
      codes: `[rows, units]`.
      inputs: what was coded, `[rows, dim]`; their largest projections onto random directions are the control.
      seed: of the directions.
    """
    directions = np.random.default_rng(seed).normal(size=(inputs.shape[1], RANDOM))
    projected = (inputs - inputs.mean(axis=0)) @ directions
    control = np.argsort(-projected, axis=0, kind='stable')[:EACH].T
    return top_rows(codes[:, shown_units(codes)], EACH), control


def plot_units(codes: np.ndarray, inputs: np.ndarray, source: Source, file: Path) -> bool:
    """Writes the images of :func:`chosen_rows` as a PNG, a unit a row, and the control below a white row.

    Args:
      codes, inputs: of the rows whose images `source` holds, in order.
      source: the images.
      file: what is written.

    Returns:
      False, and no file, if no unit is on in enough rows and few enough.
    """
    units, control = chosen_rows(codes, inputs)
    if not units.size or len(source) < EACH:
        return False
    wanted = np.concatenate([units, control])
    pictures = {number: image for number, image in images.decoded(source, np.unique(wanted))}
    groups = [np.stack([pictures[number] for number in row]).astype(np.float32) / 255 for row in wanted]
    groups.insert(len(units), np.ones_like(groups[0]))
    return sheet({str(number): group for number, group in enumerate(groups)}, file)


def images_of(encoder: Encoder, test: Source, given: str = '') -> Source | None:
    """The images of the rows of a dictionary's test set, one a row; None where there are none or they are not known.

    Args:
      encoder: of the dictionary.
      test: its test set.
      given: the source of the images, for a run on a features file that does not say it; see :func:`.origin.of_rows`.
    """
    if encoder.method.decode is None:
        return None
    return test if test.spec.is_image else origin.of_rows(encoder.config, given)
