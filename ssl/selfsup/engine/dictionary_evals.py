"""The evaluation of an encoder whose features are codes of its inputs."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from .. import evals
from ..data.sources import Source
from ..errors import UserError
from . import build, images
from .encoder import Encoder


def is_dictionary(encoder: Encoder) -> bool:
    """Whether features can be decoded to inputs."""
    return encoder.method.decode is not None


def coded(encoder: Encoder, source: Source) -> evals.Coded:
    """All rows of a source as the encoder sees them, flat, with codes and reconstructions."""
    prepare = build.build_preparation(encoder.config)

    def outputs(batch: np.ndarray) -> dict[str, np.ndarray]:
        seen = np.asarray(prepare(batch), np.float32)
        return {**encoder.outputs(batch), 'inputs': seen.reshape(len(seen), -1)}

    found, kept = images.encoded(outputs, source, batch_size=encoder.config.evaluate.batch_size)
    return evals.Coded(found['inputs'], found['features'], found['embeddings'], source.labels[kept])


def atoms(encoder: Encoder, units: int) -> np.ndarray:
    """The atoms `[units, dim]` of a linear decoder: what a code of one unit adds to that of zeros."""
    decode, one_hot = encoder.method.decode, jnp.eye(units)
    assert decode is not None
    return np.asarray(decode(encoder.evaluated, one_hot) - decode(encoder.evaluated, 0 * one_hot[:1]))


def of_dictionary(encoder: Encoder, data: Mapping[str, Source], parents: str = '') -> dict[str, float]:
    """:func:`selfsup.evals.dictionary` of train and test, and with `parents` :func:`selfsup.evals.absorption`.

    Args:
      encoder: the trained one.
      data: the sources `train` and `test`.
      parents: the concept of each class, whole numbers between commas; '' for none.

    Raises:
      UserError: an encoder whose features decode to nothing, parents that are not one number for each class.
    """
    if not is_dictionary(encoder):
        raise UserError(
            f'--only=dictionary decodes features to inputs, which those of {encoder.config.method.name} do not; take a '
            f'method of the family dictionary'
        )
    train, test = (coded(encoder, data[part]) for part in ('train', 'test'))
    found = evals.dictionary(train, test)
    if parents:
        if not all(word.strip().isdecimal() for word in parents.split(',')):
            raise UserError(f'--parents={parents} must be whole numbers from 0, with commas between them')
        given = [int(word) for word in parents.split(',')]
        found |= evals.absorption(train, test, atoms(encoder, train.codes.shape[1]), given)
    return found
