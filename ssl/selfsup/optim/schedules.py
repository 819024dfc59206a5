"""Schedules: functions of the step, traceable in it and in their values."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

Schedule = Callable[[Any], Any]


def warmup_cosine(
    peak: Any, *, steps: int, warmup_steps: int = 0, start: Any = 0.0, final_share: Any = 0.0, inclusive: bool = False
) -> Schedule:
    """Linear from `start` to `peak` over `warmup_steps`, then a half cosine to `final_share·peak` at `steps`.

    `inclusive`: the warm-up's last step already has the peak, so that two steps have it (SwAV, DINO and
    solo-learn); else the first step after the warm-up is the only one.
    """

    def value(step: Any) -> Any:
        step = jnp.asarray(step, float)
        rising = start + (peak - start) * step / max(warmup_steps - inclusive, 1)
        done = jnp.clip((step - warmup_steps) / max(steps - warmup_steps, 1), 0.0, 1.0)
        falling = peak * (final_share + (1.0 - final_share) * 0.5 * (1.0 + jnp.cos(jnp.pi * done)))
        return jnp.where(step < warmup_steps, rising, falling)

    return value


def warmup_constant(
    peak: Any,
    *,
    steps: int = 0,
    warmup_steps: int = 0,
    cooldown_steps: int = 0,
    start: Any = 0.0,
    final_share: Any = 0.0,
) -> Schedule:
    """Linear from `start` to `peak` over `warmup_steps`, then constant.

    Over the `cooldown_steps` before `steps` it falls linearly, to `final_share·peak` at `steps`; without `steps` never.
    """
    # Runs of different lengths are the same operations, so that they agree to the bit up to the cool-down; as constants
    # of the program the two numbers would be folded, each differently. Without a cool-down 1 is left at the last step.
    length = np.asarray([steps or math.inf, max(cooldown_steps, 1)])

    def value(step: Any) -> Any:
        share = jnp.clip(jnp.asarray(step, float) / max(warmup_steps, 1), 0.0, 1.0)
        numbers = jnp.asarray(length, float)
        rate = jnp.where(warmup_steps > 0, start + (peak - start) * share, peak)
        first = jnp.minimum(jnp.asarray(step), 0)  # 0, which the compiler does not know
        left = jnp.clip((numbers[first] - jnp.asarray(step, float)) / numbers[first + 1], 0.0, 1.0)
        return jnp.where(left < 1.0, peak * (final_share + (1.0 - final_share) * left), rate)

    return value


def by_epoch(schedule: Schedule, epoch_steps: int) -> Schedule:
    """`schedule` held during each epoch at its value of the epoch's first step (MoCo v2, SimSiam)."""
    return lambda step: schedule(jnp.asarray(step) // epoch_steps * epoch_steps)


def momentum_cosine(first: Any, final: Any, *, steps: int) -> Schedule:
    """A half cosine, final − (final − first)·(1 + cos(πt/T))/2: EMA momentum (BYOL, MoCo v3), DINO's weight decay."""

    def value(step: Any) -> Any:
        done = jnp.clip(jnp.asarray(step, float) / max(steps, 1), 0.0, 1.0)
        return final - (final - first) * 0.5 * (1.0 + jnp.cos(jnp.pi * done))

    return value
