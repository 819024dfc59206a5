"""Contrastive sparse representation (Wen et al. 2025, https://arxiv.org/abs/2503.01776)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ... import dictionaries, losses
from ...signature import Count, NonNegative, Positive, Whole
from ..base import Method
from .autoencoder import Rule, Seen, autoencoder


def csr(
    encoder: nn.Module,
    *,
    active: Count = 8,
    wider: Count = 4,
    wider_weight: NonNegative = 1 / 8,
    contrast_weight: NonNegative = 0.1,
    temperature: Positive = 0.2,
    auxiliary_weight: NonNegative = 1 / 32,
    auxiliary_active: Whole = 0,
    dead_after: Count = 10_000_000,
) -> Method:
    """TopK that also reconstructs with more units on, and whose codes of different examples are pushed apart.

    L = ‖x − x̂_k‖² + w₄‖x − x̂_4k‖² + w_c·NT-Xent(f, f) + w_a·what dead units leave of the residual. The authors' two
    views of a row are two passes through the same layer without noise, so its positive has cosine 1 and the third term
    pushes codes apart and does nothing else; here it is computed of one pass.

    Departures: the authors tie the encoder's weights to the atoms, which have no fixed length, and average squared
    errors over dims where they are summed here: their weight of 0.1 is 0.1·dim here.

    Args:
      encoder: flax module to one number a unit; a linear one begins as the transposed atoms.
      active: k, units on in each example. Authors: 8 of 8,192.
      wider: how many times k units are on in the second reconstruction; all, where there are not so many. Authors: 4.
      wider_weight: of its squared error. Authors: 1/8.
      contrast_weight: of the contrast, in squared units of the inputs for each nat.
      temperature: of the contrast. Authors: 0.2.
      auxiliary_weight, auxiliary_active, dead_after: as in :func:`.topk.topk`. Authors: 1/32 and 512.

    State: examples since each unit was on.
    """

    def codes(params, extra, drive):
        return dictionaries.top_k(drive, active=active)

    def terms(seen: Seen):
        more = dictionaries.top_k(seen.drive, active=min(wider * active, len(seen.atoms)))
        wide = jnp.matmul(more, seen.atoms, precision=jax.lax.Precision.HIGHEST) + seen.centre[None]
        return {
            'reconstruction': losses.reconstruction(seen.inputs, seen.reconstructions),
            'wider': wider_weight * losses.reconstruction(seen.inputs, wide),
            'contrast': contrast_weight * losses.ntxent(seen.codes, seen.codes, temperature=temperature),
        }, {}

    return autoencoder(
        encoder,
        Rule(codes, terms=terms, dead_codes=dictionaries.top_k),
        auxiliary_weight=auxiliary_weight,
        auxiliary_active=auxiliary_active,
        dead_after=dead_after,
    )
