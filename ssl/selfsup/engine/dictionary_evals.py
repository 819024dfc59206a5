"""The evaluation of an encoder whose features are codes of its inputs."""

from collections.abc import Mapping

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


def of_dictionary(encoder: Encoder, data: Mapping[str, Source]) -> dict[str, float]:
    """:func:`selfsup.evals.dictionary` of train and test.

    Raises:
      UserError: an encoder whose features decode to nothing.
    """
    if not is_dictionary(encoder):
        raise UserError(
            f'--only=dictionary decodes features to inputs, which those of {encoder.config.method.name} do not; take a '
            f'method of the family dictionary'
        )
    return evals.dictionary(*(coded(encoder, data[part]) for part in ('train', 'test')))
