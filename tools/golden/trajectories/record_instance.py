"""Records runs of InstDisc and DIET by their authors' code on small fixed problems, for `tests/test_trajectories.py`.

Needs PyTorch and git checkouts of the reference repositories; the tests need none of them.

    OMP_WAIT_POLICY=passive PYTHONPATH=tests python tools/golden/trajectories/record_instance.py --root CHECKOUTS

InstDisc: `cifar.py` of lemniscate.pytorch runs from its first line until it has done the steps; what this file supplies
are images, the small backbone, the draws of negatives (`python tests/trajectories/instance_replay.py negatives` writes
ours), and one line that PyTorch no longer takes: a gradient resized in place. DIET: the author's
`compute_loss`; his trainer is not public, so AdamW and the four lines of a step around it are this file's.
"""

import argparse
import contextlib
import sys
import types
from pathlib import Path
from unittest import mock

import environment
import numpy as np
import torch
from recording import command, noting
from torch import nn
from trajectories import instance_problem as problem
from trajectories import problem as arrays


class Done(Exception):
    """The steps are done."""


def images(name: str, step: int) -> torch.Tensor:
    """The view of a step, channels first, in the default type."""
    return torch.from_numpy(problem.view(name, step).transpose(0, 3, 1, 2).copy()).to(torch.get_default_dtype())


def initial(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """The case's initial values of an array with one row an example."""
    return torch.from_numpy(arrays.initial({f'per_example/{name}': tuple(tensor.shape)})[f'per_example/{name}'])


def executed(path: Path, **names) -> dict:
    """The names that a script defines, run with others given."""
    found = {'__name__': path.stem, **names}
    exec(compile(path.read_text(), str(path), 'exec'), found)
    return found


class Recogniser(environment.Small):
    """The backbone with a linear layer to unit embeddings, as the script's networks end."""

    def forward(self, x):
        y = super().forward(x)
        return y / y.pow(2).sum(1, keepdim=True).sqrt()


def instdisc(case: str, root: Path, folder: Path) -> dict[str, np.ndarray]:
    c = problem.CASES[case]
    checkout = root / 'lemniscate.pytorch'
    torch.Tensor.cuda = lambda self, *_, **__: self
    draws, made = iter(problem.negatives()), {}

    class Draws:
        def __init__(self, *_):
            pass

        def cuda(self):
            pass

        def draw(self, count):
            rows = torch.from_numpy(next(draws))
            return torch.cat([rows[:, :1], rows], dim=1).reshape(-1)  # the first place is the positive's

    def module(name: str, **given) -> types.ModuleType:
        found = types.ModuleType(name)
        found.__dict__.update(given)
        sys.modules[name] = found
        return found

    sys.path.insert(0, str(checkout))
    for name in ('torchvision', 'torchvision.transforms', 'lib.custom_transforms'):
        sys.modules[name] = mock.MagicMock()
    text = (checkout / 'lib' / 'NCEAverage.py').read_text()
    text = text.replace('from .alias_multinomial import AliasMethod', '')
    text = text.replace('gradOutput.data.resize_(batchSize, 1, K+1)', 'gradOutput = gradOutput.view(batchSize, 1, K+1)')
    exec(text, module('lib.NCEAverage', AliasMethod=Draws).__dict__)
    from lib import LinearAverage

    for kind in (sys.modules['lib.NCEAverage'].NCEAverage, LinearAverage.LinearAverage):

        def begun(self, *given, construct=kind.__init__):
            construct(self, *given)
            self.memory.copy_(initial('memory', self.memory))
            made['memory'] = self

        kind.__init__ = begun

    def network(low_dim: int) -> nn.Module:
        model = Recogniser(num_classes=low_dim)
        environment.begin(model, lambda m: {'encoder': m, 'projector': nn.Sequential(m.fc)})
        return model

    class Examples:
        def __init__(self, **_):
            pass

        def __len__(self):
            return problem.DATA

    class Loader:
        step = 0

        def __init__(self, *_, **__):
            pass

        def __len__(self):
            return problem.BATCHES

        def __iter__(self):
            for _ in range(problem.BATCHES):
                rows = torch.from_numpy(problem.index(Loader.step))
                yield images('instdisc', Loader.step), torch.zeros_like(rows), rows
                Loader.step += 1

    def measured(*_):
        if Loader.step == problem.STEPS:
            raise Done
        return 0

    module('models', ResNet18=network)
    module('datasets', CIFAR10Instance=Examples)
    module('test', NN=measured, kNN=measured)
    torch.utils.data.DataLoader = Loader
    losses: list[float] = []
    noting(losses)
    sys.argv = ['cifar.py', f'--lr={c["optimizer.learning_rate"]}', f'--nce-k={c["method.negatives"]}']
    sys.argv += [f'--nce-t={c["method.temperature"]}', f'--nce-m={c["method.momentum"]}']
    sys.argv += [f'--low-dim={c["projector.widths"][-1]}']
    with contextlib.suppress(Done):
        executed(checkout / 'cifar.py')
    environment.noted.update(loss=losses, learning_rate=[c['optimizer.learning_rate']] * problem.STEPS)
    found = {**environment.collected(), 'per_example/memory': made['memory'].memory.numpy().copy()}
    if c['method.negatives']:
        found['normalizer/log'] = np.log(made['memory'].params[2].numpy())
    return found


def diet(case: str, root: Path, folder: Path) -> dict[str, np.ndarray]:
    c = problem.CASES[case]
    for name in ('submitit', 'omega'):
        sys.modules[name] = mock.MagicMock()
    sys.modules['omega'].Trainer = nn.Module
    model = executed(root / 'noise-robust-vit' / 'examples' / 'simpler_randomlabel.py')['Model']()
    model.model = environment.Small()
    model.model.fc = nn.Identity()
    model.extra_classifier = nn.Linear(environment.FEATURES, problem.DATA)
    model.classifier = nn.Linear(environment.FEATURES, 1)  # the probe beside it: of one class its loss is 0
    head = {'kernel': model.extra_classifier.weight, 'bias': model.extra_classifier.bias}
    environment.begin(model, lambda m: {'encoder': m.model, **{f'per_example/{k}': v for k, v in head.items()}})
    model.train_loss, model.index_to_class = mock.Mock(), torch.arange(problem.DATA)
    model.args = argparse.Namespace(supervised=False, clip=False, label_smoothing=c['method.smoothing'])
    rate, decay = c['optimizer.learning_rate'], c['optimizer.weight_decay']
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    losses: list[float] = []
    noting(losses)
    for step in range(problem.STEPS):
        rows = torch.from_numpy(problem.index(step))
        model.data = [images('diet', step), torch.stack([torch.zeros_like(rows), rows], dim=1)]
        optimizer.zero_grad()
        model.compute_loss().backward()
        optimizer.step()
    environment.noted.update(loss=losses, learning_rate=[c['optimizer.learning_rate']] * problem.STEPS)
    return environment.collected()


LEMNISCATE = (instdisc, 'zhirongw/lemniscate.pytorch', 'cifar.py')
RUNS = {
    'instdisc': LEMNISCATE,
    'instdisc_softmax': LEMNISCATE,
    'diet': (diet, 'RandallBalestriero/noise-robust-vit', 'examples/simpler_randomlabel.py: Model.compute_loss'),
}


if __name__ == '__main__':
    command(__doc__, problem, RUNS)
