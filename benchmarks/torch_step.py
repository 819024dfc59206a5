"""The SimCLR step that `train.py` and `gpu_hour.py` time, ours and PyTorch's, on the same inputs.

Two views that are in memory already run through the network as one batch, an MLP of 512 and 128 with batch-norm,
NT-Xent at temperature 0.2, and SGD with momentum 0.9. PyTorch's is channels last; on a GPU its float32 products take
TF32, as jax's default does, and its bfloat16 is autocast's.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

TEMPERATURE, LEARNING_RATE, MOMENTUM = 0.2, 0.05, 0.9
HEAD = (512, 128)
WIDTHS = (32, 64, 128)
# Network -> (side of the images, side of the patches, width, blocks and heads of a vision transformer).
SIZES: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    'convnet': (32, (0, 0, 0, 0)),
    'resnet18': (32, (0, 0, 0, 0)),
    'resnet50': (224, (0, 0, 0, 0)),
    'vit_ti': (32, (4, 192, 12, 3)),
    'vit_s': (224, (16, 384, 12, 6)),
}


def pictures(name: str, batch: int) -> np.ndarray:
    """Two views of random images for a network, `[2, batch, side, side, 3]`."""
    side = SIZES[name][0]
    return np.random.default_rng(0).standard_normal((2, batch, side, side, 3), np.float32)


def convnet(widths: tuple[int, ...], *, first_stride: int = 1) -> Any:
    """The layers of `selfsup.models.ConvNet`; initialised as torch does."""
    from torch import nn

    layers, before = [], 3
    for index, width in enumerate(widths):
        conv = nn.Conv2d(before, width, 3, stride=first_stride if index == 0 else 2, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def network(name: str) -> Any:
    """The encoder and the width of its features."""
    import torch
    from torch import nn

    if name == 'convnet':
        return convnet(WIDTHS), WIDTHS[-1]
    if name.startswith('resnet'):
        from torchvision import models

        made = getattr(models, name)()
        width = made.fc.in_features
        made.fc = nn.Identity()
        if name == 'resnet18':
            made.conv1, made.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
        return made, width
    side, (patch, dim, depth, heads) = SIZES[name]

    class ViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, dim, patch, stride=patch)
            self.token = nn.Parameter(torch.zeros(1, 1, dim))
            self.positions = nn.Parameter(torch.randn(1, 1 + (side // patch) ** 2, dim) * 0.02)
            layer = nn.TransformerEncoderLayer(
                dim, heads, 4 * dim, 0.0, 'gelu', 1e-6, batch_first=True, norm_first=True
            )
            self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
            self.norm = nn.LayerNorm(dim, eps=1e-6)

        def forward(self, x: Any) -> Any:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
            return self.norm(self.blocks(x))[:, 0]

    return ViT(), dim


def torch_step(
    name: str, kind: str, batch: int, *, device: str = 'cpu', precision: str = 'float32'
) -> Callable[[], Any]:
    """PyTorch's step, 'eager' or 'compiled'; a call gives the loss, on the device."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    encoder, width = network(name)
    head = nn.Sequential(nn.Linear(width, HEAD[0]), nn.BatchNorm1d(HEAD[0]), nn.ReLU(), nn.Linear(*HEAD))
    whole = nn.Sequential(encoder, head).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(whole.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    views = torch.from_numpy(pictures(name, batch)).flatten(0, 1).permute(0, 3, 1, 2)
    views = views.to(device).contiguous(memory_format=torch.channels_last)
    places = torch.arange(2 * batch, device=device)
    own = torch.eye(2 * batch, dtype=torch.bool, device=device)

    def loss_of(x: Any) -> Any:
        with torch.autocast(device, torch.bfloat16, enabled=precision == 'bfloat16'):
            z = whole(x)
        z = nn.functional.normalize(z.float(), dim=1)
        similar = (z @ z.T / TEMPERATURE).masked_fill(own, float('-inf'))
        return nn.functional.cross_entropy(similar, (places + batch) % (2 * batch))

    compute = torch.compile(loss_of) if kind == 'compiled' else loss_of

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = compute(views)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def our_step(name: str, batch: int, *, precision: str = 'float32', attention: str = '') -> Callable[[], Any]:
    """The engine's step on the same views, with online probe and metrics; a call gives the loss, on the device.

    `attention` is that of a vision transformer, '' its default.
    """
    import jax
    import jax.numpy as jnp
    from selfsup import methods, models, optim
    from selfsup.engine.step import init_state, make_step

    dtype = jnp.bfloat16 if precision == 'bfloat16' else None
    fields: dict[str, Any] = {'resnet18': {'stem': 'cifar'}, 'convnet': {'widths': WIDTHS}, 'vit_ti': {'patch': 4}}
    kind = {'attention': attention} if attention else {}
    encoder = models.ENCODERS[name](**fields.get(name, {}), **kind, dtype=dtype)
    method = methods.simclr(encoder, models.MLP(widths=HEAD, dtype=dtype), temperature=TEMPERATURE, fuse_views=True)
    optimizer = optim.optimizer('sgd', lambda step: LEARNING_RATE, peak=LEARNING_RATE, momentum=MOMENTUM)
    views = tuple(jax.device_put(view) for view in pictures(name, batch))
    step = make_step(
        method,
        optimizer,
        lambda step: LEARNING_RATE,
        lambda key, images, positions, sources: ((images[:, 0], images[:, 1]), ({}, {})),
        probe_rate=1e-3,
    )
    rows = {'input': jnp.stack(views, axis=1), 'label': jnp.arange(batch) % 10, 'index': jnp.arange(batch)}
    held = [jax.jit(lambda: init_state(method, optimizer, {'views': views}, seed=0, classes=10))()]
    run = jax.jit(step, donate_argnums=0).lower(held[0], rows, 0).compile()

    def one() -> Any:
        held[0], metrics = run(held[0], rows, 0)
        return metrics['loss']

    return one
