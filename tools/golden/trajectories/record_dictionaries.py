"""Records runs of sparse autoencoders by their authors' code on a small problem, for `tests/test_trajectories.py`.

Needs PyTorch and git checkouts of the reference repositories; the tests need none of them. Models, losses, gradients
and, of dictionary_learning, the whole update run as they are. This file supplies rows, initial weights and, of einops,
the one product that the update needs.

    PYTHONPATH=tests python tools/golden/trajectories/record_dictionaries.py --root CHECKOUTS

What the comparison is not about is made as ours is: Matryoshka's error is multiplied by the dims, over which ours is a
sum, and its atoms are scaled to length 1 after a step, where theirs are at the start of the next update, behind the
forward pass. BatchTopK's threshold begins at 0 and moves from the first step. p-annealing's first update leaves p at 1
and only begins to note the penalty with the next one, and a later one holds from the step behind it: `anneal_start` is
that step.
"""

import functools
import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from recording import command, noting
from torch import nn
from trajectories import dictionary_problem as problem


def einsum(a: torch.Tensor, b: torch.Tensor, pattern: str) -> torch.Tensor:
    """Product as of einops of two tensors whose axes have words for names."""
    words = sorted({word for part in pattern.replace('->', ',').split(',') for word in part.split()})
    letters = {word: chr(97 + number) for number, word in enumerate(words)}
    given, wanted = pattern.split('->')
    short = [''.join(letters[w] for w in part.split()) for part in (*given.split(','), wanted)]
    return torch.einsum(f'{short[0]},{short[1]}->{short[2]}', a, b)


def package(name: str, folder: Path) -> None:
    """A package whose modules are found in a folder, without what its own `__init__` imports."""
    made = types.ModuleType(name)
    made.__path__ = [str(folder)]
    sys.modules[name] = made


def given(name: str) -> dict[str, torch.Tensor]:
    dtype = torch.get_default_dtype()
    return {k: torch.from_numpy(v.copy()).to(dtype) for k, v in problem.initial(name).items()}


def batch(step: int) -> torch.Tensor:
    return torch.from_numpy(problem.rows(step)).to(torch.get_default_dtype())


def fill(pairs: dict[str, torch.Tensor], values: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for path, view in pairs.items():
            view.copy_(values[path])


def trainers(root: Path) -> None:
    folder = root / 'dictionary_learning/dictionary_learning'
    sys.modules['einops'] = types.SimpleNamespace(einsum=einsum)
    package('dictionary_learning', folder)
    package('dictionary_learning.trainers', folder / 'trainers')


def linear(ae: nn.Module, centre: torch.Tensor) -> dict[str, torch.Tensor]:
    """The parameters of an autoencoder of two linear layers by our paths."""
    bias = {} if ae.encoder.bias is None else {'encoder/linear0/bias': ae.encoder.bias}
    weights = {'encoder/linear0/kernel': ae.encoder.weight.T, **bias, 'dictionary/atoms': ae.decoder.weight.T}
    return {**weights, 'dictionary/centre': centre}


def topk(c: dict, root: Path) -> dict[str, torch.Tensor]:
    trainers(root)
    module = importlib.import_module('dictionary_learning.trainers.top_k')
    trainer = module.TopKTrainer(
        steps=problem.STEPS + 1, activation_dim=problem.DIM, dict_size=problem.UNITS, k=c['method.active'], layer=0,
        lm_name='', lr=c['optimizer.learning_rate'], auxk_alpha=c['method.auxiliary_weight'], warmup_steps=0,
        device='cpu',
    )  # fmt: skip
    trainer.dead_feature_threshold = c['method.dead_after']
    fill(linear(trainer.ae, trainer.ae.b_dec), given('topk'))
    for step in range(problem.STEPS):
        trainer.update(step, batch(step))
    return linear(trainer.ae, trainer.ae.b_dec)


def batch_topk(c: dict, root: Path) -> dict[str, torch.Tensor]:
    trainers(root)
    module = importlib.import_module('dictionary_learning.trainers.batch_top_k')
    trainer = module.BatchTopKTrainer(
        steps=problem.STEPS + 1, activation_dim=problem.DIM, dict_size=problem.UNITS, k=c['method.active'], layer=0,
        lm_name='', lr=c['optimizer.learning_rate'], auxk_alpha=c['method.auxiliary_weight'], warmup_steps=0,
        threshold_beta=c['method.threshold_momentum'], threshold_start_step=-1, device='cpu',
    )  # fmt: skip
    trainer.dead_feature_threshold = c['method.dead_after']
    trainer.ae.threshold = torch.zeros(())
    fill(linear(trainer.ae, trainer.ae.b_dec), given('batch_topk'))
    for step in range(problem.STEPS):
        trainer.update(step, batch(step))
    return {**linear(trainer.ae, trainer.ae.b_dec), '/threshold': trainer.ae.threshold}


def gated(c: dict, root: Path) -> dict[str, torch.Tensor]:
    trainers(root)
    module = importlib.import_module('dictionary_learning.trainers.gdm')
    trainer = module.GatedSAETrainer(
        steps=problem.STEPS + 1, activation_dim=problem.DIM, dict_size=problem.UNITS, layer=0, lm_name='',
        lr=c['optimizer.learning_rate'], l1_penalty=c['method.weight'], warmup_steps=0,
        sparsity_warmup_steps=c['method.weight_warmup'], device='cpu',
    )  # fmt: skip
    ae = trainer.ae

    def own() -> dict[str, torch.Tensor]:
        units = {'units/gate': ae.gate_bias, 'units/gain': ae.r_mag, 'units/magnitude': ae.mag_bias}
        return {**linear(ae, ae.decoder_bias), **units}

    fill(own(), given('gated'))
    for step in range(problem.STEPS):
        trainer.update(step, batch(step))
    return own()


def p_anneal(c: dict, root: Path) -> dict[str, torch.Tensor]:
    trainers(root)
    module = importlib.import_module('dictionary_learning.trainers.p_anneal')
    changes, between = c['method.changes'], c['method.anneal_steps'] // (c['method.changes'] - 1)
    start = c['method.anneal_start'] - between - 1
    trainer = module.PAnnealTrainer(
        steps=problem.STEPS + 1, activation_dim=problem.DIM, dict_size=problem.UNITS, layer=0, lm_name='',
        lr=c['optimizer.learning_rate'], warmup_steps=0, sparsity_warmup_steps=c['method.weight_warmup'],
        sparsity_function='Lp^p', initial_sparsity_penalty=c['method.weight'], anneal_start=start,
        anneal_end=start + changes * between, p_end=c['method.p_final'], n_sparsity_updates=changes + 1, device='cpu',
    )  # fmt: skip
    fill(linear(trainer.ae, trainer.ae.bias), given('p_anneal'))
    for step in range(problem.STEPS):
        trainer.update(step, batch(step))
    state = {'/factor': torch.tensor(trainer.sparsity_coeff / c['method.weight'])}
    return {**linear(trainer.ae, trainer.ae.bias), **state}


def jump_relu(c: dict, root: Path) -> dict[str, torch.Tensor]:
    trainers(root)
    module = importlib.import_module('dictionary_learning.trainers.jumprelu')
    trainer = module.JumpReluTrainer(
        steps=problem.STEPS + 1, activation_dim=problem.DIM, dict_size=problem.UNITS, layer=0, lm_name='',
        lr=c['optimizer.learning_rate'], bandwidth=c['method.bandwidth'], sparsity_penalty=c['method.weight'],
        warmup_steps=0, sparsity_warmup_steps=c['method.weight_warmup'], target_l0=c['method.target'], device='cpu',
    )  # fmt: skip
    ae = trainer.ae

    def own() -> dict[str, torch.Tensor]:
        return {
            'encoder/linear0/kernel': ae.W_enc,
            'encoder/linear0/bias': ae.b_enc,
            'dictionary/atoms': ae.W_dec,
            'dictionary/centre': ae.b_dec,
            'units/threshold': ae.threshold,
        }

    fill(own(), given('jump_relu'))
    for step in range(problem.STEPS):
        trainer.update(step, batch(step))
    return own()


def matryoshka(c: dict, root: Path) -> dict[str, torch.Tensor]:
    sys.path.insert(0, str(root / 'matryoshka_sae'))
    module = importlib.import_module('sae')
    sizes = [round(share * problem.UNITS) for share in c['method.shares']]
    sae = module.GlobalBatchTopKMatryoshkaSAE(
        dict(seed=0, act_size=problem.DIM, dict_size=problem.UNITS, group_sizes=sizes, top_k=c['method.active'],
             input_unit_norm=False, l1_coeff=0.0, aux_penalty=0.0, top_k_aux=1, n_batches_to_dead=10**6,
             device='cpu', dtype=torch.get_default_dtype())
    )  # fmt: skip

    def own() -> dict[str, torch.Tensor]:
        return {
            'encoder/linear0/kernel': sae.W_enc,
            'dictionary/atoms': sae.W_dec,
            'dictionary/centre': sae.b_dec,
        }

    fill(own(), given('matryoshka'))
    optimizer = torch.optim.Adam(sae.parameters(), lr=c['optimizer.learning_rate'])
    for step in range(problem.STEPS):
        (problem.DIM * sae(batch(step))['loss']).backward()
        sae.make_decoder_weights_and_grad_unit_norm()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            sae.W_dec.data /= sae.W_dec.norm(dim=-1, keepdim=True)
    return {**own(), '/threshold': sae.threshold}


def archetypal(c: dict, root: Path) -> dict[str, torch.Tensor]:
    folder = root / 'overcomplete/overcomplete'
    sys.modules['einops'] = mock.MagicMock()
    package('overcomplete', folder)
    package('overcomplete.sae', folder / 'sae')
    module = importlib.import_module('overcomplete.sae.rasae')

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(problem.DIM, problem.UNITS)

        def forward(self, x):
            pre = self.linear(x)
            return pre, torch.relu(pre)

    points = torch.from_numpy(problem.points()).to(torch.get_default_dtype())
    sae = module.RATopKSAE(
        problem.DIM, problem.UNITS, points, top_k=c['method.active'], delta=c['method.delta'], encoder_module=Linear()
    )

    def own() -> dict[str, torch.Tensor]:
        return {
            'encoder/linear0/kernel': sae.encoder.linear.weight.T,
            'encoder/linear0/bias': sae.encoder.linear.bias,
            'dictionary/weights': sae.dictionary.W,
            'dictionary/relaxation': sae.dictionary.Relax,
            'dictionary/log_scale': sae.dictionary.multiplier,
        }

    fill(own(), given('archetypal'))
    optimizer = torch.optim.Adam(sae.parameters(), lr=c['optimizer.learning_rate'])
    sae.train()
    for step in range(problem.STEPS):
        optimizer.zero_grad()
        x = batch(step)
        (x - sae(x)[2]).square().sum(1).mean().backward()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), c['optimizer.clip_norm'])
        optimizer.step()
    sae.get_dictionary()  # brings the weights to their constraints, as the next step would
    return own()


def run(reference: Callable, case: str, root: Path, folder: Path) -> dict[str, np.ndarray]:
    """Losses, rates and final arrays of a reference, `(fields, root) -> {path: tensor}`."""
    losses: list[float] = []
    noting(losses)
    final = reference(problem.fields(case), root)
    found = {(k[1:] if k[0] == '/' else f'params/{k}'): v.detach().numpy() for k, v in final.items()}
    rates = np.full(problem.STEPS, problem.fields(case)['optimizer.learning_rate'])
    return {'loss': np.array(losses), 'learning_rate': rates, **found}


REFERENCES = {
    'topk': (topk, 'saprmarks/dictionary_learning', 'trainers/top_k.py: TopKTrainer.update'),
    'batch_topk': (batch_topk, 'saprmarks/dictionary_learning', 'trainers/batch_top_k.py: BatchTopKTrainer.update'),
    'gated': (gated, 'saprmarks/dictionary_learning', 'trainers/gdm.py: GatedSAETrainer.update'),
    'p_anneal': (p_anneal, 'saprmarks/dictionary_learning', 'trainers/p_anneal.py: PAnnealTrainer.update'),
    'jump_relu': (jump_relu, 'saprmarks/dictionary_learning', 'trainers/jumprelu.py: JumpReluTrainer.update'),
    'matryoshka': (matryoshka, 'bartbussmann/matryoshka_sae', 'sae.py: GlobalBatchTopKMatryoshkaSAE.forward'),
    'archetypal': (archetypal, 'KempnerInstitute/overcomplete', 'sae/rasae.py: RATopKSAE.forward'),
}
RUNS = {name: (functools.partial(run, reference), *notes) for name, (reference, *notes) in REFERENCES.items()}

if __name__ == '__main__':
    command(__doc__, problem, RUNS)
