"""Entropic optimal transport between the rows of a batch, or of a whole set, and clusters: Sinkhorn's iteration."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from ._common import as_float, matrix, pair, positive


def transport(
    scores: Float[ArrayLike, 'rows count'],
    own_shares: Float[ArrayLike, ' rows'] | None = None,
    shares: Float[ArrayLike, ' count'] | None = None,
    *,
    epsilon: ArrayLike = 0.05,
    iterations: int = 1000,
    tolerance: ArrayLike = 1e-4,
) -> Float[Array, 'rows count']:
    """The plan P ≥ 0 with given marginals of largest ⟨P, S⟩ + ε·H(P): entropic optimal transport.

    P = diag(u) exp(S/ε) diag(v). An iteration scales the columns to their shares and then the rows to theirs, both as
    logarithms, so that no S/ε overflows and the plan's small entries are kept.

    Args:
      scores: S, larger where a row should go to a column: the negative of a cost.
      own_shares: how much each row holds, ≥ 0; None for 1 / rows each. Rows of 0, such as padding, get nothing.
      shares: how much each column takes, ≥ 0, scaled to the sum of the rows'; None for the same each.
      epsilon: ε > 0, the entropy's weight; towards 0 the plan becomes an assignment of least cost.
      iterations: at most.
      tolerance: ends where Σ_k |column sum − share| is below it, as a part of the whole; 0 runs all iterations.

    Returns:
      The plan, whose rows sum to `own_shares` and whose columns to `shares` up to the tolerance. It carries no
      gradient. The product of the shares where all scores are equal, as at collapse.

    Convention: SeLa's P^λ is exp(λ·log P): scores are logarithms of probabilities and ε = 1/λ. Its stop, Σ_i |c_i /
    c'_i − 1| < 0.1 between iterations, is one on the rows' scales and depends on their number.

    Cost: O(iterations·rows·count) time, O(rows·count) memory; no state. The result is that of the whole set.

    References:
      Cuturi 2013, https://arxiv.org/abs/1306.0895; Asano et al. 2020, https://arxiv.org/abs/1911.05371, eq. 5 to 7.
    """
    positive('epsilon', epsilon)
    scores = jax.lax.stop_gradient(matrix('scores', scores))
    rows, count = scores.shape
    own = jnp.full(rows, 1.0 / rows, scores.dtype) if own_shares is None else _shares('own_shares', own_shares, rows)
    wanted = jnp.ones(count, scores.dtype) if shares is None else _shares('shares', shares, count)
    own, wanted = (jax.lax.stop_gradient(x).astype(scores.dtype) for x in (own, wanted))
    whole = jnp.sum(own)
    wanted = wanted * (whole / jnp.sum(wanted))
    log_own, log_wanted = _log(own)[:, None], _log(wanted)[None]
    kernel = scores / epsilon

    def unfinished(state: tuple) -> Array:
        done, _, _, error = state
        # The error is that of the plan before an iteration; the rows of the first have not been scaled.
        return (done < iterations) & ((done < 2) | (error > tolerance))

    def iterate(state: tuple) -> tuple:
        done, u, v, _ = state
        new = log_wanted - _log_sum(kernel + u, axis=0)
        # Before its columns are scaled, the plan's sums of them are their shares times v / new.
        error = jnp.sum(jnp.where(wanted[None] > 0, wanted[None] * jnp.abs(jnp.expm1(v - new)), 0.0)) / whole
        return done + 1, log_own - _log_sum(kernel + new, axis=1), new, error

    start = (jnp.zeros((), jnp.int32), jnp.where(log_own == -jnp.inf, -jnp.inf, 0.0), jnp.zeros_like(log_wanted))
    _, u, v, _ = jax.lax.while_loop(unfinished, iterate, (*start, jnp.asarray(jnp.inf, scores.dtype)))
    return jnp.exp(kernel + u + v)


def _shares(name: str, given: ArrayLike, size: int) -> Array:
    found = as_float(name, given)
    if found.shape != (size,):
        raise ValueError(f'{name} must have shape {[size]}, not {list(found.shape)}')
    if not isinstance(found, jax.core.Tracer) and not (bool(jnp.all(found >= 0)) and bool(jnp.sum(found) > 0)):
        raise ValueError(f'{name} must be at least 0 and not all 0, and reaches from {found.min()} to {found.max()}')
    return found


def _log(x: Array) -> Array:
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), -jnp.inf)


def _log_sum(x: Array, *, axis: int) -> Array:
    """Log Σ exp along an axis; 0, not −∞, where nothing is left, so that log 0 minus it stays log 0."""
    found = jax.nn.logsumexp(x, axis=axis, keepdims=True)
    return jnp.where(found == -jnp.inf, 0.0, found)


def sinkhorn(
    scores: Float[ArrayLike, 'batch count'],
    *,
    epsilon: ArrayLike = 0.05,
    iterations: int = 3,
    valid: Bool[ArrayLike, ' batch'] | None = None,
) -> Float[Array, 'batch count']:
    """Soft assignments of rows to prototypes that use all prototypes equally (SwAV, eq. 3 to 5).

    Q = diag(u) exp(S/ε) diag(v); an iteration scales each prototype's column to the same total, then
    each row to 1. The arithmetic is on logarithms: exp(S/ε) overflows float32 beyond S/ε = 88.

    Args:
      scores: S, cosines of rows and prototypes.
      epsilon: ε, the entropy's weight. Authors: 0.05.
      iterations: authors: 3; at convergence columns sum to batch / count. 0 balances nothing: the softmax of
        each row of S/ε. (lightly with 0 divides by the sum of the whole matrix, so its rows do not sum to 1.)
      valid: rows that take part; the others get an assignment but do not weigh. None: all.

    Returns:
      Q, rows summing to 1 and, with iterations, nearly, columns to batch / count. All 1 / count at collapse.

    Convention: rows are examples; the authors' code holds the transpose and scales both sides by
    constants that the next step undoes.

    Cost: O(iterations·batch·count); no state. Every row depends on the whole batch.

    References:
      Caron et al. 2020, https://arxiv.org/abs/2006.09882, eq. 3 to 5 and listing 1; Cuturi 2013.
    """
    positive('epsilon', epsilon)
    if iterations < 0:
        raise ValueError(f'iterations must be at least 0, not {iterations}')
    scores = matrix('scores', scores)
    where = None if valid is None else jnp.asarray(valid)[:, None]
    log_q = scores / epsilon
    if iterations == 0:
        return jax.nn.softmax(log_q, axis=-1)
    for _ in range(iterations):
        log_q = log_q - jax.nn.logsumexp(log_q, axis=0, keepdims=True, where=where)
        log_q = log_q - jax.nn.logsumexp(log_q, axis=1, keepdims=True)
    return jnp.exp(log_q)


def slot_plan(
    scores: Float[ArrayLike, 'batch count'],
    *,
    several: int,
    epsilon: ArrayLike = 0.07,
    iterations: int = 20,
    weak: ArrayLike = 0.25,
) -> Float[Array, 'count batch count']:
    """The plan between slots, rows and anchors of :func:`multi_sinkhorn`, the strong slots last.

    Args:
      scores, several, epsilon, iterations, weak: see :func:`multi_sinkhorn`.

    Returns:
      Q without a gradient. Its sums over anchors are 1, and with iterations, nearly, those over slots 1 and those over
      rows batch / count. All 1 / count at collapse.

    Cost: O(iterations·count²·batch) time and O(count²·batch) memory; no state. Every row depends on the whole batch.

    References:
      Swetha et al. 2023, https://arxiv.org/abs/2308.13077.
    """
    positive('epsilon', epsilon)
    scores = jax.lax.stop_gradient(matrix('scores', scores))
    batch, count = scores.shape
    if not 1 <= several <= count:
        raise ValueError(f'several must lie between 1 and the {count} anchors of scores, and is {several}')
    gains = jnp.where(jnp.arange(count) < count - several, weak, 1.0).astype(scores.dtype)
    log_q = gains[:, None, None] * scores[None] / epsilon

    def iterate(_: Array, log_q: Array) -> Array:
        log_q = log_q - jax.nn.logsumexp(log_q, axis=1, keepdims=True) + jnp.log(batch / count)
        log_q = log_q - jax.nn.logsumexp(log_q, axis=0, keepdims=True)
        return log_q - jax.nn.logsumexp(log_q, axis=2, keepdims=True)

    return jax.nn.softmax(jax.lax.fori_loop(0, iterations, iterate, log_q), axis=2)


def multi_sinkhorn(
    scores: Float[ArrayLike, 'batch count'],
    *,
    several: int,
    epsilon: ArrayLike = 0.07,
    iterations: int = 20,
    weak: ArrayLike = 0.25,
    scaled: bool = True,
) -> Float[Array, 'batch count']:
    """Soft assignments of each row to several anchors at once: Sinkhorn over slots, rows and anchors.

    Q_mbk ∝ exp(a_m S_bk / ε), with a slot m for each anchor: a = 1 in `several` of them and `weak` in the others, which
    take what the strong ones leave. An iteration scales the sums over rows to batch / count, over slots to 1, and over
    anchors to 1, as logarithms. A row's membership in an anchor is the sum over its strong slots.

    Args:
      scores: S, cosines of rows and anchors.
      several: R, how many anchors a row belongs to, 1 to count. Authors: half of 64.
      epsilon: ε. Authors: 0.07.
      iterations: authors: 20.
      weak: a of the other slots. Authors: 0.25.
      scaled: whether each row's memberships are stretched to [0, 1], as the authors do; else they sum to R.

    Returns:
      Memberships without a gradient. R / count each where all scores are equal, as at collapse, and with R = count,
      where all slots are alike; scaled these are 0.

    Convention: no guard of 1e-5 in the denominators, which logarithms do not need; anchors have equal shares.

    Cost: O(iterations·count²·batch) time and O(count²·batch) memory; no state. Every row depends on the whole batch.

    References:
      Swetha et al. 2023, https://arxiv.org/abs/2308.13077.
    """
    plan = slot_plan(scores, several=several, epsilon=epsilon, iterations=iterations, weak=weak)
    found = jnp.sum(plan[len(plan) - several :], axis=0)
    if not scaled:
        return found
    least, most = jnp.min(found, axis=1, keepdims=True), jnp.max(found, axis=1, keepdims=True)
    # Equal memberships differ by rounding alone, which must not be stretched.
    spread = most - least > 1e-6 * most
    return jnp.where(spread, (found - least) / jnp.where(spread, most - least, 1.0), 0.0)


def membership_cross_entropy(
    scores: Float[ArrayLike, 'batch count'],
    memberships: Float[ArrayLike, 'batch count'],
    *,
    temperature: ArrayLike = 0.1,
) -> Float[Array, '']:
    """Binary cross-entropy of memberships in anchors by the logits exp(S / τ), a mean over rows and anchors.

    Scores of one space or modality learn the memberships (:func:`multi_sinkhorn`) that another one gives its rows.

    Args:
      scores: S, cosines of rows and anchors.
      memberships: targets in [0, 1]; no gradient passes.
      temperature: τ. Authors: 0.1.

    Returns:
      A scalar in nats, ≥ 0; log(1 + e) − the mean membership where all scores are 0, and near exp(1 / τ) times the mean
      of 1 − membership where all rows and anchors coincide.

    Convention: the logits are exponentials, as in the authors' code, and so ≥ 0: no probability is below a half.

    Cost: O(batch·count); no state.

    References:
      Swetha et al. 2023, https://arxiv.org/abs/2308.13077; `combinatorial_loss.py` of the authors.
    """
    positive('temperature', temperature)
    scores, memberships = pair(scores, memberships, names=('scores', 'memberships'))
    logits = jnp.exp(scores / temperature)
    return jnp.mean(jax.nn.softplus(logits) - logits * jax.lax.stop_gradient(memberships))
