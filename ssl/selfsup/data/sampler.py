"""The order in which examples are seen: a function of seed and epoch alone, the same for every data path."""

import functools

import numpy as np


@functools.lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """A permutation of `count` positions for one epoch.

    It sorts the raw words of a counter-based generator, whose stream NumPy guarantees; `permutation`
    may change between versions, and then a resumed run would see other batches.
    """
    words = np.random.Philox(key=[seed, epoch]).random_raw(count)
    return np.argsort(words, kind='stable').astype(np.int32)


def batch_indices(seed: int, step: int, steps: int, count: int, batch_size: int) -> np.ndarray:
    """Positions in the data set of the batches `step` … `step + steps − 1`, `[steps, batch_size]`.

    The remainder of an epoch, count mod batch_size, is dropped.
    """
    per_epoch = count // batch_size
    rows = []
    for number in range(step, step + steps):
        epoch, batch = divmod(number, per_epoch)
        rows.append(epoch_order(seed, epoch, count)[batch * batch_size : (batch + 1) * batch_size])
    return np.stack(rows)
