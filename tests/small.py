"""Small networks, data and configs that tests share."""

import functools
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from selfsup import config, methods, models, signature
from selfsup.config import resolve

ROOT = Path(__file__).parent.parent
ENCODER = models.ConvNet(widths=(8, 16))
PROJECTOR = models.MLP(widths=(32, 16))
PREDICTOR = models.MLP(widths=(32, 16))
BATCH = 16
# Methods that want other networks than those above.
VIT = models.ViT(dim=16, depth=1, heads=2, patch=2, positions='sincos', pool='mean')
TOKENS = {
    'encoder': VIT.clone(pool='token'),
    'projector': models.MLP(widths=(32, 16), hidden_norm=False, activation='gelu'),
}
LINEAR = {'encoder': models.MLP(widths=(16,))}
OWN_NETWORKS = {
    'dinov2': TOKENS,
    'ibot': TOKENS,
    'msn': TOKENS,
    'gmml': {'encoder': VIT, 'decoder': models.MLP(widths=(16,), hidden_norm=False, activation='gelu')},
    'bootmae': {
        'encoder': VIT.clone(depth=2),
        'decoder': models.CrossDecoder(dim=16, depth=1, heads=2, self_attention=True),
        'predictor': models.CrossDecoder(dim=16, depth=1, heads=2, self_attention=True),
    },
    'capi': {'encoder': VIT, 'predictor': models.CrossDecoder(dim=16, depth=1, heads=2)},
    'clusternet': {'decoder': models.MLP(widths=(16,), hidden_norm=False)},
    'cmae': {'encoder': VIT, 'decoder': models.TransformerDecoder(dim=16, depth=2, heads=2)},
    'crossmae': {'encoder': VIT, 'decoder': models.CrossDecoder(dim=16, depth=1, heads=2)},
    'data2vec': {'encoder': VIT.clone(depth=2), 'decoder': models.LinearDecoder()},
    'data2vec2': {
        'encoder': VIT.clone(depth=2),
        'decoder': models.ConvolutionalDecoder(dim=8, depth=2, channel_groups=4),
    },
    'dinosr': {'encoder': VIT.clone(depth=2), 'decoder': models.LinearDecoder()},
    'ijepa': {
        'encoder': VIT.clone(class_token=False),
        'predictor': models.TransformerDecoder(dim=8, depth=1, heads=2),
    },
    'mae': {'encoder': VIT, 'decoder': models.TransformerDecoder(dim=16, depth=1, heads=2)},
    'colourisation': {'predictor': models.MLP(widths=(16, 13), hidden_norm=False)},
    'cpc': {'encoder': VIT},
    'jigsaw': {'encoder': VIT, 'predictor': models.MLP(widths=(16, 6), hidden_norm=False)},
    'maskfeat': {'encoder': VIT, 'decoder': models.LinearDecoder()},
    'relational': {'predictor': models.MLP(widths=(16, 1), activation='leaky_relu')},
    'relative_patch': {'encoder': VIT, 'predictor': models.MLP(widths=(16, 8), hidden_norm=False)},
    'rotation': {'encoder': VIT, 'predictor': models.MLP(widths=(4,))},
    'simmim': {'encoder': VIT.clone(registers=1), 'decoder': models.LinearDecoder()},
    'abs_topk': LINEAR,
    'archetypal': LINEAR,
    'batch_topk': LINEAR,
    'csr': LINEAR,
    'gated': LINEAR,
    'jump_relu': LINEAR,
    'matryoshka': LINEAR,
    'p_anneal': LINEAR,
    'progressive': LINEAR,
    'relu_l1': LINEAR,
    'topk': LINEAR,
}

# Every method with keywords that suit a batch of 16.
KEYWORDS = {
    'barlow_twins': {},
    'vicreg': {},
    'simclr': {'temperature': 0.2},
    'byol': {'momentum': 0.9},
    'debiased': {'concentration': 0.5},
    'decoupled': {'temperature': 0.2, 'sigma': 0.5},
    'esimcse': {'temperature': 0.2, 'queue': 64, 'momentum': 0.9},
    'icon': {'temperature': 0.2, 'learned_leak': 0.3, 'target_leak': 0.1},
    'moco_v1': {'queue': 64, 'momentum': 0.9, 'groups': 4},
    'moco_v2': {'queue': 64, 'momentum': 0.9, 'groups': 4},
    'moco_v3': {'temperature': 0.2, 'momentum': 0.9},
    'msn': {'prototypes': 12, 'ratio': 0.25, 'momentum': 0.9},
    'all4one': {'queue': 64, 'depth': 1, 'transformer_heads': 2, 'momentum': 0.9},
    'beclr': {'queue': 64, 'clusters': 4, 'neighbours': 2, 'ratio': 0.25, 'patch': 2, 'momentum': 0.9},
    'nnclr': {'temperature': 0.2, 'queue': 64},
    'ressl': {'queue': 64, 'momentum': 0.9},
    'simsiam': {},
    'supcon': {'temperature': 0.2},
    'unsee': {'momentum': 0.9},
    'whitened_contrastive': {'temperature': 0.2, 'column_groups': 4},
    'w_mse': {'block': 8, 'eps': 0.1},
    'vibcreg': {},
    'tico': {'momentum': 0.9},
    'mmcr': {},
    'lejepa': {'directions': 32},
    'care': {},
    'filmr': {},
    'sie': {},
    'visreg': {'directions': 32},
    'intl': {},
    'intl_m': {'momentum': 0.9},
    'bootmae': {'ratio': 0.5, 'momentum': 0.9},
    'capi': {'prototypes': 6, 'predict': 0.5, 'momentum': 0.9},
    'cmae': {'ratio': 0.5, 'unit': 1, 'shift': 2, 'feature_depth': 1, 'temperature': 0.2, 'momentum': 0.9},
    'crossmae': {'ratio': 0.5},
    'mae': {'ratio': 0.5},
    'maskfeat': {'ratio': 0.5},
    'simmim': {'ratio': 0.5},
    'ijepa': {'context': 6, 'scale': (0.15, 0.25), 'least': 4, 'momentum': 0.9},
    'data2vec': {'ratio': 0.5, 'layers': 2, 'momentum': 0.9},
    'data2vec2': {'ratio': 0.5, 'masks': 2, 'length': 2, 'adjust': 0.2, 'layers': 2, 'momentum': 0.9},
    'dinosr': {'ratio': 0.5, 'layers': 2, 'codes': 6, 'momentum': 0.9},
    'swav': {'prototypes': 12, 'queue': 32},
    'detcon': {'cell': 3.0, 'regions': 4, 'momentum': 0.9},
    'dino': {'prototypes': 12, 'momentum': 0.9},
    'dinov2': {'prototypes': 12, 'patch_head': 'own', 'momentum': 0.9},
    'gmml': {'layers': (1,), 'largest': 0.6},
    'ibot': {'prototypes': 12, 'momentum': 0.9},
    'vicregl': {'local_widths': (16, 16), 'matches': (2, 2)},
    'deepcluster': {'data_size': BATCH, 'clusters': 6, 'components': 4},
    'deepcluster_v2': {'data_size': BATCH, 'prototypes': 6, 'clusterings': 2},
    'deepercluster': {'data_size': BATCH, 'superclusters': 2, 'clusters': 4, 'components': 4},
    'diet': {'data_size': BATCH},
    'instdisc': {'data_size': BATCH, 'negatives': 6},
    'invprop': {'data_size': BATCH, 'near': 2, 'hops': 2, 'hardest': 3, 'background': 8},
    'jule': {'data_size': BATCH, 'clusters': 3, 'neighbours': 4, 'local': 2, 'negatives': 4},
    'pcl': {'data_size': BATCH, 'prototypes': (4, 6), 'restarts': 1, 'queue': 64, 'momentum': 0.9, 'groups': 4},
    'scan': {'data_size': BATCH, 'clusters': 4, 'neighbours': 3, 'heads': 2},
    'scan_self_label': {'clusters': 4, 'threshold': 0.1},
    'sela': {'data_size': BATCH, 'clusters': 4, 'heads': 2},
    'pirl': {'data_size': BATCH, 'negatives': 6, 'grid': 2},
    'clusternet': {'labelled': 0.5},
    'cluster_ns': {'temperature': 0.2, 'clusters': 4, 'start_cosine': 1.0, 'weight': 0.1},
    'metric': {'objective': 'metrix', 'negative_margin': 1.0},
    'co2': {'queue': 64, 'momentum': 0.9, 'groups': 4},
    'directclr': {'temperature': 0.2, 'dims': 8},
    'emp_ssl': {},
    'frossl': {},
    'hypersphere': {},
    'macl': {'temperature': 0.2},
    'mochi': {'queue': 64, 'momentum': 0.9, 'groups': 4, 'hardest': 16, 'mixed': 4, 'harder': 2},
    'moco_hard': {'queue': 64, 'momentum': 0.9, 'groups': 4, 'hardest': 16},
    'nnbyol': {'queue': 64, 'momentum': 0.9},
    'nnsiam': {'queue': 64},
    'unicom': {'data_size': BATCH, 'clusters': 4, 'scale': 8.0},
    'jigclu': {'mixing': 2},
    'jigsaw': {'grid': 2, 'evaluation_grid': 2},
    'amdim': {'local_widths': (16, 16)},
    'colourisation': {'step': 60},
    'cpc': {'patch': 4, 'stride': 2, 'ahead': (1, 2), 'width': 8, 'context_width': 8, 'depth': 2},
    'exemplar': {},
    'relational': {},
    'relative_patch': {'evaluation_grid': 2},
    'rotation': {},
    'unisiam': {},
    'abs_topk': {'active': 4, 'dead_after': 16},
    'archetypal': {'active': 4, 'points': 16, 'iterations': 3},
    'batch_topk': {'active': 4, 'dead_after': 16},
    'csr': {'active': 2, 'wider': 3, 'dead_after': 16},
    'gated': {'weight': 0.1, 'weight_warmup': 0},
    'jump_relu': {'weight': 0.1, 'weight_warmup': 0, 'bandwidth': 0.2, 'threshold': 0.1},
    'matching_pursuit': {'active': 3, 'units': 16},
    'matryoshka': {'active': 4, 'shares': (0.25, 0.75), 'dead_after': 16},
    'p_anneal': {'weight': 0.1, 'weight_warmup': 0, 'anneal_start': 2, 'anneal_steps': 20},
    'progressive': {'active': 4, 'shares': (0.25, 0.75), 'dead_after': 16},
    'relu_l1': {'weight': 0.1, 'weight_warmup': 0},
    'topk': {'active': 4, 'dead_after': 16},
}


# One of each mechanism: statistics of the batch, queue and EMA target, centre, clusters kept for each example, masks.
REPRESENTATIVE = ('barlow_twins', 'moco_v2', 'dino', 'deepcluster_v2', 'ijepa')


def each(names=None, quick=REPRESENTATIVE):
    """A test for every method, `quick` in the quick suite and the others among the slow tests."""
    names = sorted(methods.METHODS if names is None else names)
    return pytest.mark.parametrize(
        'name', [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in names]
    )


def noise(shape, deviation):
    """Normal numbers in float32, the same for the same shape."""
    return np.random.default_rng(int(np.prod(shape))).normal(0, deviation, shape).astype(np.float32)


@functools.cache
def _made(name, changes):
    constructor = methods.METHODS[name]
    given = {'encoder': ENCODER, 'projector': PROJECTOR, 'predictor': PREDICTOR, **OWN_NETWORKS.get(name, {})}
    keywords = {**KEYWORDS[name], **dict(changes)}
    axis_name = keywords.pop('axis_name', None)
    made = methods.over_axis(constructor, axis_name) if axis_name else constructor
    return made(*(given[network] for network in signature.networks(constructor)), **keywords)


def make(name, **changes):
    """A method of small networks: the same object for the same keywords, so that what is compiled is used again."""
    try:
        return _made(name, tuple(sorted(changes.items())))
    except TypeError:  # arrays and tracers have no hash
        return _made.__wrapped__(name, tuple(changes.items()))


def images(n=BATCH, seed=0):
    from sklearn.datasets import load_digits

    chosen = load_digits().images[seed * n : (seed + 1) * n] / 16
    return jnp.asarray(chosen[..., None], jnp.float32)


def answers(numbers, turn=0.0):
    """What the augmentation of a pretext task reports of examples, by their numbers; `turn` in degrees a row."""
    asked = {
        'turns': (1, 4),
        'jigsaw': (6,),
        'patch_pair': (8,),
        'part_turn': (16,),
        'quarter': (4,),
        'colours': (4, 4, 13),
    }
    found = {}
    for name, (*parts, count) in asked.items():
        one = jax.nn.one_hot(jnp.asarray(numbers) % count, count).reshape(-1, *[1] * len(parts), count)
        found[name] = {'answer': jnp.broadcast_to(one, (len(one), *parts, count))}
    turned = {'angle': 10.0 * jnp.asarray(numbers, jnp.float32) + turn * jnp.arange(len(one))}
    return {**found, 'rotation': turned, 'shared': jnp.zeros((len(one), 4))}


def batch(n=BATCH, seed=0):
    x = images(n, seed)
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, *x.shape)).astype(np.float32)
    corners, flips = rng.uniform(0, 3, size=(2, n, 2)), rng.uniform(size=(2, n)) < 0.5
    boxes = np.concatenate([corners, rng.uniform(3, 5, size=(2, n, 2))], axis=2).astype(np.float32)
    return {
        'views': tuple(x + 0.3 * e for e in noise),
        'index': jnp.arange(n),
        'view_params': tuple(
            {'box': jnp.asarray(b), 'flip': jnp.asarray(f), **answers(np.arange(n), turn)}
            for b, f, turn in zip(boxes, flips, (0.0, 20.0), strict=True)
        ),
        'label': jnp.asarray(np.arange(n) % 10),
        'keys': jax.random.split(jax.random.key(seed), n),
        'step': jnp.zeros((), jnp.int32),
    }


def started(method, rows):
    """Parameters and state before the first step; with clusters, where a method makes them between epochs."""
    params, extra = initial(method, rows)
    if method.refresh:
        outputs, extra = embed(method, params, extra, rows, jax.random.key(1))
        _, (extra, _) = criterion(method, params, outputs, extra, rows, jax.random.key(1))
        features = passed(method, params, extra, rows) if method.refresh.needs_features else None
        update = jax.jit(lambda *arguments: method.refresh.update(*arguments)[:2])
        params, extra = update(params, extra, jax.random.key(2), features)
    return params, extra


@functools.partial(jax.jit, static_argnums=0)
def passed(method, params, extra, rows):
    """What a refresh that needs features gets of the first views, in the order of their index."""
    keep = method.refresh.encode or (lambda p, e, x: method.encode(method.network(p, e), x)['features'])
    return keep(params, extra, rows['views'][0][jnp.argsort(rows['index'])])


@functools.partial(jax.jit, static_argnums=0)
def initial(method, rows):
    return method.init(jax.random.key(0), rows)


@functools.partial(jax.jit, static_argnums=0)
def embed(method, params, extra, rows, key):
    """The network part, compiled."""
    return method.embed(params, extra, rows, key)


@functools.partial(jax.jit, static_argnums=0)
def criterion(method, params, outputs, extra, rows, key):
    """The batch part, compiled."""
    return method.criterion(params, outputs, extra, rows, key)


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradient(method, params, extra, rows, key):
    def loss(p):
        outputs, new = method.embed(p, extra, rows, key)
        value, (new, metrics) = method.criterion(p, outputs, new, rows, key)
        return value, (new, metrics)

    return jax.value_and_grad(loss, has_aux=True)(params)


def script(path):
    """The module of a script outside the package, by its path from the root of the repository."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tree_distance(a, b):
    """‖a − b‖ / ‖b‖ over whole trees; ‖a‖ where b is zero."""
    flat = lambda t: np.concatenate([np.zeros(0), *(np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(t))])  # noqa: E731
    a, b = flat(a), flat(b)
    return np.linalg.norm(a - b) / (np.linalg.norm(b) or 1.0)


def digits_fields(method='simclr'):
    """Fields of a run of 12 steps on digits that takes seconds."""
    fields = [
        'model.widths=(8, 16)', 'train.epochs=3', 'data.batch_size=320',
        'optimizer.warmup_epochs=1', 'train.log_every=2', 'monitor.every_epochs=1', 'checkpoint.every_epochs=1',
        'evaluate.label_draws=2',
    ]  # fmt: skip
    known = config.keywords(methods.METHODS[method])
    smaller = [f'method.{k}={v}' for k, v in (('queue', 640), ('groups', 4), ('block', 160)) if k in known]
    for network in ('projector', 'predictor'):
        if config.takes(methods.METHODS[method], network):
            smaller.append(f'{network}.widths=(32, 16)')
    return [*fields, *smaller]


def digits_config(method='simclr', *overrides):
    """The config of that run; widths are those of networks that have some."""
    file = f'experiments/digits/{method}.py'
    known = resolve.as_flat(config.load(file))
    fields = [field for field in digits_fields(method) if field.partition('=')[0] in known]
    return config.load(file, [*fields, *overrides])
