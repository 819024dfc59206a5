"""Factors of rendered images in the features of an encoder, beside those in its pixels."""

from collections.abc import Mapping

import numpy as np

from .. import evals
from ..data.sources import Source
from ..errors import UserError
from ..evals import Features, Known
from ..evals.factors import linear_r2
from . import images
from .encoder import Encoder
from .layers import network, pixel_rows


def with_factors(data: Mapping[str, Source], name: str) -> tuple[Source, Source]:
    """The sources `train` and `test`, or an error that names the number where their factors are not known."""
    train, test = data['train'], data['test']
    if not train.factors or set(train.factors) != set(test.factors):
        raise UserError(
            f'--only={name} needs images with known factors, and {train.name} has none; take shapes:<images>'
        )
    return train, test


def encoded_with_factors(
    encoder: Encoder, data: Mapping[str, Source]
) -> tuple[tuple[Features, Features], tuple[np.ndarray, np.ndarray], dict[str, Known]]:
    """Features and prepared pixels of train and test, and the factors of the same rows.

    Raises:
      UserError: a source without factors.
    """
    train, test = with_factors(data, 'factors')
    prepare, size = network(encoder)[2], encoder.config.evaluate.batch_size
    sets, pixels, rows = [], [], []
    for part in (train, test):
        outputs, kept = images.encoded(
            lambda batch: {'features': encoder(batch), 'pixels': pixel_rows(prepare(batch))}, part, batch_size=size
        )
        sets.append(Features(outputs['features'], part.labels[kept]))
        pixels.append(np.asarray(outputs['pixels']))
        rows.append(kept)
    known = {
        name: Known(factor.values[rows[0]], test.factors[name].values[rows[1]], factor.count, factor.kind)
        for name, factor in train.factors.items()
    }
    return (sets[0], sets[1]), (pixels[0], pixels[1]), known


def of_factors(encoder: Encoder, data: Mapping[str, Source]) -> dict[str, float]:
    """:func:`selfsup.evals.factors` of a source that knows its factors, and `factor_pixels_r2…` of the prepared pixels.

    Raises:
      UserError: a source without factors, a factor that is constant.
    """
    sets, pixels, known = encoded_with_factors(encoder, data)
    found = evals.factors(*sets, known)
    plain = linear_r2(*pixels, known)
    found['factor_pixels_r2'] = float(np.mean(list(plain.values())))
    return found | {f'factor_pixels_r2_{name}': value for name, value in plain.items()}
