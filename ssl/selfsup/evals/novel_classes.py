"""Classes that come in steps and without labels: what frozen features discover, and what it costs earlier classes."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ..errors import UserError
from .clustering import fit_centres, matched
from .features import Features, check_both, unit_rows


def novel_classes(
    train: Features,
    test: Features,
    *,
    steps: int = 5,
    restarts: int = 3,
    iterations: int = 50,
    seed: int = 0,
    mesh: Mesh | None = None,
) -> dict[str, float]:
    """Discovery of classes step by step on frozen features, each step without labels and without the earlier rows.

    The classes are cut into steps in their order. A step sees the rows of its own classes, their number, and no label;
    its head is k-means on unit rows, with centres scaled to unit length. Heads stay as they are and stand side by side:
    a row belongs to the head's centre of largest cosine among all steps so far. Each step's centres are named by the
    one-to-one matching with most hits on its own rows of train, so names cost labels and discovery none.

    Args:
      train, test: features and labels. Test rows of classes that train lacks are left out.
      steps: at most so many; a step has at least two classes.
      restarts, iterations: of k-means.
      seed: of the starts.
      mesh: rows are spread over it.

    Returns:
      `novel_accuracy`, test accuracy over all classes after the last step; `novel_old` and `novel_new`, of the
      classes before the last step and of the last; `novel_forgetting`, the mean over the earlier steps of the accuracy
      right after a step minus that at the end, in [0, 1] since heads only gain rivals; `novel_within`, accuracy where
      the step of a test row is known; `novel_joint`, where one k-means saw all classes at once. A number of no test
      row is left out.

    Raises:
      UserError: with fewer than three classes, which make no two steps.

    The reading taken: the authors train each head by SGD on Sinkhorn's assignments of two augmented views; k-means is
    the same clustering without views, exact and quick. Their replay of earlier features is not part of it.

    References:
      Liu et al. 2024, https://arxiv.org/abs/2303.15975, sections 3.2 and 4.1; https://github.com/OatmealLiu/MSc-iNCD.
    """
    train, test, classes = check_both(train, test, classes=3)
    if steps < 2:
        raise UserError(f'steps={steps} must be at least 2')
    width = max(2, -(-classes // steps))
    step_of = np.arange(classes) // width
    z, known = unit_rows(train.features), test.labels < classes
    held = jnp.asarray(z)
    z_test, truth = unit_rows(test.features)[known], test.labels[known]

    def head(key: jax.Array, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Unit centres of some rows of train, and their names."""
        if rows.sum() < count:
            raise UserError(f'{count} classes have {int(rows.sum())} samples of train')
        found = fit_centres(
            key, held, jnp.asarray(rows), clusters=count, iterations=iterations, restarts=max(restarts, 1), mesh=mesh
        )
        centres = unit_rows(np.asarray(found))
        nearest = np.argmax(z[rows] @ centres.T, axis=1)
        return centres, matched(nearest, train.labels[rows], count=count, classes=classes)

    keys = jax.random.split(jax.random.key(seed), step_of[-1] + 2)
    heads = [head(keys[s], step_of[train.labels] == s, int(np.sum(step_of == s))) for s in range(step_of[-1] + 1)]
    joint = head(keys[-1], np.ones(len(z), bool), classes)

    def hits(*chosen: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Which test rows are right where the given heads compete."""
        centres, names = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
        return names[np.argmax(z_test @ centres.T, axis=1)] == truth

    after = [hits(*heads[: s + 1]) for s in range(len(heads))]
    of_step = [step_of[truth] == s for s in range(len(heads))]
    lost = [np.mean(after[s][rows]) - np.mean(after[-1][rows]) for s, rows in enumerate(of_step[:-1]) if rows.any()]
    within = sum(np.sum(hits(own)[rows]) for own, rows in zip(heads, of_step, strict=True))
    numbers = {
        'accuracy': after[-1],
        'old': after[-1][~of_step[-1]],
        'new': after[-1][of_step[-1]],
        'forgetting': lost,
        'within': [within / len(truth)] if len(truth) else [],
        'joint': hits(joint),
    }
    return {f'novel_{name}': float(np.mean(values)) for name, values in numbers.items() if len(values)}
