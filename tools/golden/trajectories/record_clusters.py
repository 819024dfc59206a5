"""Records twenty steps with SCAN's losses and SeLa's transport by their authors' code, for `test_losses_clusters.py`.

Needs PyTorch and checkouts of yukimasano/self-label and wvangansbeke/Unsupervised-Classification; the tests need none.

    PYTHONPATH=tests python tools/golden/trajectories/record_clusters.py --root CHECKOUTS

A linear head on fixed features is trained by gradient descent in float64. `SCANLoss` and `ConfidenceBasedCE` are the
authors' classes, on a CPU; SeLa's labels are made by their `optimize_L_sk`, whose number of iterations is recorded, and
its loss is the mean cross-entropy over heads of their loop. What the loops around them do is this file's.
"""

import argparse
import contextlib
import importlib.util
import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from trajectories import cluster_problem as problem


def module(path: Path):
    """A module of a checkout; it imports others beside it."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    sys.path.pop(0)
    return found


def logits(weights: torch.Tensor, step: int, view: int) -> torch.Tensor:
    """Scores of every head, `[heads, rows, clusters]`."""
    return torch.from_numpy(problem.features(step, view)) @ weights


def transported(sinkhorn, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Labels, plan `[rows, clusters]` and iterations of the authors' relabelling of one head."""
    state = SimpleNamespace(
        L=torch.zeros((1, problem.ROWS), dtype=torch.long),
        PS=probabilities.copy(),
        outs=[problem.CLUSTERS],
        lamb=problem.SHARPNESS,
        dtype=np.float64,
        dev='cpu',
    )
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        sinkhorn.optimize_L_sk(state, nh=0)
    return state.L[0].numpy(), state.PS.T, int(re.search(r'step\s+(\d+)', said.getvalue())[1])


def run(case: str, root: Path) -> dict[str, np.ndarray]:
    """Losses and last weights of a case; of SeLa its labels, plans and iterations too."""
    weights = torch.from_numpy(problem.kernel(case)).requires_grad_()
    scan = module(root / 'Unsupervised-Classification' / 'losses' / 'losses.py')
    sys.modules.setdefault('util', mock.MagicMock())  # progress of their loop, which is not run
    sinkhorn = module(root / 'self-label' / 'sinkhornknopp.py')
    torch.Tensor.cuda = lambda self, *_, **__: self  # the authors place class weights on a GPU,
    torch.Tensor.float = torch.Tensor.double  # and count in float32
    found: dict = {'loss': [], 'labels': [], 'plans': [], 'iterations': []}
    for step in range(problem.STEPS):
        if case == 'sela' and step % problem.RELABEL == 0:
            shares = torch.softmax(logits(weights.detach(), -1, 0), dim=2).numpy()
            for name, values in zip(
                ('labels', 'plans', 'iterations'),
                zip(*(transported(sinkhorn, p) for p in shares), strict=True),
                strict=True,
            ):
                found[name].append(np.stack(values))
        first, second = (logits(weights, step, view) for view in (0, 1))
        if case == 'scan':
            loss = scan.SCANLoss(problem.ENTROPY_WEIGHT)(first[0], second[0])[0]
        elif case == 'scan_self_label':
            loss = scan.ConfidenceBasedCE(problem.THRESHOLD, True)(first[0].detach(), second[0])
        else:
            labels = torch.from_numpy(found['labels'][-1])
            loss = torch.stack(
                [torch.nn.CrossEntropyLoss()(f, own) for f, own in zip(first, labels, strict=True)]
            ).mean()
        (gradient,) = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            weights -= problem.RATE[case] * gradient
        found['loss'].append(loss.item())
    return {**{k: np.asarray(v) for k, v in found.items() if v}, 'kernel': weights.detach().numpy()}


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--root', type=Path, required=True)
    torch.set_default_dtype(torch.float64)
    arguments = parser.parse_args()
    recorded = {f'{case}/{k}': v for case in problem.RATE for k, v in run(case, arguments.root).items()}
    np.savez_compressed(problem.FILE, **recorded)
