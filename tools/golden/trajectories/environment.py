"""A small backbone, fixed batches, no GPU, and notes: what the references run in. PyTorch only."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.distributed.nn.functional import all_reduce
from torch.optim.optimizer import register_optimizer_step_pre_hook
from trajectories import problem

FEATURES = 8
noted: dict = {}  # the model, the losses and the learning rates of the run in progress


class Block(nn.Module):
    """A residual block of two 3×3 convolutions, its parts named as ours are."""

    def __init__(self, width: int, out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        if width != out or stride != 1:
            self.downsample_conv = nn.Conv2d(width, out, 1, stride, bias=False)
            self.downsample_bn = nn.BatchNorm2d(out)

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, 'downsample_conv'):
            x = self.downsample_bn(self.downsample_conv(x))
        return torch.relu(x + y)


class Small(nn.Module):
    """The backbone in the place of the references' ResNet-50: 3×3 stem and two residual blocks."""

    inplanes = embed_dim = FEATURES

    def __init__(self, *_, num_classes: int = 1000, **__):
        super().__init__()
        self.conv1 = nn.Conv2d(problem.CHANNELS, 4, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.layer1_0 = Block(4, 4, 1)
        self.layer2_0 = Block(4, 8, 2)
        self.fc = nn.Linear(FEATURES, num_classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer2_0(self.layer1_0(x)).mean((2, 3)))


class Batches:
    """The fixed views in the place of a data loader; `form` makes what the reference unpacks."""

    form: Callable = staticmethod(lambda views: (views, torch.zeros(problem.BATCH, dtype=torch.long)))
    case = ''

    def __init__(self, *_, **__):
        self.sampler, self.step = mock.Mock(), 0

    def __len__(self) -> int:
        return problem.epoch_steps(self.case)

    def __iter__(self):
        for _ in range(len(self)):
            views = [torch.from_numpy(v.transpose(0, 3, 1, 2).copy()) for v in problem.views(self.case, self.step)]
            self.step += 1
            world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
            mine = slice(rank * problem.BATCH // world, (rank + 1) * problem.BATCH // world)
            yield type(self).form([v[mine].to(torch.get_default_dtype()) for v in views])


def headless() -> Small:
    """The backbone without its classifier."""
    backbone = Small()
    backbone.fc = nn.Identity()
    return backbone


def pairs(views: list) -> tuple:
    """Views and labels, as most scripts unpack a batch."""
    return tuple(views), torch.zeros(problem.BATCH, dtype=torch.long)


class OnCpu(nn.parallel.DistributedDataParallel):
    """The wrapper without the GPU that the scripts name."""

    def __init__(self, module: nn.Module, **_):
        super().__init__(module)


class Synchronised(nn.modules.batchnorm._BatchNorm):
    """Batch-norm by the statistics of all processes: torch's own runs on GPUs alone."""

    def forward(self, x):
        axes = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        world = torch.distributed.get_world_size()
        mean = all_reduce(x.mean(axes)) / world
        variance = all_reduce(((x - mean.view(shape)) ** 2).mean(axes)) / world
        count = x.numel() // x.shape[1] * world
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        x = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + self.eps)
        return x * self.weight.view(shape) + self.bias.view(shape) if self.affine else x


def synchronised(module: nn.Module) -> nn.Module:
    """`module` with its batch-norms synchronised; over one process as it is."""
    for child in module.modules():
        if torch.distributed.get_world_size() > 1 and isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            child.__class__ = Synchronised
    return module


def on_cpu(case: str) -> None:
    """Takes the GPU, the data and the files out of the scripts' way, and notes losses and rates."""
    Batches.case = case
    same = lambda self, *_, **__: self  # noqa: E731
    nn.Module.cuda = torch.Tensor.cuda = same
    for name in ('set_device', 'synchronize'):
        setattr(torch.cuda, name, lambda *_: None)
    torch.save = torch.distributed.init_process_group = torch.distributed.barrier = lambda *_, **__: None
    torch.nn.parallel.DistributedDataParallel = OnCpu
    nn.SyncBatchNorm.convert_sync_batchnorm = classmethod(lambda cls, module, *_: synchronised(module))
    torch.utils.data.DataLoader = Batches
    torch.utils.data.DistributedSampler = torch.utils.data.distributed.DistributedSampler = lambda *_, **__: mock.Mock()
    import torchvision

    torchvision.datasets.ImageFolder = lambda *_, **__: [None] * problem.BATCH
    torchvision.models.__dict__['small'] = Small
    sys.modules['torch.utils.tensorboard'] = mock.MagicMock()

    noted.update(loss=[], learning_rate=[])
    backward = torch.Tensor.backward

    def noting(self, *args, **kwargs):
        loss = self.detach().clone()
        torch.distributed.all_reduce(loss)
        noted['loss'].append(loss.item() / torch.distributed.get_world_size())
        return backward(self, *args, **kwargs)

    torch.Tensor.backward = noting

    def rate(optimizer, *_):
        noted['learning_rate'].append(optimizer.param_groups[0]['lr'])

    register_optimizer_step_pre_hook(rate)


def begin(model: nn.Module, parts: Callable) -> None:
    """Gives a model the case's initial weights and notes it.

    `parts(model)` gives `{'encoder': module, 'projector': module, …}`, with a prefix `target/` for a
    momentum network's, which gets the same weights.
    """
    found = leaves(parts(model), 'params')
    shapes = {'/'.join(path): tuple(turn(tensor).shape) for path, tensor, turn in found if path[0] != 'target'}
    values = problem.initial(shapes)
    with torch.no_grad():
        for path, tensor, turn in found:
            turn(tensor).copy_(torch.from_numpy(values['/'.join(path).removeprefix('target/')]))
    noted.update(model=model, parts=lambda: parts(model))


def started(
    kind: type, parts: Callable, *, around: Callable = nullcontext, after: Callable = lambda model: None
) -> None:
    """Makes every new model of a class begin with the case's weights; `around` is a context for its constructor."""
    construct = kind.__init__

    def __init__(self, *args, **kwargs):
        with around():
            construct(self, *args, **kwargs)
        begin(self, parts)
        after(self)

    kind.__init__ = __init__


def _same(t: torch.Tensor) -> torch.Tensor:
    return t


def leaves(parts: dict, kind: str) -> list[tuple]:
    """(path, tensor, view of it in our layout) for each parameter or batch statistic of the parts."""
    found = []
    for part, module in parts.items():
        for names, child in layers(module):
            at = (*part.split('/'), *names)
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                if kind == 'batch_stats':
                    found += [((*at, 'mean'), child.running_mean, _same), ((*at, 'var'), child.running_var, _same)]
                elif child.affine:
                    found += [((*at, 'scale'), child.weight, _same), ((*at, 'bias'), child.bias, _same)]
            elif kind == 'params' and isinstance(child, nn.Conv2d):
                found.append(((*at, 'kernel'), child.weight, lambda t: t.permute(2, 3, 1, 0)))
            elif kind == 'params' and isinstance(child, nn.Linear):
                found.append(((*at, 'kernel'), child.weight, lambda t: t.T))
                if child.bias is not None:
                    found.append(((*at, 'bias'), child.bias, _same))
            elif kind == 'params' and isinstance(child, nn.Parameter):
                found.append((at, child, _same))
    return found


def layers(module: nn.Module) -> list[tuple]:
    """(names as ours, layer) of a part: a backbone, a sequence of linear layers and norms, or a parameter."""
    if isinstance(module, nn.Parameter):
        return [((), module)]
    if not isinstance(module, nn.Sequential):
        named = module.named_modules()
        return [(tuple(n.split('.')), m) for n, m in named if not n.startswith('fc') and not list(m.children())]
    found, number = [], -1
    for child in module:
        number += isinstance(child, nn.Linear)
        kind = 'linear' if isinstance(child, nn.Linear) else 'norm'
        found.append(((f'{kind}{number}',), child))
    return found


def collected() -> dict[str, np.ndarray]:
    """What the run noted and where it ended, under the paths of our state."""
    parts = noted['parts']()
    arrays = {name: np.array(noted[name]) for name in ('loss', 'learning_rate')}
    for kind in noted.get('kinds', ('params', 'batch_stats')):
        for path, tensor, turn in leaves(parts, kind):
            path = ('target', kind, *path[1:]) if path[0] == 'target' else (kind, *path)
            arrays['/'.join(path)] = turn(tensor.detach()).numpy().copy()
    return {**arrays, **noted.get('extra', dict)()}
