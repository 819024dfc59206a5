"""The losses of memories, of hard negatives and of spread embeddings as loops in float64 NumPy, as loss_references.py."""

import jax.numpy as jnp
import numpy as np
from loss_references import QUEUE, log_sum_exp, unit
from selfsup import losses

EPS = 1e-7


def everyone(z):
    """For each row, the numbers of all rows."""
    return jnp.broadcast_to(jnp.arange(len(z))[None], (len(z), len(z)))


def queue_of(z):
    return jnp.asarray(QUEUE[:, : np.shape(z)[1]], dtype=jnp.result_type(z))


LOG_NORMALIZER = np.log(189181093214.28674)  # that lemniscate estimates on the golden inputs


def instance_nce(z1, z2, **kwargs):
    """Every row of the memory is a negative of each embedding."""
    fields = {'log_normalizer': LOG_NORMALIZER, **kwargs}
    return losses.instance_nce(z1, z2, jnp.arange(len(z1)), everyone(z1), **fields)


def instance_nce_reference(z, memory, temperature=0.07):
    n = len(z)
    scores = np.exp(unit(z) @ memory.T / temperature)
    chance = np.concatenate([np.diag(scores)[:, None], scores], axis=1) / np.exp(LOG_NORMALIZER)
    total = 0.0
    for row in chance:
        total += np.log(row[0] / (row[0] + n / n + EPS))
        total += sum(np.log(1.0 / (p + 1.0 + EPS)) for p in row[1:])
    return -total / n


def instance_softmax(z1, z2, **kwargs):
    return losses.instance_softmax(z1, z2, jnp.arange(len(z1)), **kwargs)


def instance_softmax_reference(z, memory, temperature=0.1):
    logits = unit(z) @ memory.T / temperature
    return np.mean([log_sum_exp(logits[i]) - logits[i, i] for i in range(len(z))])


def invariance_propagation(z1, z2, **kwargs):
    """Every row is a candidate; ten rows stand in the background and three of the candidates are kept."""
    fields = {'temperature': 0.2, 'background': 10, 'hardest': 3, **kwargs}
    return losses.invariance_propagation(z1, z2, jnp.arange(len(z1)), everyone(z1), **fields)


def invariance_propagation_reference(z, memory):
    scores = np.exp(unit(z) @ memory.T / 0.2)
    instance, invariance = [], []
    for i, row in enumerate(scores):
        near = np.argsort(-row)[:10]
        others = row[near[near != i]].sum()
        instance.append(-np.log(row[i] / row[near].sum() + EPS))
        invariance.append(-np.log(np.sort(row)[:3].sum() / others + EPS))
    return np.mean(instance) + 0.6 * np.mean(invariance)


def diet(z1, z2, **kwargs):
    return losses.diet(
        z1, z2, 0.01 * jnp.sum(jnp.asarray(z2, jnp.result_type(z1)) ** 2, axis=1), jnp.arange(len(z1)), **kwargs
    )


def diet_reference(z, kernel, smoothing=0.8):
    logits = z @ kernel.T + 0.01 * (kernel**2).sum(1)
    n, total = len(z), 0.0
    for i, row in enumerate(logits):
        target = np.full(n, smoothing / n)
        target[i] += 1 - smoothing
        total -= target @ (row - log_sum_exp(row))
    return total / n


def unisiam(z1, z2, **kwargs):
    """The predictions are the embeddings with their columns in reverse."""
    z1, z2 = jnp.asarray(z1), jnp.asarray(z2)
    return losses.unisiam(z1[:, ::-1], z2[:, ::-1], z1, z2, **kwargs)


def unisiam_reference(z1, z2, weight=0.1, temperature=2.0, at=None):
    """With the targets of the predictions `at` other embeddings, whose gradient is stopped."""
    n = len(z1)
    u, v = unit(z1), unit(z2)
    first, second = (unit(z) for z in at or (z1, z2))
    alignment = -np.mean((u[:, ::-1] * second).sum(1) + (v[:, ::-1] * first).sum(1)) / 2
    z = np.concatenate([u, v])
    kernel = [np.exp(z[i] @ z[j] / temperature) for i in range(2 * n) for j in range(2 * n) if i % n != j % n]
    return alignment + weight * np.log(np.mean(kernel))


def frossl_reference(*views):
    views = [z / np.linalg.norm(z, axis=0) for z in views]
    mean = sum(views) / len(views)
    total = 0.0
    for z in views:
        c = z.T @ z
        total += 2 * np.log(np.linalg.norm(c / np.trace(c)))
        total += len(views) * z.shape[1] * np.mean((z - mean) ** 2)
    return total


def emp_ssl_reference(*views, normalized=True):
    views = [unit(z) for z in views] if normalized else views
    n, d = views[0].shape
    mean = sum(views) / len(views)
    cosine = np.mean([np.mean((unit(z) * unit(mean)).sum(1)) for z in views])
    rate = np.mean([np.linalg.slogdet(np.eye(d) + d / (n * 0.2) * z.T @ z)[1] / 2 for z in views])
    return -200 * cosine - rate


def hypersphere_reference(z1, z2, t=2.0):
    u, v = unit(z1), unit(z2)
    total = np.mean(((u - v) ** 2).sum(1))
    for z in (u, v):
        kernel = [np.exp(-t * ((z[i] - z[j]) ** 2).sum()) for i in range(len(z)) for j in range(i)]
        total += np.log(np.mean(kernel)) / 2
    return total


def macl_reference(z1, z2, reference=0.0, at=None):
    """With temperature and weights `at` other embeddings, whose gradient is stopped."""
    n = len(z1)

    def rows(first, second):
        z = unit(np.concatenate([first, second]))
        return [
            np.array([z[i] @ z[(i + n) % (2 * n)], *[z[i] @ z[j] for j in range(2 * n) if j % n != i % n]])
            for i in range(2 * n)
        ]

    fixed = rows(*(at or (z1, z2)))
    tau = 0.1 * (1 + 0.5 * (np.mean([row[0] for row in fixed]) - reference))
    total = 0.0
    for row, other in zip(rows(z1, z2), fixed, strict=True):
        share = np.exp(other[0] / tau - log_sum_exp(other / tau))
        total -= (row[0] / tau - log_sum_exp(row / tau)) / (1 - share + 1e-8)
    return total / (2 * n)


def co2(z1, z2, **kwargs):
    return losses.co2(z1, z2, queue_of(z1), **kwargs)


def co2_reference(z1, z2, temperature=0.05):
    queue, total = unit(QUEUE), 0.0
    for q, k in zip(unit(z1), unit(z2), strict=True):
        rows = [np.array([q @ k, *(queue @ z)]) / temperature for z in (q, k)]
        first, second = (r - log_sum_exp(r) for r in rows)
        total += np.exp(first) @ (first - second) / 2 + np.exp(second) @ (second - first) / 2
    return total / len(z1)


def info_nce_hardest(z1, z2, **kwargs):
    return losses.info_nce_hardest(z1, z2, queue_of(z1), **{'hardest': 5, **kwargs})


def info_nce_hardest_reference(z1, z2, temperature=0.2):
    total = 0.0
    for q, k in zip(unit(z1), unit(z2), strict=True):
        logits = np.array([q @ k, *np.sort(unit(QUEUE) @ q)[-5:]]) / temperature
        total += log_sum_exp(logits) - logits[0]
    return total / len(z1)


# Of the mixtures of every query: (i, j, α) of two rows, (j, β) with the query.
PAIRS, OWN = ((0, 1, 0.3), (4, 2, 0.9)), ((0, 0.4), (3, 0.1), (1, 0.25))


def mochi(z1, z2, **kwargs):
    n, dtype = len(z1), jnp.result_type(z1)

    def each(rows):
        return jnp.broadcast_to(jnp.asarray(rows)[None], (n, *np.shape(rows)))

    pairs, shares = each([p[:2] for p in PAIRS]), each([p[2] for p in PAIRS]).astype(dtype)
    own, own_shares = each([p[0] for p in OWN]), each([p[1] for p in OWN]).astype(dtype)
    return losses.mochi(z1, z2, queue_of(z1), pairs, shares, own, own_shares, **{'hardest': 5, **kwargs})


def mochi_reference(z1, z2, temperature=0.2, at=None):
    """With the mixtures `at` other embeddings, whose gradient is stopped."""
    queue, total = unit(QUEUE), 0.0
    for q, k, p in zip(unit(z1), unit(z2), unit((at or (z1, z2))[0]), strict=True):
        near = queue[np.argsort(-queue @ p)]
        made = [a * near[i] + (1 - a) * near[j] for i, j, a in PAIRS] + [b * p + (1 - b) * near[j] for j, b in OWN]
        logits = np.array([q @ k, *(queue @ q), *[q @ m / np.linalg.norm(m) for m in made]]) / temperature
        total += log_sum_exp(logits) - logits[0]
    return total / len(z1)


def detcon(z1, z2, **kwargs):
    """Every image has one region."""
    z1, z2 = (jnp.asarray(z)[:, None] for z in (z1, z2))
    return losses.detcon(z1, z2, z1, z2, *2 * (jnp.zeros(z1.shape[:2], int),), **kwargs)


def detcon_reference(z1, z2, temperature=0.1):
    n = len(z1)
    z = unit(np.concatenate([z1, z2]))
    total = 0.0
    for i in range(2 * n):
        logits = np.array([z[i] @ z[j] for j in range(2 * n) if j != i]) / temperature
        total += log_sum_exp(logits) - z[i] @ z[(i + n) % (2 * n)] / temperature
    return total / n


def feature_contrast(z1, z2, **kwargs):
    """Targets that are the views themselves."""
    return losses.feature_contrast(z1, z2, z1, z2, **kwargs)


def feature_contrast_reference(z1, z2, at=None):
    """With the targets `at` other embeddings."""
    on, off, d = 0.0, 0.0, z1.shape[1]
    for target, z in zip(at or (z1, z2), (z2, z1), strict=True):
        for i in range(d):
            for j in range(d):
                c = target[:, i] @ z[:, j] / np.linalg.norm(target[:, i]) / np.linalg.norm(z[:, j])
                on += (c - 1) ** 2 / (2 * d) if i == j else 0.0
                off += 0.0 if i == j else c**2 / (2 * d * (d - 1))
    return 10 * (np.sqrt(on) + np.sqrt(off)) / 2


def patch_kernel_alignment(z1, z2, **kwargs):
    """The rows are the tokens of one image."""
    return losses.patch_kernel_alignment(jnp.asarray(z1)[None], jnp.asarray(z2)[None], **kwargs)


def patch_kernel_alignment_reference(z1, z2):
    centring = np.eye(len(z1)) - 1 / len(z1)
    first, second = (centring @ (z @ z.T) @ centring for z in (z1, z2))
    return 1 - np.sum(first * second) / (np.linalg.norm(first) * np.linalg.norm(second))


def triplet_semihard_reference(*views, margin=0.5):
    """One anchor, positive and list of negatives after another, as TensorFlow's `triplet_semihard_loss` says."""
    total, count = 0.0, 0
    for a, anchors in enumerate(views):
        for i, anchor in enumerate(anchors):
            negatives = [((anchor - z[j]) ** 2).sum() for z in views for j in range(len(z)) if j != i]
            for p, positives in enumerate(views):
                if p == a:
                    continue
                distance = ((anchor - positives[i]) ** 2).sum()
                farther = [d for d in negatives if d > distance]
                total += max(0.0, margin + distance - (min(farther) if farther else max(negatives)))
                count += 1
    return total / count
