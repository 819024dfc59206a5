"""What the recorder (PyTorch) and the tests (ours) of clustering losses share: a linear head on fixed features. NumPy."""

from pathlib import Path

import numpy as np

STEPS, ROWS, DIM, CLUSTERS, HEADS = 20, 60, 6, 4, 2
RATE = {'scan': 0.5, 'scan_self_label': 0.5, 'sela': 0.5}
ENTROPY_WEIGHT, THRESHOLD, SHARPNESS = 5.0, 0.5, 10.0
RELABEL = 5  # steps between two transports of SeLa
FILE = Path(__file__).parent / 'clusters.npz'


def features(step: int, view: int) -> np.ndarray:
    """Rows around `CLUSTERS` centres, with new noise at each step and view; step −1 is without."""
    rng = np.random.default_rng(3)
    centres = 2.0 * rng.normal(size=(CLUSTERS, DIM))
    clean = centres[np.arange(ROWS) ** 2 % 7 % CLUSTERS] + 0.5 * rng.normal(size=(ROWS, DIM))
    return clean if step < 0 else clean + 0.3 * np.random.default_rng([step, view]).normal(size=clean.shape)


def kernel(case: str) -> np.ndarray:
    """The head's first weights, `[heads, dim, clusters]`, those of confident predictions larger."""
    scale = 0.4 if case == 'scan_self_label' else 0.2
    return scale * np.random.default_rng(5).normal(size=(HEADS if case == 'sela' else 1, DIM, CLUSTERS))
