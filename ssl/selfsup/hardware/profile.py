"""Time on the device by the named scopes of a step, from a profile that `jax.profiler` recorded."""

from pathlib import Path

from .program import SCOPES, Program


def scope_times(folder: str | Path, program: Program) -> dict[str, float]:
    """Scope -> seconds that the kernels of a program took in a profile, over all its runs and devices.

    Kernels that run side by side count each with its own time, so that the sum may exceed the time by the clock.

    Args:
      folder: what `jax.profiler.trace` wrote to.
      program: of the compiled text of what ran, :func:`selfsup.hardware.parse`.

    Returns:
      The scopes that took time; 'other' has what the program's text does not name.

    Raises:
      ValueError: a folder without a profile, or a profile without kernels.
    """
    from jax.profiler import ProfileData

    files = sorted(Path(folder).rglob('*.xplane.pb'))
    if not files:
        raise ValueError(f'{folder} holds no profile (*.xplane.pb)')
    scopes = {kernel.name: kernel.scope for kernel in program.kernels}
    found = dict.fromkeys(SCOPES, 0.0)
    for plane in ProfileData.from_file(str(files[-1])).planes:
        for line in plane.lines:
            for event in line.events:
                name = dict(event.stats).get('hlo_op')
                # Loops and calls are told of too, with the time of all that they hold.
                if name in scopes or (name and not str(name).startswith(('while', 'call', 'conditional'))):
                    found[scopes.get(str(name), 'other')] += event.duration_ns * 1e-9
    if not any(found.values()):
        raise ValueError(f'{files[-1]} tells of no kernel')
    return {scope: seconds for scope, seconds in found.items() if seconds}
