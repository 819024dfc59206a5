"""data2vec 2.0 by its authors' model in fairseq, for `record_masked.py`; and old packages under a new torch and NumPy.

Their model, losses and moving average run as they are, without fairseq's trainer: the lines of a step are this file's,
after its `criterions/model_criterion.py` and `Trainer.train_step`, with torch's AdamW. On a GPU they take apex's Adam,
which is the same; fairseq's own for the CPU adds ε before it corrects the second moment, which moves these losses by
7e-5. Their image configs have the norms of a
block after the residuals; ours are before them, and that branch of their `AltBlock` adds the MLP's output to itself
where the residual should be. So its `forward` is this file's. The decoder's noise at hidden patches is 0.
"""

import collections.abc
import dataclasses
import functools
import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from recording import noting
from torch import nn
from trajectories import masked_problem as problem
from transformers import begin, named, placed, turned


def view(step: int) -> torch.Tensor:
    """The images of a step, channels first, in the default type."""
    return torch.from_numpy(problem.images(step).transpose(0, 3, 1, 2).copy()).to(torch.get_default_dtype())


def exchanged(table: Callable) -> Callable:
    """The table of positions with the halves of its columns exchanged: rows first, as ours."""

    def made(dim: int, *args, **kwargs) -> np.ndarray:
        return np.roll(table(dim, *args, **kwargs), dim // 2, axis=1)

    return made


def old_timm(root: Path) -> None:
    """Puts timm 0.3.2 on the path, and the names that torch and NumPy no longer have."""
    sys.modules['torch._six'] = types.SimpleNamespace(container_abcs=collections.abc, inf=float('inf'))
    vars(np)['float'] = float
    sys.path.insert(0, str(root / 'timm-0.3.2'))
    sys.modules['timm.data'] = mock.MagicMock(IMAGENET_DEFAULT_MEAN=(), IMAGENET_DEFAULT_STD=())  # images and files


def package(name: str, folder: Path | None = None, **has) -> types.ModuleType:
    """A package without what its `__init__` imports: its modules are in `folder`, its names are given."""
    made = types.ModuleType(name)
    made.__path__ = [str(folder)] if folder else []
    made.__dict__.update(has)
    sys.modules[name] = made
    return made


class Base(nn.Module):
    """`BaseFairseqModel` as far as the model uses it."""

    def set_num_updates(self, number: int) -> None:
        pass


def fairseq(root: Path) -> types.ModuleType:
    """The module of the model, with the files of fairseq that it needs and nothing else."""
    old_timm(root)
    top = root / 'fairseq'
    examples = top / 'examples' / 'data2vec'
    register = lambda *_, **__: lambda kind: kind  # noqa: E731
    package('fairseq', top / 'fairseq')
    modules = package('fairseq.modules', top / 'fairseq' / 'modules')
    package('fairseq.dataclass', FairseqDataclass=object)
    package('fairseq.models', BaseFairseqModel=Base, register_model=register)
    package('examples')
    package('examples.data2vec', examples)
    package('examples.data2vec.data', examples / 'data')
    package('examples.data2vec.models', examples / 'models')
    package('examples.data2vec.models.modalities', examples / 'models' / 'modalities')
    for name in ('tasks', 'data', 'data.data_utils', 'utils', 'models.wav2vec', 'models.wav2vec.wav2vec2'):
        sys.modules[f'fairseq.{name}'] = mock.MagicMock()
    for name in ('audio', 'text'):  # other kinds of data
        sys.modules[f'examples.data2vec.models.modalities.{name}'] = mock.MagicMock()
    # Their fields have instances of dataclasses as defaults, which Python refuses since 3.11 where they have no hash.
    with mock.patch.object(dataclasses, 'dataclass', functools.partial(dataclasses.dataclass, unsafe_hash=True)):
        parts = {
            'ema_module': ('EMAModule', 'EMAModuleConfig'),
            'grad_multiply': ('GradMultiply',),
            'layer_norm': ('LayerNorm',),
            'same_pad': ('SamePad', 'SamePad2d'),
            'transpose_last': ('TransposeLast',),
        }
        for name, kinds in parts.items():
            found = importlib.import_module(f'fairseq.modules.{name}')
            for kind in kinds:
                setattr(modules, kind, getattr(found, kind))
        return importlib.import_module('examples.data2vec.models.data2vec2')


def pre_norm(self, x, padding_mask=None, alibi_bias=None):
    """`AltBlock.forward` with norms before attention and MLP, and both residuals."""
    x = x + self.attn(self.norm1(x), padding_mask, alibi_bias)
    added = self.mlp(self.norm2(x))
    return x + added, added


def built(c: dict, root: Path) -> nn.Module:
    """The authors' model by our fields."""
    module = fairseq(root)
    blocks, images = (
        importlib.import_module(f'examples.data2vec.models.modalities.{n}') for n in ('modules', 'images')
    )
    blocks.AltBlock.forward = pre_norm
    images.get_2d_sincos_pos_embed = exchanged(images.get_2d_sincos_pos_embed)
    decoder = blocks.D2vDecoderConfig(
        decoder_dim=c['decoder.dim'], decoder_groups=c['decoder.channel_groups'], decoder_kernel=c['decoder.kernel'],
        decoder_layers=c['decoder.depth'], input_dropout=0.0,
    )  # fmt: skip
    image = images.D2vImageConfig(
        input_size=problem.SIDE, patch_size=problem.PATCH, embed_dim=c['model.dim'], prenet_depth=0, mask_length=3,
        num_extra_tokens=1, ema_local_encoder=True, mask_noise_std=c['decoder.noise'], decoder=decoder,
    )  # fmt: skip
    momentum, rows = c['method.momentum'], problem.BATCH * c['method.masks']
    config = module.Data2VecMultiConfig(
        depth=c['model.depth'], num_heads=c['model.heads'], embed_dim=c['model.dim'], layer_norm_first=True,
        encoder_dropout=0.0, post_mlp_drop=0.0, attention_dropout=0.0, average_top_k_layers=c['method.layers'],
        instance_norm_target_layer=True, layer_norm_targets=True, clone_batch=c['method.masks'], ema_decay=momentum,
        ema_end_decay=momentum, ema_encoder_only=False, log_norms=False, mae_init=True, min_target_var=0.0,
        min_pred_var=0.0, cls_loss=c['method.class_weight'] / rows, supported_modality=images.Modality.IMAGE,
        modalities=types.SimpleNamespace(image=image), seed=0,
    )  # fmt: skip
    return module.Data2VecMultiModel.build_model(config)


def encoder(whole: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters of an encoder, the trained one or the target, by our paths."""
    start = 'modality_encoders.IMAGE'
    own = {'norm': 'norm', f'{start}.extra_tokens': 'cls_token', f'{start}.local_encoder.proj': 'patch_embed'}
    return named(whole, own, 'blocks')


def trained(model: nn.Module) -> dict[str, dict[str, torch.Tensor]]:
    """The parameters of encoder and decoder by our paths."""
    theirs = model.modality_encoders['IMAGE'].decoder
    layers = {f'conv{number}': block[0] for number, block in enumerate(theirs.blocks)} | {'head': theirs.proj}
    views = [(layer, turned(p, n)) for layer, child in layers.items() for n, p in child.named_parameters()]
    return {'encoder': encoder(model), 'decoder': {f'{layer}/{leaf}': found for layer, (leaf, found) in views}}


def data2vec2(case: str, root: Path, folder: Path) -> dict[str, np.ndarray]:
    c = problem.fields(case)
    torch.Tensor.float = lambda self: self.to(torch.get_default_dtype())  # they count targets and losses in float32
    model = built(c, root)
    begin(trained(model))
    model.ema = model.make_ema_teacher(c['method.momentum'])  # of these weights
    losses: list[float] = []
    noting(losses)
    free = [p for p in model.parameters() if p.requires_grad]
    rate, groups = c['optimizer.learning_rate'], []
    for plain in (False, True):  # what has overrides is not decayed
        chosen = [p for p in free if hasattr(p, 'optim_overrides') == plain]
        groups.append({'params': chosen, 'weight_decay': 0.0 if plain else c['optimizer.weight_decay']})
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(c['optimizer.momentum'], c['optimizer.beta2']))
    model.train()
    for step in range(problem.STEPS):
        optimizer.zero_grad()
        found = model(view(step), precomputed_mask=torch.from_numpy(problem.several(step)))
        (sum(loss.sum() for loss in found['losses'].values()) / found['sample_size']).backward()
        torch.nn.utils.clip_grad_norm_(free, c['optimizer.clip_norm'])
        optimizer.step()
        model.set_num_updates(step + 1)
    final = {**trained(model), 'target': encoder(model.ema.model)}
    return {'loss': np.array(losses), 'learning_rate': np.full(problem.STEPS, rate), **placed(final)}
