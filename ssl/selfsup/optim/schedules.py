"""Schedules: functions of the step, traceable in it and in their values."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

Schedule = Callable[[Any], Any]


def warmup_cosine(
    peak: Any, *, steps: int, warmup_steps: int = 0, start: Any = 0.0, final_share: Any = 0.0
) -> Schedule:
    """Linear from `start` to `peak` over `warmup_steps`, then a half cosine to `final_share·peak` at `steps`."""

    def value(step: Any) -> Any:
        step = jnp.asarray(step, jnp.float32)
        rising = start + (peak - start) * step / max(warmup_steps, 1)
        done = jnp.clip((step - warmup_steps) / max(steps - warmup_steps, 1), 0.0, 1.0)
        falling = peak * (final_share + (1.0 - final_share) * 0.5 * (1.0 + jnp.cos(jnp.pi * done)))
        return jnp.where(step < warmup_steps, rising, falling)

    return value


def warmup_constant(peak: Any, *, warmup_steps: int = 0, start: Any = 0.0) -> Schedule:
    """Linear from `start` to `peak` over `warmup_steps`, then constant."""

    def value(step: Any) -> Any:
        share = jnp.clip(jnp.asarray(step, jnp.float32) / max(warmup_steps, 1), 0.0, 1.0)
        return jnp.where(warmup_steps > 0, start + (peak - start) * share, peak)

    return value


def momentum_cosine(first: Any, final: Any, *, steps: int) -> Schedule:
    """EMA momentum m_t = final − (final − first)·(1 + cos(πt/T))/2 (BYOL and MoCo v3, with final = 1)."""

    def value(step: Any) -> Any:
        done = jnp.clip(jnp.asarray(step, jnp.float32) / max(steps, 1), 0.0, 1.0)
        return final - (final - first) * 0.5 * (1.0 + jnp.cos(jnp.pi * done))

    return value
