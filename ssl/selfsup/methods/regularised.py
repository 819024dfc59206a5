"""Regularisers of any method: terms added to its criterion, or the criterion itself on parts of the embeddings.

`config.method.regularisers` names rows of :data:`REGULARISERS`, each with its keywords. They see what the criterion
sees, the outputs of the global batch, so they are as exact over devices and microbatches as the method is.
"""

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .. import losses
from ..errors import UserError
from ..losses.local_dimension import ESTIMATORS, FORMS
from ..signature import Count, Counts, Domain, NonNegative, Positive, Whole
from .base import Method, random_directions
from .pretext.lens import lens
from .pretext.lorot import lorot
from .regulariser import Regulariser, seen

OF = ('features', 'embeddings')
Of = Annotated[str, Domain(str, choices=OF)]
Neighbours = Annotated[int, Domain(int, least=2)]
Directions = Annotated[int, Domain(int, least=1, most=2**20)]
# What a criterion on narrower embeddings can be given: networks and state that do not have the embedding's width.
NARROWED = ('embeddings', 'predictions', 'targets')
NETWORKS, STATE = {'encoder', 'projector', 'predictor'}, {'batch_stats', 'target'}


def _joined(views: tuple[Array, ...]) -> Array:
    """The views one below the other; an image's stand side by side, so that none changes its device."""
    return jnp.stack(views, axis=1).reshape(-1, views[0].shape[1])


def _added(
    name: str,
    of: str,
    weight: Any,
    term: Callable[[tuple, Array], tuple],
    *,
    rows: int = 1,
    parts: int = 1,
    joined: bool = False,
) -> Regulariser:
    """A regulariser that adds `weight · term(views, key)[0]`; the term's second value is a dict of more metrics.

    `weight` is a number or a function of the step. The key is a stream of its own, so that the method's draws stay.
    """

    def around(criterion: Callable) -> Callable:
        def regularised(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
            value, (extra, metrics) = criterion(params, outputs, extra, batch, key)
            views = seen(outputs, of)
            given = len(views[0]) * (len(views) if joined else 1)
            if (
                given < rows
            ):  # config validation counts the views of the augmentation, of which a method may embed fewer
                raise UserError(f'method.regularisers.{name} needs at least {rows} rows, and gets {given}')
            own, more = term(views, jax.random.fold_in(key, zlib.crc32(name.encode())))
            factor = weight(batch['step']) if callable(weight) else weight
            return value + factor * own, (extra, {**metrics, name: own, **more})

        return regularised

    return Regulariser(around, rows, parts, joined)


def _mean(function: Callable[[Array], Array], views: tuple[Array, ...]) -> Array:
    return sum(function(z) for z in views) / len(views)


def ldreg(
    *,
    weight: NonNegative = 0.01,
    neighbours: Neighbours = 64,
    estimator: Annotated[str, Domain(str, choices=ESTIMATORS)] = 'moments',
    form: Annotated[str, Domain(str, choices=FORMS)] = 'l1',
    of: Of = 'features',
    begin: Whole = 0,
) -> Regulariser:
    """LDReg: features should have a high local intrinsic dimension; see :func:`selfsup.losses.ldreg`.

    Args:
      weight: authors: 0.01 (SimCLR), 0.005 (MoCo), 0.005 of a sum over views (BYOL), 5e-6 (MAE).
      neighbours: k, fewer than the rows of both views together. Authors: 64; 32 to 128.
      estimator, form: of the loss.
      of: 'features' (authors) or 'embeddings'.
      begin: step from which it acts. Authors: that of the tenth epoch.

    Metrics: `ldreg`, and `ldreg_dimension`, the geometric mean of the local dimensions.
    """

    def term(views: tuple, key: Array) -> tuple:
        z = _joined(views)
        logarithms, known = losses.local_dimension(jax.lax.stop_gradient(z), neighbours=neighbours, estimator=estimator)
        dimension = jnp.exp(jnp.sum(logarithms) / jnp.maximum(jnp.sum(known), 1))
        return losses.ldreg(z, neighbours=neighbours, estimator=estimator, form=form), {'ldreg_dimension': dimension}

    return _added(
        'ldreg', of, lambda step: jnp.where(step >= begin, weight, 0.0), term, rows=neighbours + 1, joined=True
    )


def e2mc(
    *,
    entropy_weight: NonNegative = 10.0,
    covariance_weight: NonNegative = 1.0,
    squash: Annotated[str, Domain(str, choices=('normal', 'sigmoid'))] = 'normal',
    eps: Positive = 1e-7,
    of: Of = 'embeddings',
) -> Regulariser:
    """E2MC: embeddings of maximum entropy, for some more epochs of a finished run; see :func:`selfsup.losses.e2mc`.

    Args:
      entropy_weight, covariance_weight: β, of the views' mean, and γ, of their sum. Authors: 10 and 1 (VICReg, SwAV),
        1 and 25 (SimSiam).
      squash: 'normal' (authors: SwAV, SimSiam) or 'sigmoid' (VICReg).
      eps: ε of the entropy.
      of: 'embeddings' (authors) or 'features'.

    Metrics: `e2mc`, `e2mc_entropy`, `e2mc_covariance`.
    """

    def term(views: tuple, key: Array) -> tuple:
        terms = [losses.e2mc_terms(z, squash=squash, eps=eps) for z in views]
        entropy = sum(t['entropy'] for t in terms) / len(terms)
        covariance = sum(t['covariance'] for t in terms)
        value = covariance_weight * covariance - entropy_weight * entropy
        return value, {'e2mc_entropy': entropy, 'e2mc_covariance': covariance}

    return _added('e2mc', of, 1.0, term, rows=2)


def koleo(*, weight: NonNegative = 0.1, groups: Count = 1, of: Of = 'features') -> Regulariser:
    """KoLeo, summed over the views as in DINOv2; see :func:`selfsup.losses.koleo`.

    Args:
      weight: authors of DINOv2: 0.1.
      groups: equal parts of the batch in which neighbours are sought. Authors: parts of 32 to 64.
      of: 'features' (authors) or 'embeddings'.
    """

    def term(views: tuple, key: Array) -> tuple:
        return sum(losses.koleo(z, groups=groups) for z in views), {}

    return _added('koleo', of, weight, term, rows=2 * groups, parts=groups)


def sigreg(
    *,
    weight: NonNegative = 0.05,
    directions: Directions = 1024,
    knots: Annotated[int, Domain(int, least=2, most=10_000)] = 17,
    of: Of = 'embeddings',
) -> Regulariser:
    """SIGReg of LeJEPA, the mean over views; see :func:`selfsup.losses.sigreg`.

    Args:
      weight: authors: 0.05 (beside an invariance of 0.95).
      directions: drawn anew in each step, the same for all views and devices. Authors: 1024.
      knots: points of the statistic.
      of: 'embeddings' (authors) or 'features'.
    """

    def term(views: tuple, key: Array) -> tuple:
        drawn = random_directions(key, directions, views[0])
        return _mean(partial(losses.sigreg, directions=drawn, knots=knots), views), {}

    return _added('sigreg', of, weight, term)


def visreg(
    *,
    centre_weight: NonNegative = 0.9,
    scale_weight: NonNegative = 0.9,
    shape_weight: NonNegative = 0.9,
    directions: Directions = 4096,
    eps: Positive = 1e-4,
    of: Of = 'embeddings',
) -> Regulariser:
    """VISReg's centre, scale and shape, each the mean over views; see :func:`selfsup.losses.centre_scale_shape`.

    Args:
      centre_weight, scale_weight, shape_weight: authors: 0.9 each, beside an invariance of 0.1.
      directions: drawn anew in each step, the same for all views and devices. Authors: 4096.
      eps: ε of the shape.
      of: 'embeddings' (authors) or 'features'.

    Metrics: `visreg` and its parts.
    """

    def term(views: tuple, key: Array) -> tuple:
        drawn = random_directions(key, directions, views[0])
        parts = [losses.centre_scale_shape(z, drawn, eps=eps) for z in views]
        means = {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
        weights = {'centre': centre_weight, 'scale': scale_weight, 'shape': shape_weight}
        value = sum(weight * means[name] for name, weight in weights.items())
        return value, {f'visreg_{name}': mean for name, mean in means.items()}

    return _added('visreg', of, 1.0, term, rows=2)


def variance(*, weight: NonNegative = 25.0, of: Of = 'embeddings') -> Regulariser:
    """The variance hinge of VICReg, the mean over views; see :func:`selfsup.losses.vicreg_terms`.

    Args:
      weight: authors of VICReg: 25.
      of: 'embeddings' (authors) or 'features'.
    """

    def term(views: tuple, key: Array) -> tuple:
        return _mean(lambda z: losses.vicreg_terms(z, z)['variance'], views), {}

    return _added('variance', of, weight, term, rows=2)


def covariance(*, weight: NonNegative = 1.0, of: Of = 'embeddings') -> Regulariser:
    """The covariance term of VICReg, the sum over views; see :func:`selfsup.losses.vicreg_terms`.

    Args:
      weight: authors of VICReg: 1.
      of: 'embeddings' (authors) or 'features'.
    """

    def term(views: tuple, key: Array) -> tuple:
        return sum(losses.vicreg_terms(z, z)['covariance'] for z in views) / 2, {}  # each is counted twice there

    return _added('covariance', of, weight, term, rows=2)


def flops(*, weight: NonNegative = 1e-3, ramp: Whole = 0, of: Of = 'features') -> Regulariser:
    """The FLOPs regulariser, the mean over views; see :func:`selfsup.losses.flops`.

    Args:
      weight: authors: 1e-3 (CIFAR-100), 100 (faces).
      ramp: steps over which the weight rises from 0 as (step / ramp)²; 0 has it from the start. Authors: 15,000.
      of: 'features' (a ReLU's or a mean of them) or 'embeddings'.

    Metrics: `flops`, and `flops_active`, the share of entries that are not 0.
    """

    def term(views: tuple, key: Array) -> tuple:
        active = _mean(lambda z: jnp.mean(z != 0), views)
        return _mean(losses.flops, views), {'flops_active': active}

    def strength(step: Any) -> Array:
        return weight * jnp.minimum(1.0, (step / ramp) ** 2)

    return _added('flops', of, strength if ramp else weight, term)


def matryoshka(*, widths: Counts, weight: NonNegative = 1.0) -> Regulariser:
    """The method's own criterion on nested prefixes of the embeddings: L(z) + weight · Σ_d L(z_:d), any criterion.

    The prefixes of the embeddings, of predictions and of a target's embeddings are given to the criterion as if they
    were all there is; what it normalises is normalised anew. Refused are methods with a queue, prototypes or another
    state of the embedding's width. Of the two dimensions of 2-D Matryoshka these are the widths; depths are not
    trained.

    Args:
      widths: of the prefixes, ascending, each below the width of the embedding.
      weight: of each prefix. Authors: 1, the same as of the whole.

    Metrics: `matryoshka_<d>`, the loss of each prefix.

    References:
      Kusupati et al. 2022, https://arxiv.org/abs/2205.13147, eq. 1; Li et al. 2024, https://arxiv.org/abs/2402.14776.
    """

    def check(params: Any, extra: Any, width: int) -> None:
        own = sorted({*params} - NETWORKS | {*extra} - STATE)
        if own:
            raise UserError(f'method.regularisers.matryoshka needs a method without {", ".join(own)}')
        if list(widths) != sorted({*widths}) or widths[-1] >= width:
            raise UserError(
                f'method.regularisers.matryoshka.widths={widths!r} must ascend and end below {width}, the width of '
                'an embedding'
            )

    def around(criterion: Callable) -> Callable:
        def regularised(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
            total, (new, metrics) = criterion(params, outputs, extra, batch, key)
            other = sorted({*outputs} - {'features', *NARROWED})
            if other:
                raise UserError(f'method.regularisers.matryoshka needs a method without {", ".join(other)}')
            for width in widths:
                narrow = {name: outputs[name] for name in NARROWED if name in outputs}
                narrow = jax.tree.map(lambda z, width=width: z[:, :width], narrow)
                part, _ = criterion(params, {**outputs, **narrow}, extra, batch, key)
                total, metrics = total + weight * part, {**metrics, f'matryoshka_{width}': part}
            return total, (new, metrics)

        return regularised

    return Regulariser(around, check=check)


# config.method.regularisers.<name> -> constructor, whose keywords are the fields. In the order in which they are put
# around the criterion: terms are added to that of the whole embeddings, not to that of each prefix.
REGULARISERS = {
    'matryoshka': matryoshka,
    'covariance': covariance,
    'e2mc': e2mc,
    'flops': flops,
    'koleo': koleo,
    'ldreg': ldreg,
    'lens': lens,
    'lorot': lorot,
    'sigreg': sigreg,
    'variance': variance,
    'visreg': visreg,
}


def regularised(method: Method, chosen: Mapping[str, Mapping[str, Any]]) -> Method:
    """The method with regularisers around its criterion; itself where none is chosen.

    Args:
      method: any.
      chosen: name of a row of :data:`REGULARISERS` -> its keywords, whose numbers may be arrays of a trace.

    Raises:
      UserError: from `init`, where the method cannot have one of them.
    """
    if not chosen:
        return method
    built = {name: constructor(**chosen[name]) for name, constructor in REGULARISERS.items() if name in chosen}
    criterion, embed = method.criterion, method.embed
    for regulariser in built.values():
        criterion = regulariser.around(criterion)
        embed = regulariser.embed(embed) if regulariser.embed else embed

    def init(key: Array, batch: dict) -> tuple[Any, Any]:
        params, extra = method.init(key, batch)
        shapes = jax.eval_shape(
            lambda p, e, x: method.encode(method.network(p, e), x), params, extra, batch['views'][0][:1]
        )
        for regulariser in built.values():
            if regulariser.check:
                regulariser.check(params, extra, shapes['embeddings'].shape[1])
        streams = {name: jax.random.fold_in(key, zlib.crc32(name.encode())) for name in built}
        width = shapes['features'].shape[1]
        view = batch['views'][0]
        own = {name: r.init(streams[name], width, view) for name, r in built.items() if r.init}
        return {**params, **own}, extra

    return method._replace(init=init, embed=embed, criterion=criterion)
