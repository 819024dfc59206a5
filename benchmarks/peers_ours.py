"""Our half of `peers.py`: the engine's whole step, with its online probe and metrics, and no monitor or checkpoint."""

import dataclasses
from typing import Any

import numpy as np
from peers_recipe import (
    BETAS,
    ENCODED_AT_ONCE,
    FIRST_STRIDE,
    LEARNING_RATE,
    MEAN,
    RECIPES,
    SIDE,
    STD,
    WARMUP_EPOCHS,
    WEIGHT_DECAY,
    WIDTHS,
    Job,
    Recipe,
    serve,
)

HELD_OUT = 0.02  # of the images: what a run's monitor would measure; neither half trains on them


def views(recipe: Recipe) -> dict[str, Any]:
    """The two views of a recipe."""
    names = dict(zip(('brightness', 'contrast', 'saturation', 'hue'), recipe.colours, strict=True))

    def view(solarise: float) -> dict[str, Any]:
        crop = dict(scale=(recipe.least, 1.0), ratio=(3 / 4, 4 / 3), method='bilinear')
        spec = dict(size=SIDE, count=1, crop=crop, flip=0.5, jitter=dict(**names, p=0.8), grey=0.2)
        return {**spec, 'solarise': dict(p=solarise, threshold=128 / 255)} if solarise else spec

    return {'first': view(recipe.solarise[0]), 'second': view(recipe.solarise[1])}


def config_of(job: Job) -> Any:
    """The resolved config of a job."""
    from selfsup import config
    from selfsup.config import defaults

    recipe = RECIPES[job.method]
    c = defaults()
    c.seed = job.seed
    c.method.name = recipe.method or job.method
    for name, number in recipe.numbers.items():
        c.method[name] = number
    if 'momentum' in recipe.numbers:
        c.method.momentum_final = recipe.numbers['momentum']  # lightly's examples keep it; by default ours rises
    if c.method.name == 'moco_v2':
        c.method.groups = 1  # lightly's example does not shuffle batch-norm
    else:
        c.method.fuse_views = False
    c.model.name = 'convnet'
    c.model.widths, c.model.first_stride = WIDTHS, FIRST_STRIDE
    c.projector.widths, c.projector.hidden_norm = recipe.head, recipe.hidden_norm
    c.projector.hidden_bias = not recipe.hidden_norm
    if recipe.predictor:
        c.predictor.widths, c.predictor.hidden_bias = recipe.predictor, False
    c.projector.last_norm = 'affine' if recipe.last_norm else 'none'
    c.projector.last_bias = not recipe.last_norm
    c.data.source, c.data.dir, c.data.per_class = job.source, job.data_dir, job.per_class
    c.data.batch_size, c.data.holdout = job.batch, HELD_OUT
    c.augment.recipe, c.augment.views = '', views(recipe)
    c.augment.mean, c.augment.std = MEAN, STD
    c.optimizer.update(learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, momentum=BETAS[0], beta2=BETAS[1])
    c.optimizer.warmup_epochs = float(min(WARMUP_EPOCHS, job.epochs))
    c.train.epochs = job.epochs
    c.evaluate.batch_size = ENCODED_AT_ONCE
    return config.with_overrides(c, [])


def in_torchs_order(tree: Any) -> list[np.ndarray]:
    """The arrays of a network as torch's `parameters()` lists them: layer by layer, kernels before biases."""
    found = []
    for number in range(len(tree)):
        layers = [tree[name] for name in (f'conv{number}', f'linear{number}', f'norm{number}') if name in tree]
        for layer in layers:
            if 'kernel' in layer:
                kernel = np.asarray(layer['kernel'])
                found.append(kernel.T if kernel.ndim == 2 else kernel.transpose(3, 2, 0, 1))
            found += [np.asarray(layer[name]) for name in ('scale', 'bias') if name in layer]
    return found


def with_copied_target(state: Any) -> Any:
    """The state with a target network, if there is one, that starts as a copy of the trained one."""
    import jax
    import jax.numpy as jnp

    extra = state.extra
    if 'target' not in extra:
        return state
    copied = {name: jax.tree.map(jnp.copy, state.params[name]) for name in extra['target']['params']}
    return dataclasses.replace(state, extra={**extra, 'target': {**extra['target'], 'params': copied}})


class Ours:
    """The engine's run of a job."""

    def __init__(self, job: Job):
        from selfsup.engine.encoder import Encoder
        from selfsup.engine.run import Run

        self.run = Run(config_of(job), devices=1)
        self.state, self.step = self.run.start(), 0
        if not RECIPES[job.method].own_start:
            self.state = with_copied_target(self.state)
        self.encoder = Encoder(self.run.config, self.run.method, self.state.params, self.state.extra, 0)

    def about(self) -> dict[str, str]:
        import jax

        return {'jax': jax.__version__, 'platform': jax.devices()[0].platform}

    def epoch(self) -> float:
        import jax

        losses, end = [], self.step + self.run.epoch_steps
        while self.step < end:
            count = self.run.next_chunk(self.step)
            self.state, metrics = self.run.dispatch(self.state, *self.run.feed(self.step, count))
            losses.append(metrics['loss'])
            self.step += count
        return float(np.mean(np.concatenate(jax.device_get(losses))))

    def features(self, images: np.ndarray) -> np.ndarray:
        self.encoder.params, self.encoder.extra = self.state.params, self.state.extra
        return self.encoder(images)

    def steps(self, file: str, count: int) -> list[float]:
        """Losses of so many steps; the file gets what another half needs to take the same ones.

        `<network>_<n>` are initial arrays in torch's order and layout, `queue` MoCo's; `views_<step>_<n>` are those of
        the step, `[batch, channels, side, side]`.
        """
        import jax

        extra, written = self.state.extra, {}
        targets = {f'target_{name}': tree for name, tree in extra.get('target', {}).get('params', {}).items()}
        for name, tree in (self.state.params | targets).items():
            written |= {f'{name}_{number}': array for number, array in enumerate(in_torchs_order(tree))}
        if 'queue' in extra:
            written['queue'] = np.asarray(extra['queue'][0])
        losses = []
        for step in range(count):
            rows, indices = self.run.feed(self.step, 1)
            for number, view in enumerate(self._views(rows['input'], indices[0])):
                written[f'views_{step}_{number}'] = np.asarray(view).transpose(0, 3, 1, 2)
            self.state, metrics = self.run.dispatch(self.state, rows, indices)
            losses.append(float(jax.device_get(metrics['loss'])[0]))
            self.step += 1
        np.savez(file, **written)
        return losses

    def _views(self, images: Any, rows: Any) -> Any:
        """The views that the next step draws inside its program."""
        import jax
        import jax.numpy as jnp
        from selfsup.engine.gradient import VIEWS

        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self.run.config.seed), self.step), VIEWS)
        chosen = images[rows] if self.run.feed.resident else images[0]
        return jax.jit(self.run.views)(key, chosen, jnp.arange(len(chosen)))[0]


if __name__ == '__main__':
    serve(Ours)
