"""What sparse autoencoders share: centre, atoms, dead units, resampling. A member is a :class:`Rule`.

Parameters: `encoder`, whose outputs drive the units, and `dictionary`: `atoms` `[units, dim]`, one a row, and `centre`
`[dim]`, what codes of zero decode to, which is also taken from the inputs. Inputs are vectors, or arrays of any rank,
which are taken as flat rows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import dictionaries, losses
from ..base import Method, Refresh, forward, init_modules, view_keys

HIGHEST = jax.lax.Precision.HIGHEST
# Rows of the training set that the centre is the median of, and initial state is made from.
REFERENCE = 4096


class Seen(NamedTuple):
    """What a loss sees of one batch: flat inputs, what drives the units, their codes, and the reconstructions."""

    params: Any
    extra: Any
    step: Any
    inputs: Array
    drive: Array
    codes: Array
    atoms: Array
    centre: Array
    reconstructions: Array


def unit_norm(params: Any, extra: Any) -> Array:
    """The atoms as they are: :func:`of_unit_norm` keeps their length at 1, and their gradient is along the sphere."""
    return dictionaries.tangent(params['dictionary']['atoms'])


def of_unit_norm(params: Any) -> Any:
    """The parameters with every atom scaled to length 1."""
    return {
        **params,
        'dictionary': {**params['dictionary'], 'atoms': dictionaries.unit_atoms(params['dictionary']['atoms'])},
    }


def plain(seen: Seen) -> tuple[dict[str, Array], dict[str, Any]]:
    """The squared error alone."""
    return {'reconstruction': losses.reconstruction(seen.inputs, seen.reconstructions)}, {}


class Rule(NamedTuple):
    """How one autoencoder departs from the others.

    Attributes:
      codes: `(params, extra, drive) -> codes`, row by row, as evaluation has them.
      batch_codes: `(params, extra, drive) -> (codes, changes of extra)` of a whole batch in training; None: as `codes`.
      terms: `(seen) -> (named terms whose sum is the loss, changes of extra)`.
      init: `(key, params, rows) -> (params, extra)` from those that all have and flat rows of the training set: further
        parameters and state.
      atoms: `(params, extra) -> [units, dim]`.
      constrain: `(params) -> params` after each update.
      dead_codes: `(drive of dead units, 0 elsewhere, active=) -> codes` of the auxiliary loss; None has none.
      state: names of what `codes` and `atoms` read of `extra`.
    """

    codes: Callable
    batch_codes: Callable | None = None
    terms: Callable = plain
    init: Callable = lambda key, params, rows: (params, {})
    atoms: Callable = unit_norm
    constrain: Callable = of_unit_norm
    dead_codes: Callable | None = None
    state: tuple[str, ...] = ()


def flat(x: Array) -> Array:
    """Inputs `[batch, …]` as rows, in at least float32."""
    return x.reshape(x.shape[0], -1).astype(jnp.promote_types(x.dtype, jnp.float32))


def _is_weight(leaf: Array, shape: tuple[int, int]) -> bool:
    return leaf.shape == shape[::-1]


def _is_bias(leaf: Array, shape: tuple[int, int]) -> bool:
    return leaf.shape == shape[:1]


def is_linear(encoder: Any, shape: tuple[int, int]) -> bool:
    """Whether an encoder's parameters are those of one linear layer to `[units, dim]`'s units, with or without bias."""
    leaves = jax.tree.leaves(encoder)
    weights = sum(_is_weight(leaf, shape) for leaf in leaves)
    return weights == 1 and len(leaves) == 1 + sum(_is_bias(leaf, shape) for leaf in leaves) <= 2


def of_linear(encoder: Any, shape: tuple[int, int], weight: Callable, bias: Callable) -> Any:
    """A linear encoder's parameters, each replaced by a function of itself."""
    return jax.tree.map(lambda leaf: weight(leaf) if _is_weight(leaf, shape) else bias(leaf), encoder)


def autoencoder(
    encoder: nn.Module | None,
    rule: Rule,
    *,
    units: int = 0,
    centred: bool = True,
    dead_after: Any = 10_000,
    auxiliary_weight: Any = 0.0,
    auxiliary_active: int = 0,
    resample: int = 0,
    resample_epochs: int = 1,
) -> Method:
    """The method of a rule.

    Args:
      encoder: flax module from flat rows to one number a unit, before any activation; None where `rule.codes` gets the
        centred rows themselves.
      rule: of the member.
      units: without an encoder, how many.
      centred: whether the centre is taken from the inputs of the encoder.
      dead_after: examples without being on after which a unit counts as dead.
      auxiliary_weight: of the auxiliary loss, where the rule has one.
      auxiliary_active: dead units of each example in it; 0 is half of the dims.
      resample: how many dead units at most start anew between epochs, each at a row drawn with a probability
        proportional to its squared error since; needs a linear encoder.
      resample_epochs: how often.

    State: `idle` `[units]`, examples since each unit was on; with `resample`, a weighted sample of rows.
    """
    modules = {} if encoder is None else {'encoder': encoder}

    def centre_of(params: Any, dim: int) -> Array:
        return params['dictionary'].get('centre', jnp.zeros(dim))

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        inputs = flat(batch.get('reference', batch['views'][0]))
        first, second, third = jax.random.split(key, 3)
        params, stats = init_modules(first, modules, inputs)
        count = units
        if encoder is not None:
            variables = {'params': params['encoder'], 'batch_stats': stats['encoder']}
            count = jax.eval_shape(lambda x: encoder.apply(variables, x, train=False), inputs).shape[-1]
        shape = (count, inputs.shape[1])
        atoms = dictionaries.unit_atoms(jax.random.normal(second, shape))
        if encoder is not None and is_linear(params['encoder'], shape):
            params['encoder'] = of_linear(params['encoder'], shape, lambda _: atoms.T, jnp.zeros_like)
        elif resample:
            raise ValueError(f'resample={resample} needs an encoder of one linear layer, with its weights and bias')
        params['dictionary'] = {'atoms': atoms, 'centre': dictionaries.geometric_median(inputs)}
        extra: dict = {'batch_stats': stats, 'idle': jnp.zeros(count, jnp.int32)}
        if resample:
            extra['sample'] = {'rows': jnp.zeros((resample, shape[1])), 'priority': jnp.full(resample, -jnp.inf)}
        params, more = rule.init(third, params, inputs)
        return params, {**extra, **more}

    def driven(params: Any, stats: Any, x: Array, **how: Any) -> tuple[Array, Any]:
        """What drives the units, and the encoder's batch statistics."""
        x = flat(x)
        if centred:
            x = x - centre_of(params, x.shape[1])[None]
        if encoder is None:
            return x, stats
        drive, new = forward(encoder, params['encoder'], stats['encoder'], x, **how)
        return drive.astype(jnp.promote_types(drive.dtype, jnp.float32)), {'encoder': new}

    def decoded(params: Any, extra: Any, codes: Array) -> Array:
        product = jnp.matmul(codes, rule.atoms(params, extra), precision=HIGHEST)
        return product + centre_of(params, product.shape[1])[None]

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        x = batch['views'][0]
        drive, stats = driven(params, extra['batch_stats'], x, train=True, keys=view_keys(batch)(0))
        codes = rule.codes(params, extra, drive)
        outputs = {'targets': flat(x), 'drive': drive, 'features': (codes,)}
        return {**outputs, 'embeddings': (decoded(params, extra, codes),)}, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        inputs, drive = outputs['targets'], outputs['drive']
        codes, changes = outputs['features'][0], {}
        if rule.batch_codes is not None:
            codes, changes = rule.batch_codes(params, extra, drive)
        atoms, centre = rule.atoms(params, extra), centre_of(params, inputs.shape[1])
        reconstructions = jnp.matmul(codes, atoms, precision=HIGHEST) + centre[None]
        step = batch['step']
        seen = Seen(params, extra, step, inputs, drive, codes, atoms, centre, reconstructions)
        terms, more = rule.terms(seen)
        residual = jax.lax.stop_gradient(inputs - reconstructions)
        idle = jnp.where(jnp.any(codes != 0, axis=0), 0, extra['idle'] + jnp.int32(len(codes)))
        dead = idle >= dead_after
        if rule.dead_codes is not None:
            active = min(auxiliary_active or max(inputs.shape[1] // 2, 1), len(atoms))
            revived = rule.dead_codes(jnp.where(dead[None], drive, 0.0), active=active)
            error = losses.dead_reconstruction(residual, jnp.matmul(revived, atoms, precision=HIGHEST))
            terms['auxiliary'] = auxiliary_weight * jnp.where(jnp.any(dead), error, 0.0)
        new = {**extra, **changes, **more, 'idle': idle}
        if resample:
            new['sample'] = drawn(extra['sample'], inputs, jnp.sum(residual**2, axis=1), key)
        numbers = {
            'explained_variance': dictionaries.explained_variance(inputs, inputs - residual),
            'l0': jnp.mean(jnp.sum(codes != 0, axis=1, dtype=codes.dtype)),
            'dead': jnp.mean(dead, dtype=codes.dtype),
        }
        metrics = jax.lax.stop_gradient({**{f'{name}_loss': value for name, value in terms.items()}, **numbers})
        return sum(terms.values()), (new, metrics)

    def drawn(sample: dict, inputs: Array, weights: Array, key: Array) -> dict:
        """The sample after a batch: the rows with the largest log(u)/w of all so far (Efraimidis and Spirakis 2006)."""
        u = jax.random.uniform(key, weights.shape, weights.dtype, jnp.finfo(weights.dtype).tiny, 1.0)
        priority = jnp.where(weights > 0, jnp.log(u) / jnp.where(weights > 0, weights, 1.0), -jnp.inf)
        every = jnp.concatenate([sample['priority'], priority.astype(sample['priority'].dtype)])
        best, which = jax.lax.top_k(every, resample)
        rows = jnp.concatenate([sample['rows'], inputs.astype(sample['rows'].dtype)])[which]
        return jax.lax.stop_gradient({'rows': rows, 'priority': best})

    def refresh(params: Any, extra: Any, key: Array, features: Any) -> tuple[Any, Any, dict]:
        own, sample = params['dictionary'], extra['sample']
        shape = own['atoms'].shape
        dead = extra['idle'] >= dead_after
        place = jnp.minimum(jnp.cumsum(dead) - 1, resample - 1)
        taken = dead & (jnp.cumsum(dead) <= resample) & (sample['priority'][place] > -jnp.inf)
        fresh = dictionaries.unit_atoms(sample['rows'][place] - own['centre'][None])
        alive = ~dead

        def weight(leaf: Array) -> Array:
            lengths = jnp.sum(jnp.linalg.norm(leaf, axis=0) * alive) / jnp.maximum(jnp.sum(alive), 1)
            return jnp.where(taken[None], 0.2 * lengths * fresh.T, leaf)

        new = {
            **params,
            'encoder': of_linear(params['encoder'], shape, weight, lambda leaf: jnp.where(taken, 0.0, leaf)),
            'dictionary': {**own, 'atoms': jnp.where(taken[:, None], fresh, own['atoms'])},
        }
        emptied = {**sample, 'priority': jnp.full_like(sample['priority'], -jnp.inf)}
        reset = {
            'encoder': of_linear(params['encoder'], shape, lambda _: taken[None], lambda _: taken),
            'dictionary': {**{name: jnp.zeros((), bool) for name in own}, 'atoms': taken[:, None]},
        }
        return new, {**extra, 'idle': jnp.where(taken, 0, extra['idle']), 'sample': emptied}, reset

    def after(params: Any, extra: Any, step: Any) -> tuple[Any, Any]:
        return rule.constrain(params), extra

    def network(params: Any, extra: Any) -> dict[str, Any]:
        return {'params': params, 'batch_stats': extra['batch_stats'], 'state': {n: extra[n] for n in rule.state}}

    def encode(network: dict, inputs: Array) -> dict[str, Array]:
        params = network['params']
        drive, _ = driven(params, network['batch_stats'], inputs, train=False)
        codes = rule.codes(params, network['state'], drive)
        return {'features': codes, 'embeddings': decoded(params, network['state'], codes)}

    def decode(network: dict, codes: Array) -> Array:
        return decoded(network['params'], network['state'], codes)

    return Method(
        init,
        embed,
        criterion,
        encode,
        after,
        network,
        refresh=Refresh(refresh, resample_epochs) if resample else None,
        views=1,
        control='shuffled_targets',
        reference=REFERENCE,
        decode=decode,
    )
