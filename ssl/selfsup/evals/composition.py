"""Whether an operator on embeddings composes as the transformations of the images do."""

import numpy as np

from .. import diagnostics
from ..errors import UserError


def composition(
    start: np.ndarray, once: np.ndarray, twice: np.ndarray, wrong: np.ndarray, end: np.ndarray
) -> dict[str, float]:
    """How far predicted embeddings of a third view of each image are from one another and from that view's own.

    Args:
      start: embeddings of the first view, `[images, dim]`, at least two.
      once: those after the operator of the change from the first view to the third.
      twice: those after the operator of the change to a second view, then that of the change from it to the third.
      wrong: those after the operator of another image's change.
      end: embeddings of the third view.

    Returns:
      Mean squared distances over those of different images: 0 where the two are equal, about 1 where they are no closer
      than those of different images, and 1 where all are one point. `composition_operators`, of `twice` to `once`;
      and to `end`, of `once` (`composition_once`), `twice` (`composition_twice`), and two controls, `start`, with no
      operator (`composition_none`), and `wrong` (`composition_wrong`).

    Raises:
      UserError: for embeddings of other shapes.
    """
    given = {'start': start, 'once': once, 'twice': twice, 'wrong': wrong}
    for name, z in given.items():
        if z.shape != end.shape or end.ndim != 2 or len(end) < 2:
            raise UserError(f'{name} {list(z.shape)} must have the shape [images, dim] of end {list(end.shape)}')
    pairs = {
        'operators': (twice, once),
        'once': (once, end),
        'twice': (twice, end),
        'none': (start, end),
        'wrong': (wrong, end),
    }
    return {f'composition_{name}': float(diagnostics.relative_alignment(*pair)) for name, pair in pairs.items()}
