"""Each loss of two views as loops in float64 NumPy, written from its formula, and calls that bring it to two views."""

import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
from selfsup import losses


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def log_sum_exp(x, axis=-1):
    top = x.max(axis=axis, keepdims=True)
    return (top + np.log(np.exp(x - top).sum(axis=axis, keepdims=True))).squeeze(axis)


def barlow_reference(z1, z2, lambd=5.1e-3):
    n, d = z1.shape
    z1, z2 = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (z1, z2))
    total = 0.0
    for i in range(d):
        for j in range(d):
            c = np.dot(z1[:, i], z2[:, j]) / n
            total += (c - 1) ** 2 if i == j else lambd * c**2
    return total


def vicreg_reference(z1, z2):
    _, d = z1.shape
    total = 25 * np.mean((z1 - z2) ** 2)
    for z in (z1, z2):
        total += 25 * np.mean(np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4))) / 2
        covariance = np.cov(z, rowvar=False)
        total += np.sum((covariance - np.diag(np.diag(covariance))) ** 2) / d
    return total


def ntxent_reference(z1, z2, temperature=0.1):
    z = unit(np.concatenate([z1, z2]))
    n = len(z1)
    total = 0.0
    for i in range(2 * n):
        others = [j for j in range(2 * n) if j != i]
        logits = np.array([z[i] @ z[j] for j in others]) / temperature
        total += log_sum_exp(logits) - z[i] @ z[(i + n) % (2 * n)] / temperature
    return total / (2 * n)


QUEUE = np.random.default_rng(7).normal(size=(24, 6))


def info_nce(z1, z2, **kwargs):
    queue = jnp.asarray(QUEUE[:, : np.shape(z1)[1]], dtype=jnp.result_type(z1))
    return losses.info_nce(z1, z2, queue, **kwargs)


def info_nce_reference(z1, z2, temperature=0.2):
    total = 0.0
    for q, k in zip(unit(z1), unit(z2), strict=True):
        logits = np.array([q @ k, *[q @ row for row in unit(QUEUE)]]) / temperature
        total += log_sum_exp(logits) - logits[0]
    return total / len(z1)


def info_nce_in_batch_reference(query, key, temperature=0.2):
    logits = unit(query) @ unit(key).T / temperature
    return np.mean([log_sum_exp(logits[i]) - logits[i, i] for i in range(len(logits))])


def moco_v3_reference(query, key):
    return 2 * 1.0 * info_nce_in_batch_reference(query, key, 1.0)


def ibot_patches(z1, z2):
    """Every row an image of one hidden patch."""
    hidden = jnp.ones((len(z1), 1), bool)
    s, t = (jnp.asarray(z)[:, None] for z in (z1, z2))
    return losses.ibot_patches(s, t, hidden, jnp.linspace(-0.1, 0.1, s.shape[2]).astype(jnp.float32))


def softmax(x):
    p = np.exp(x - x.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def ibot_patches_reference(z1, z2):
    p = softmax((z2 - np.linspace(-0.1, 0.1, z2.shape[1]).astype(np.float32)) / 0.07)
    return np.mean([log_sum_exp(s / 0.1) - row @ s / 0.1 for s, row in zip(z1, p, strict=True)])


def balanced(q, iterations=3):
    for _ in range(iterations):
        q = q / q.sum(axis=0, keepdims=True)
        q = q / q.sum(axis=1, keepdims=True)
    return q


def dinov2_patches(z1, z2):
    s, t = (jnp.asarray(z)[:, None] for z in (z1, z2))
    return losses.dinov2_patches(s, t, jnp.ones((len(z1), 1), bool))


def dinov2_patches_reference(z1, z2):
    p = balanced(np.exp((z2 - z2.max()) / 0.07))
    return np.mean([log_sum_exp(s / 0.1) - row @ s / 0.1 for s, row in zip(z1, p, strict=True)])


def dinov2_class(z1, z2):
    return losses.dinov2_class((jnp.asarray(z1)[::-1], z1), (jnp.asarray(z2),))


def dinov2_class_reference(z1, z2):
    """One teacher's crop, which the second student's crop predicts."""
    return dinov2_patches_reference(z1, z2)


def koleo(z1, z2):
    return losses.koleo(jnp.concatenate([jnp.asarray(z1), jnp.asarray(z2)]))


def koleo_reference(z1, z2):
    z = unit(np.concatenate([z1, z2]))
    nearest = [max((j for j in range(len(z)) if j != i), key=lambda j: z[i] @ z[j]) for i in range(len(z))]
    return -np.mean([np.log(np.linalg.norm(z[i] - z[j] + 1e-8) + 1e-8) for i, j in enumerate(nearest)])


def msn(z1, z2, **kwargs):
    rows = jnp.asarray(QUEUE[:5, : np.shape(z1)[1]], dtype=jnp.result_type(z1))
    return losses.msn((z1,), z2, prototypes=rows, **kwargs)


def msn_reference(z1, z2, iterations=3, power=0.0, prior_weight=1.0, entropy_weight=0.0):
    rows = unit(QUEUE[:5, : z1.shape[1]])
    p, t = softmax(unit(z1) @ rows.T / 0.1), softmax(unit(z2) @ rows.T / 0.1)
    t = t**4 / (t**4).sum(axis=1, keepdims=True)
    t = balanced(t, iterations)
    prior = np.arange(1.0, 6.0) ** -power
    mean, prior = p.mean(0), prior / prior.sum()
    crossed, own = -np.mean((t * np.log(p)).sum(1)), -np.mean((p * np.log(p)).sum(1))
    return crossed + prior_weight * np.sum(mean * np.log(mean / prior)) + entropy_weight * own


def nnclr(p, z, **kwargs):
    return losses.nnclr(p, z, jnp.asarray(QUEUE[:, : np.shape(z)[1]], dtype=jnp.result_type(z)), **kwargs)


def nnclr_reference(p, z, temperature=0.1):
    queue, p = unit(QUEUE), unit(p)
    total = 0.0
    for i, row in enumerate(unit(z)):
        neighbour = queue[np.argmin(((queue - row) ** 2).sum(1))]  # on the sphere the nearest has the largest cosine
        logits = np.array([neighbour @ other for other in p]) / temperature
        total += log_sum_exp(logits) - logits[i]
    return total / len(p)


def ressl(query, key, **kwargs):
    return losses.ressl(query, key, jnp.asarray(QUEUE[:, : np.shape(key)[1]], dtype=jnp.result_type(key)), **kwargs)


def ressl_reference(query, key):
    total = 0.0
    for q, k in zip(unit(query), unit(key), strict=True):
        student, teacher = (np.array([z @ row for row in unit(QUEUE)]) for z in (q, k))
        target = np.exp(teacher / 0.04) / np.exp(teacher / 0.04).sum()
        total -= np.sum(target * (student / 0.1 - log_sum_exp(student / 0.1)))
    return total / len(query)


def simsiam_reference(p, z):
    return -np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(p, z, strict=True)])


def byol(p, z):
    """Both directions: each view's prediction against the other's target."""
    return losses.byol(p, p[::-1], z[::-1], z)


def byol_reference(p, z):
    return 2 * np.mean([np.sum((a - b) ** 2) for a, b in zip(unit(p), unit(z), strict=True)])


def same_label(z1, z2, norm):
    """Two classes that neither the order, the scale nor a rotation of the rows changes."""
    size = norm(z1, axis=1) * norm(z2, axis=1)
    return (size > np.median(size) if isinstance(size, np.ndarray) else size > jnp.median(size)).astype(int)


def esimcse(z1, z2, **kwargs):
    return losses.esimcse(z1, z2, jnp.asarray(QUEUE[:, : np.shape(z1)[1]], dtype=jnp.result_type(z1)), **kwargs)


def esimcse_reference(z1, z2, temperature=0.05):
    logits = unit(z1) @ np.concatenate([unit(z2), unit(QUEUE)]).T / temperature
    return np.mean([log_sum_exp(row) - row[i] for i, row in enumerate(logits)])


ORDERS = np.stack([np.random.default_rng(seed).permutation(6).astype(np.int32) for seed in range(3)])


def whitened_contrastive(z1, z2, **kwargs):
    return losses.whitened_contrastive(z1, z2, orders=jnp.asarray(ORDERS), groups=2, **kwargs)


def group_whitened(z, order, groups, eps=1e-4):
    out = np.zeros_like(z)
    for columns in np.split(order, groups):
        part = z[:, columns] - z[:, columns].mean(0)
        covariance = part.T @ part / len(z)
        values, vectors = np.linalg.eigh(covariance + eps * np.trace(covariance) / len(columns) * np.eye(len(columns)))
        out[:, columns] = part @ (vectors / np.sqrt(values)) @ vectors.T
    return out


def whitened_contrastive_reference(z1, z2, temperature=0.05):
    anchor = group_whitened(z1, ORDERS[0], 2)
    return sum(info_nce_in_batch_reference(anchor, group_whitened(z2, order, 2), temperature) for order in ORDERS[1:])


def cluster_negatives(z1, z2, **kwargs):
    centroids = jnp.asarray(QUEUE[:5, : np.shape(z1)[1]], dtype=jnp.result_type(z1))
    return losses.cluster_negatives(z1, z2, centroids, **kwargs)


def cluster_negatives_reference(z1, z2, weight=1e-3, least=0.0, most=0.3):
    z1, z2, centroids = unit(z1), unit(z2), unit(QUEUE[:5])
    ranked = np.argsort(-(z1 @ centroids.T), axis=1)
    total, n = 0.0, len(z1)
    for i in range(n):
        logits = np.array([z1[i] @ z for z in z2] + [z1[i] @ centroids[c] for c in ranked[:, 1]]) / 0.05
        total += (log_sum_exp(logits) - logits[i]) / n
        for j in range(n):
            if i != j and ranked[i, 0] == ranked[j, 0]:
                apart = z1[i] @ z2[j] - z1[i] @ z2[i]
                total += weight * (max(apart + least, 0) + max(-apart - most, 0)) / n**2
    return total


def spectral_contrastive_reference(z1, z2):
    n = len(z1)
    apart = [(z1[i] @ z2[j]) ** 2 for i in range(n) for j in range(n) if i != j]
    return np.mean(apart) - 2 * np.mean([a @ b for a, b in zip(z1, z2, strict=True)])


def icon_reference(z1, z2, kernel='cosine', temperature=0.5, learned_leak=0.2, target_leak=0.0):
    z, n = np.concatenate([z1, z2]), len(z1)
    itself = kernel == 'cluster'
    phi = softmax(z / temperature)
    total = 0.0
    for i in range(2 * n):
        others = [j for j in range(2 * n) if itself or j != i]
        if kernel == 'cosine':
            weights = [np.exp(unit(z)[i] @ unit(z)[j] / temperature) for j in others]
        elif kernel == 'gaussian':
            weights = [np.exp(-np.sum((z[i] - z[j]) ** 2) / (2 * temperature)) for j in others]
        elif kernel == 'student':
            weights = [1 / (1 + np.sum((z[i] - z[j]) ** 2) / temperature) for j in others]
        else:
            weights = [np.sum(phi[i] * phi[j] / phi.sum(0)) for j in others]
        q = (1 - learned_leak) * np.array(weights) / np.sum(weights) + learned_leak / len(others)
        p = (1 - target_leak) * (np.array(others) == (i + n) % (2 * n)) + target_leak / len(others)
        total -= np.sum(p * np.log(q)) / (2 * n)
    return total


def supcon(z1, z2, **kwargs):
    sizes = (jnp.asarray(z, jnp.promote_types(jnp.result_type(z), jnp.float32)) for z in (z1, z2))
    return losses.supcon(z1, z2, same_label(*sizes, jnp.linalg.norm), **kwargs)


def supcon_reference(z1, z2, temperature=0.1, sum_inside=False):
    labels = np.tile(same_label(z1, z2, np.linalg.norm), 2)
    z, n = unit(np.concatenate([z1, z2])), len(labels)
    total = 0.0
    for i in range(n):
        logits = np.array([z[i] @ z[j] for j in range(n) if j != i]) / temperature
        positives = np.array([labels[j] == labels[i] for j in range(n) if j != i])
        chosen = log_sum_exp(logits[positives]) if sum_inside else logits[positives].mean()
        total += log_sum_exp(logits) - chosen
    return total / n


def decoupled_reference(z1, z2, temperature=0.1, sigma=None):
    z, n = unit(np.concatenate([z1, z2])), len(z1)
    total = 0.0
    for start in (0, n):
        positive = np.array([z[i] @ z[(i + n) % (2 * n)] for i in range(start, start + n)])
        weights = np.ones(n) if sigma is None else 2 - n * np.exp(positive / sigma) / np.exp(positive / sigma).sum()
        for i in range(n):
            logits = np.array([z[start + i] @ z[j] for j in range(2 * n) if j % n != i]) / temperature
            total += log_sum_exp(logits) - weights[i] * positive[i] / temperature
    return total / (2 * n)


def debiased_reference(z1, z2, temperature=0.5, prior=0.1, concentration=0.0):
    z, n = unit(np.concatenate([z1, z2])), len(z1)
    total, count = 0.0, 2 * n - 2
    for i in range(2 * n):
        negatives = np.exp(np.array([z[i] @ z[j] for j in range(2 * n) if j % n != i % n]) / temperature)
        weights = negatives**concentration
        positive = np.exp(z[i] @ z[(i + n) % (2 * n)] / temperature)
        reweighted = np.sum(weights * negatives) / weights.mean()
        g = max((reweighted - prior * count * positive) / (1 - prior), count * np.exp(-1 / temperature))
        total -= np.log(positive / (positive + g))
    return total / (2 * n)


def w_mse(z1, z2, **kwargs):
    """Blocks of more rows than columns as in the paper; with fewer, ε makes them sound."""
    few = np.shape(z1)[0] <= np.shape(z1)[1]
    return losses.w_mse(z1, z2, **{**({'eps': 0.1} if few else {}), **kwargs})


def whitened(z, eps):
    z = z - z.mean(0)
    covariance = (1 - eps) * np.cov(z, rowvar=False) + eps * np.eye(z.shape[1])
    return np.stack([np.linalg.solve(np.linalg.cholesky(covariance), row) for row in z])


def w_mse_reference(z1, z2):
    eps = 0.1 if len(z1) <= z1.shape[1] else 0.0
    return np.mean([2 - 2 * a @ b for a, b in zip(unit(whitened(z1, eps)), unit(whitened(z2, eps)), strict=True)])


def vibcreg_reference(z1, z2):
    total = 25 * np.mean((z1 - z2) ** 2)
    for z in (z1, z2):
        total += 25 * np.mean(np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)))
        correlation = np.corrcoef(z, rowvar=False)
        total += 200 * np.mean((correlation - np.diag(np.diag(correlation))) ** 2)
    return total


COVARIANCE = QUEUE.T @ QUEUE / len(QUEUE)


def tico(z1, z2, **kwargs):
    dim = np.shape(z1)[1]
    return losses.tico(z1, z2, jnp.asarray(COVARIANCE[:dim, :dim], jnp.float32), **kwargs)[0]


def tico_reference(z1, z2):
    z1, z2, n = unit(z1), unit(z2), len(z1)
    old = COVARIANCE.astype(np.float32).astype(float)
    covariance = 0.9 * old + 0.1 * sum(np.outer(z, z) for z in z1) / n
    return 1 - np.mean([a @ b for a, b in zip(z1, z2, strict=True)]) + 20 * np.mean([z @ covariance @ z for z in z1])


def mmcr_reference(z1, z2, lambd=0.0):
    z1, z2 = unit(z1), unit(z2)
    own = [np.linalg.svd(np.stack([a, b]), compute_uv=False).sum() for a, b in zip(z1, z2, strict=True)]
    return lambd * np.mean(own) - np.linalg.svd((z1 + z2) / 2, compute_uv=False).sum()


def sigreg(z1, z2):
    directions = jnp.asarray(QUEUE[:5, : np.shape(z1)[1]], jnp.float32)
    return (losses.sigreg(z1, directions) + losses.sigreg(z2, directions)) / 2


def sigreg_reference(z1, z2):
    total = 0.0
    for z in (z1, z2):
        for direction in unit(QUEUE[:5].astype(np.float32).astype(float)):
            x = z @ direction
            for k in range(17):
                t, gauss = 3 * k / 16, float(np.float32(np.exp(-((3 * k / 16) ** 2) / 2)))
                weight = float(np.float32((2 if 0 < k < 16 else 1) * 3 / 16 * gauss))
                total += len(z) * weight * ((np.cos(t * x).mean() - gauss) ** 2 + np.sin(t * x).mean() ** 2) / 10
    return total


def lejepa(z1, z2, **kwargs):
    return losses.lejepa(z1, z2, directions=jnp.asarray(QUEUE[:5, : np.shape(z1)[1]], jnp.float32), **kwargs)


def lejepa_reference(z1, z2):
    return 0.95 * np.mean((z1 - z2) ** 2) / 4 + 0.05 * sigreg_reference(z1, z2)


def empty_space(n):
    """The Epps–Pulley statistic of a point mass at zero, per example and direction."""
    t, step = np.linspace(0, 3, 17), 3 / 16
    inside = np.exp(-(t**2) / 2) * (1 - np.exp(-(t**2) / 2)) ** 2
    return n * step * (2 * inside.sum() - inside[0] - inside[-1])


def swav(p, z, **kwargs):
    """One direction: `z` is assigned, `p` predicts."""
    prototypes = jnp.asarray(unit(QUEUE[:12, : np.shape(p)[1]]), jnp.float32)
    return losses.swav(z, p, prototypes=prototypes, assign=1, **kwargs)


def swav_reference(p, z):
    prototypes = unit(QUEUE[:12]).astype(np.float32).astype(float)
    q = np.exp(unit(z) @ prototypes.T / 0.05)
    for _ in range(3):
        q = q / q.sum(0, keepdims=True) / q.shape[1]
        q = q / q.sum(1, keepdims=True) / q.shape[0]
    logits = unit(p) @ prototypes.T / 0.1
    return -np.mean(np.sum(q * len(z) * (logits - log_sum_exp(logits)[:, None]), axis=1))


def dino(p, z, **kwargs):
    """The same prediction and target for both crops."""
    return losses.dino((p, p), (z, z), jnp.arange(np.shape(p)[1], dtype=jnp.float32) / 16, **kwargs)


def dino_reference(p, z):
    target = (z - np.arange(z.shape[1]) / 16) / 0.04
    target = np.exp(target - log_sum_exp(target)[:, None])
    return -np.mean(np.sum(target * (p / 0.1 - log_sum_exp(p / 0.1)[:, None]), axis=1))


def centroids(dim):
    return np.stack([unit(QUEUE[:5, :dim]), unit(QUEUE[5:10, :dim])]).astype(np.float32)


def deepcluster(p, z, **kwargs):
    """`p` predicts the clusters of `z`."""
    prototypes = jnp.asarray(centroids(np.shape(p)[1]))
    clusters = jnp.argmax(jnp.einsum('bd,hkd->bhk', jnp.asarray(z, jnp.float32), prototypes), axis=-1)
    return losses.deepcluster(p, prototypes=prototypes, assignments=clusters, **kwargs)


def confident(p, z, **kwargs):
    """`p` learns the clusters of `z`, whose scores are stretched so that some are sure."""
    return losses.confident_cross_entropy(3.0 * z, p, **{'threshold': 0.6, **kwargs})


def confident_reference(p, z):
    chances = np.exp(3 * z - log_sum_exp(3 * z)[:, None])
    own = [(i, int(np.argmax(row))) for i, row in enumerate(chances) if row.max() > 0.6]
    counts = np.bincount([k for _, k in own], minlength=z.shape[1])
    entropy = [(log_sum_exp(p[i]) - p[i, k]) / counts[k] for i, k in own]
    return np.sum(entropy) / np.count_nonzero(counts)


def scan_reference(z1, z2):
    p, q = (np.exp(z - log_sum_exp(z)[:, None]) for z in (z1, z2))
    mean = np.maximum(p.mean(0), 1e-8)
    return -np.mean(np.log(np.sum(p * q, axis=1))) + 5.0 * np.sum(mean * np.log(mean))


HEAT = np.linspace(0.1, 0.3, 5, dtype=np.float32)  # temperatures of prototypes


def prototype_nce(p, z, **kwargs):
    """`p` finds the prototype nearest to `z`; temperatures differ."""
    prototypes = jnp.asarray(centroids(np.shape(p)[1])[0])
    own = jnp.argmax(jnp.matmul(jnp.asarray(z, jnp.float32), prototypes.T), axis=1)
    return losses.prototype_nce(p, prototypes, own, HEAT, **kwargs)


def prototype_nce_reference(p, z):
    prototypes, total = unit(centroids(p.shape[1])[0].astype(float)), 0.0
    for a, b in zip(unit(p), z, strict=True):
        logits = prototypes @ a / HEAT.astype(float)
        total += log_sum_exp(logits) - logits[np.argmax(prototypes @ b)]
    return total / len(p)


def deepcluster_reference(p, z):
    total = 0.0
    for prototypes in centroids(p.shape[1]).astype(float):
        for a, b in zip(unit(p), z, strict=True):
            logits = prototypes @ a / 0.1
            total += log_sum_exp(logits) - logits[np.argmax(prototypes @ b)]
    return total / (2 * len(p))


def two_places(z):
    return (jnp if isinstance(z, jax.Array) else np).stack([z, -0.5 * z[:, ::-1]], axis=1)


def vicregl_local(z1, z2, **kwargs):
    n = len(z1)
    places = jnp.broadcast_to(jnp.asarray([[0.0, 0.0], [0.0, 4.0]])[None], (n, 2, 2))
    return losses.vicregl_local(two_places(z1), two_places(z2), places, places + 1.0, matches=(1, 1), **kwargs)


def vicregl_local_reference(z1, z2):
    """Positions differ by the same shift everywhere: place 1 of map 1 is nearest to place 0 of map 2 by √2, ..."""
    places = np.array([[0.0, 0.0], [0.0, 4.0]])
    places = [np.tile(places, (len(z1), 1, 1)), np.tile(places + 1.0, (len(z1), 1, 1))]
    return vicregl_maps_reference([two_places(z1), two_places(z2)], places, (1, 1))


def vicregl_maps_reference(maps, places, matches):
    """25·invariance + 25·variance + covariance of matches found one example and place at a time, in map order."""
    total = 0.0
    for here in (0, 1):
        x, y, dim = maps[here], maps[1 - here], maps[0].shape[-1]
        nearest = np.array([[np.argmin(((b - a) ** 2).sum(1)) for a in one] for one, b in zip(x, y, strict=True)])
        content, pairs = np.take_along_axis(y, nearest[:, :, None], 1), []
        for i, (at, other) in enumerate(zip(places[here], places[1 - here], strict=True)):
            apart = ((at[:, None] - other[None]) ** 2).sum(-1)
            rank = np.argsort(np.argsort(apart.min(1), kind='stable'))
            kept = [a for a in range(len(at)) if rank[a] < matches[here]]
            pairs.append((x[i, kept], y[i, apart.argmin(1)[kept]]))
        position = [np.stack(side) for side in zip(*pairs, strict=True)]
        for u, v in ((x, content), position):
            total += 25 * np.mean((u - v) ** 2) / 2
            for w in (u, v):
                for place in range(w.shape[1]):
                    covariance = np.cov(w[:, place], rowvar=False)
                    hinge = np.mean(np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)))
                    off = np.sum((covariance - np.diag(np.diag(covariance))) ** 2) / dim
                    total += (25 * hinge + off) / w.shape[1] / 4
    return total


def laid_out(z, axis):
    """What is whitened along the rows, centred over its observations, and its covariance."""
    x = z - z.mean(axis=1 - axis, keepdims=True)
    x = x if axis == 0 else x.T
    return x, x @ x.T / (x.shape[1] - 1)


def intl_reference(z1, z2, axis=0):
    views, weight = [], 0.01 * (np.log2(z1.shape[axis]) - 3)
    for z in (z1, z2):
        x, covariance = laid_out(z, axis)
        root, share = np.eye(len(x)), covariance / np.trace(covariance)
        for _ in range(4):
            root = 1.5 * root - 0.5 * root @ root @ root @ share
        white = root @ x / np.sqrt(np.trace(covariance))
        views.append((white if axis == 0 else white.T, np.sum((white.var(axis=1, ddof=1) - 1) ** 2)))
    (white1, trace1), (white2, trace2) = views
    cosines = np.sum(unit(white1) * unit(white2), axis=1)
    return np.mean(2 - 2 * cosines) + weight * (trace1 + trace2)


def ldreg(z1, z2, **kwargs):
    """The first view among the second, which gets no gradient."""
    return losses.ldreg(z1, z2, neighbours=min(8, len(z2)), **kwargs)


def ldreg_reference(z1, z2, estimator='moments', form='l1'):
    logarithms = []
    for z in z1:
        r = np.sort(np.linalg.norm(z - z2, axis=1))[: min(8, len(z2))]
        mean = r[:-1].mean()
        by_likelihood = -len(r) / np.sum(np.log(r[:-1] / r[-1] + 1e-4))
        logarithms.append(np.log(mean / (r[-1] - mean) if estimator == 'moments' else by_likelihood))
    return -np.mean(np.abs(logarithms)) if form == 'l1' else -np.sqrt(np.mean(np.square(logarithms)))


def e2mc(z1, z2, **kwargs):
    return losses.e2mc(z1, **kwargs) + losses.e2mc(z2, **kwargs)


def e2mc_reference(z1, z2, squash='normal'):
    total = 0.0
    for z in (z1, z2):
        n, d = z.shape
        u = np.vectorize(lambda x: 0.5 * (1 + math.erf(x / 2**0.5)))(z) if squash == 'normal' else 1 / (1 + np.exp(-z))
        gap, entropy = round(n**0.5), 0.0
        for column in np.sort(u, axis=0).T:
            for i in range(n - gap):
                entropy += np.log((column[i + gap] - column[i]) * (n + 1) / gap + 1e-7) / ((n - gap) * d)
        covariance = np.cov(u, rowvar=False)
        total += np.sum((covariance - np.diag(np.diag(covariance))) ** 2) / d - 10 * entropy
    return total


def visreg(z1, z2):
    directions = jnp.asarray(QUEUE[:5, : np.shape(z1)[1]], jnp.float32)
    return losses.visreg(z1, z2, directions=directions, lambd=0.75, stop_scale=False)


def visreg_reference(z1, z2):
    total = 0.25 * np.mean((z1 - z2) ** 2) / 4
    for z in (z1, z2):
        mean, deviation = z.mean(0), z.std(0)
        total += 0.75 * (np.mean(mean**2) + np.mean((1 - deviation) ** 2)) / 2
        quantiles = [NormalDist().inv_cdf(i / (len(z) + 1)) for i in range(1, len(z) + 1)]
        for direction in unit(QUEUE[:5].astype(np.float32).astype(float)):
            x = np.sort((z - mean) / (deviation + 1e-4) @ direction)
            total += 0.75 * np.mean((x - quantiles) ** 2) / 10
    return total


def flops(z1, z2):
    return losses.flops(z1) + losses.flops(z2)


def flops_reference(z1, z2):
    return sum(np.mean(np.abs(column)) ** 2 for z in (z1, z2) for column in z.T)
