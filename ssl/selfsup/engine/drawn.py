"""What the pictures of a report and its page are drawn from."""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import diagnostics
from ..evals import Features
from .build import Data
from .encoder import Encoder
from .plots import map_of

MAPPED = 1000  # test features on the map, at most


class Encoded(NamedTuple):
    """What a report is computed from.

    Attributes:
      features: representation -> features of the labelled images of train and test; empty without probes.
      test: features of all test images by the trained encoder.
      embeddings: likewise.
      notes: what was left out, a sentence each.
      rows: numbers of the images behind the features, in `data.labelled` (none without probes) and, of `test`, in
        `data.test`.
    """

    features: dict[str, tuple[Features, Features]]
    test: Features
    embeddings: np.ndarray
    notes: list[str]
    rows: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Drawn:
    """The run's data and encoder, what it encoded, its lines of metrics; and what is computed of them once."""

    data: Data
    encoder: Encoder
    encoded: Encoded
    lines: list[dict[str, Any]]

    @functools.cached_property
    def places(self) -> np.ndarray | str:
        """The t-SNE map of the first `MAPPED` test features, `[n, 2]`, or the reason why there is none."""
        return map_of(self.encoded.test.features[:MAPPED])

    @functools.cached_property
    def spectra(self) -> dict[str, np.ndarray]:
        """Singular values over the largest, uncentred, of the test set's features and embeddings."""
        found = {}
        for name, z in (('features', self.encoded.test.features), ('embeddings', self.encoded.embeddings)):
            values = np.asarray(diagnostics.singular_values(z))
            found[name] = np.maximum(values / max(values[0], 1e-30), 1e-8)
        return found
