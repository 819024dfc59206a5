"""Self-supervised representation learning in JAX.

`selfsup.losses`, `selfsup.diagnostics`, `selfsup.augment` and `selfsup.models` are plain functions and
modules; `selfsup.methods` puts them together; `python -m selfsup.train` runs a config file.
"""

__version__ = '0.1.0'


def load_encoder(workdir: str, step: int | None = None):
    """The trained encoder of a workdir, or one of `selfsup.convert`: `encoder(images) -> features`.

    Args:
      workdir: folder of a run, or of an encoder that `selfsup.convert` wrote.
      step: which checkpoint; by default the newest.

    Returns:
      A :class:`selfsup.engine.encoder.Encoder`: call it with uint8 (0..255) or float ([0, 1]) images
      `[n, height, width, channels]` of the data's size, get a float32 array `[n, features]`.
    """
    from .engine.encoder import load

    return load(workdir, step=step)
