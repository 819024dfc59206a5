"""Records runs of masked methods by their authors' code on small fixed problems, for `tests/test_trajectories.py`.

Needs PyTorch and git checkouts of the reference repositories; the tests need none of them. The authors'
model, loss, optimiser, moving average and order of a step run as they are. What this file supplies are images, masks,
the size of the network, a CPU in the GPU's place, and, of timm, the few helpers that the models import.

    OMP_WAIT_POLICY=passive PYTHONPATH=tests python tools/golden/trajectories/record_masked.py --root CHECKOUTS

Two things of theirs are made as ours are, which the comparison is not about: I-JEPA's sine-cosine tables have their two
halves exchanged (a permutation of features), and data2vec's class token and positions are decayed as other arrays of
several axes.
"""

import argparse
import contextlib
import copy
import datetime
import functools
import importlib
import io
import json
import multiprocessing
import platform
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn
from trajectories import masked_problem as problem
from trajectories import problem as arrays

VARIANTS = {'threads': (2, torch.float32), 'float64': (1, torch.float64)}
FORK = multiprocessing.get_context('fork')
HERE = arrays.HERE
norm = functools.partial(nn.LayerNorm, eps=1e-6)

LAYERS = {
    'norm1': 'norm1', 'norm2': 'norm2', 'attn.qkv': 'attn/qkv', 'attn.proj': 'attn/proj', 'mlp.fc1': 'fc1',
    'mlp.fc2': 'fc2',
}  # fmt: skip


def turned(parameter: torch.Tensor, name: str) -> tuple[str, torch.Tensor]:
    """(leaf, a view of a layer's parameter in our layout) of torch's name."""
    if name == 'bias':
        return 'bias', parameter
    if parameter.ndim == 4:
        return 'kernel', parameter.permute(2, 3, 1, 0)
    return ('kernel', parameter.T) if parameter.ndim == 2 else ('scale', parameter)


def named(module: nn.Module, names: dict[str, str], blocks: str) -> dict[str, torch.Tensor]:
    """Views of a transformer's parameters by our paths; `names` of its layers outside the blocks, ours by theirs."""
    found: dict[str, torch.Tensor] = {}
    for path, parameter in module.named_parameters():
        layer, _, name = path.rpartition('.')
        if path in names:
            found[names[path]] = parameter
        elif layer in names:
            leaf, view = turned(parameter, name)
            found[f'{names[layer]}/{leaf}'] = view
        elif path.startswith(f'{blocks}.'):
            _, number, inner = path.split('.', 2)
            layer, _, name = inner.rpartition('.')
            if layer in LAYERS:
                leaf, view = turned(parameter, name)
                found[f'block{number}/{LAYERS[layer]}/{leaf}'] = view
            elif inner in ('gamma_1', 'gamma_2'):
                found[f'block{number}/ls{inner[-1]}/gamma'] = parameter
            elif inner in ('attn.q_bias', 'attn.v_bias'):
                found[f'block{number}/attn/{inner[5]}_bias'] = parameter
    return found


def joined(found: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Arrays by our paths; biases of queries and values as one with those of keys, which are 0."""
    values = {k: v.detach().numpy().copy() for k, v in found.items()}
    for path in [k for k in values if k.endswith('q_bias')]:
        start = path.removesuffix('q_bias')
        query, value = values.pop(path), values.pop(f'{start}v_bias')
        values[f'{start}qkv/bias'] = np.concatenate([query, np.zeros_like(query), value])
    return values


def begin(parts: dict[str, dict[str, torch.Tensor]]) -> None:
    """Gives the parts of a model the case's initial weights."""
    found = {f'{part}/{k}': v for part, views in parts.items() for k, v in joined(views).items()}
    values = problem.without_key_bias(arrays.initial({k: v.shape for k, v in found.items()}))
    with torch.no_grad():
        for part, views in parts.items():
            for path, view in views.items():
                whole = f'{part}/{path}'
                if path.endswith(('q_bias', 'v_bias')):
                    thirds = np.split(values[f'{whole[:-6]}qkv/bias'], 3)
                    view.copy_(torch.from_numpy(thirds[0 if path.endswith('q_bias') else 2]))
                else:
                    view.copy_(torch.from_numpy(values[whole]))


def noting(losses: list[float]) -> None:
    """Notes every loss on its way back."""
    backward = torch.Tensor.backward

    def noted(self, *args, **kwargs):
        losses.append(self.item())
        return backward(self, *args, **kwargs)

    torch.Tensor.backward = noted


def view(step: int) -> torch.Tensor:
    """The images of a step, channels first, in the default type."""
    return torch.from_numpy(problem.images(step).transpose(0, 3, 1, 2).copy()).to(torch.get_default_dtype())


def exchanged(table: Callable) -> Callable:
    """The table of positions with the halves of its columns exchanged: rows first, as ours."""

    def made(dim: int, *args, **kwargs) -> np.ndarray:
        return np.roll(table(dim, *args, **kwargs), dim // 2, axis=1)

    return made


def ijepa(c: dict, root: Path, folder: Path) -> dict[str, np.ndarray]:
    sys.path.insert(0, str(root / 'ijepa'))
    for name in ('yaml', 'src.datasets.imagenet1k', 'src.transforms'):  # of files and images, of which there are none
        sys.modules[name] = mock.MagicMock()
    vit = importlib.import_module('src.models.vision_transformer')
    train = importlib.import_module('src.train')
    vit.get_2d_sincos_pos_embed = exchanged(vit.get_2d_sincos_pos_embed)
    size = dict(embed_dim=c['model.dim'], depth=c['model.depth'], num_heads=c['model.heads'], qkv_bias=True)
    vit.small = lambda **given: vit.VisionTransformer(**size, norm_layer=norm, **given)
    made: dict = {}
    init_model = train.init_model

    def parts(encoder: nn.Module, predictor: nn.Module) -> dict:
        own = {'patch_embed.proj': 'patch_embed', 'norm': 'norm'}
        theirs = {
            'predictor_embed': 'embed',
            'predictor_norm': 'norm',
            'predictor_proj': 'head',
            'mask_token': 'mask_token',
        }
        return {'encoder': named(encoder, own, 'blocks'), 'predictor': named(predictor, theirs, 'predictor_blocks')}

    def init(**given):
        made['models'] = init_model(**given)
        begin(parts(*made['models']))
        return made['models']

    def deepcopy(model):
        made['target'] = copy.deepcopy(model)
        return made['target']

    class Loader:
        step = 0

        def __len__(self):
            return problem.STEPS // c['train.epochs']

        def __iter__(self):
            for _ in range(len(self)):
                context, targets = problem.blocks(self.step)
                blocks = [torch.from_numpy(targets[:, b].copy()) for b in range(problem.BLOCKS)]
                yield (view(self.step),), [torch.from_numpy(context)], blocks
                self.step += 1

    losses: list[float] = []
    noting(losses)
    train.init_model = init
    train.copy = types.SimpleNamespace(deepcopy=deepcopy)
    train.make_imagenet1k = lambda **_: (None, Loader(), mock.Mock())
    train.make_transforms = lambda **_: None
    train.DistributedDataParallel = lambda model, **_: model
    torch.save = lambda *_, **__: None
    rate, decay = c['optimizer.learning_rate'], c['optimizer.weight_decay']
    momentum = c['method.momentum']
    train.main({
        'meta': dict(use_bfloat16=False, model_name='small', load_checkpoint=False, read_checkpoint=None,
                     copy_data=False, pred_depth=c['predictor.depth'], pred_emb_dim=c['predictor.dim']),
        'data': dict(use_gaussian_blur=False, use_horizontal_flip=False, use_color_distortion=False,
                     color_jitter_strength=0.0, batch_size=problem.BATCH, pin_mem=False, num_workers=0, root_path='',
                     image_folder='', crop_size=problem.SIDE, crop_scale=[1.0, 1.0]),
        'mask': dict(allow_overlap=False, patch_size=problem.PATCH, num_enc_masks=1, min_keep=4,
                     enc_mask_scale=[0.85, 1.0], num_pred_masks=problem.BLOCKS, pred_mask_scale=[0.15, 0.2],
                     aspect_ratio=[0.75, 1.5]),
        'optimization': dict(ema=[momentum, momentum], ipe_scale=1.0, weight_decay=decay, final_weight_decay=decay,
                             epochs=c['train.epochs'], warmup=0, start_lr=rate, lr=rate, final_lr=rate),
        'logging': dict(folder=str(folder), write_tag='run'),
    })  # fmt: skip
    final = parts(*made['models'])
    final['target'] = parts(made['target'], made['models'][1])['encoder']
    return {'loss': np.array(losses), 'learning_rate': np.full(problem.STEPS, rate), **placed(final)}


def placed(parts: dict) -> dict[str, np.ndarray]:
    """The arrays of the parts under the paths of our state."""
    found = {}
    for part, views in parts.items():
        start = 'target/params/encoder' if part == 'target' else f'params/{part}'
        found |= {f'{start}/{k}': v for k, v in joined(views).items()}
    return problem.without_key_bias(found)


class Following:
    """timm's `ModelEmaV2` as far as the loop uses it: a copy in evaluation mode, and a way to move it."""

    def __init__(self, model: nn.Module, **_):
        self.module = copy.deepcopy(model).eval()

    @torch.no_grad()
    def _update(self, model: nn.Module, update_fn: Callable) -> None:
        both = zip(self.module.state_dict().values(), model.state_dict().values(), strict=True)
        for old, new in both:
            old.copy_(update_fn(old, new))


def without_timm() -> None:
    """Modules in the place of timm and of BEiT's tokenizer, of which a run uses no other part."""
    names = [
        'modeling_discrete_vae',
        'tensorboardX',
        'timm',
        'timm.models',
        'timm.models.layers',
        'timm.models.registry',
    ]
    names += ['timm.utils', 'timm.optim']
    others = ('adafactor', 'adahessian', 'adamp', 'lookahead', 'nadam', 'nvnovograd', 'radam', 'rmsprop_tf', 'sgdp')
    names += [f'timm.optim.{name}' for name in others]
    for name in names:
        sys.modules[name] = mock.MagicMock()
    sys.modules['torch._six'] = types.SimpleNamespace(inf=float('inf'))  # of an older torch
    sys.modules['timm.models.registry'].register_model = lambda function: function
    sys.modules['timm.models.layers'].to_2tuple = lambda x: (x, x)


def data2vec(c: dict, root: Path, folder: Path) -> dict[str, np.ndarray]:
    without_timm()
    sys.path.insert(0, str(root / 'data2vec_vision' / 'beit'))
    modeling, engine, optim, utils = (
        importlib.import_module(n) for n in ('modeling_cyclical', 'engine_for_cyclical', 'optim_factory', 'utils')
    )
    torch.cuda.synchronize = lambda *_: None
    model = modeling.VisionTransformerForCyclicalTraining(
        img_size=problem.SIDE, patch_size=problem.PATCH, embed_dim=c['model.dim'], depth=c['model.depth'],
        num_heads=c['model.heads'], mlp_ratio=4, qkv_bias=True, norm_layer=norm, init_values=c['model.layer_scale'],
        use_abs_pos_emb=True,
    )  # fmt: skip
    model.no_weight_decay = set

    def parts(whole: nn.Module) -> dict:
        own = {'patch_embed.proj': 'patch_embed', 'norm': 'norm', 'cls_token': 'cls_token', 'mask_token': 'mask_token'}
        head = {f'head/{leaf}': v for leaf, v in (turned(p, n) for n, p in whole.lm_head.named_parameters())}
        encoder = named(whole, own, 'blocks')
        encoder |= {'positions': whole.pos_embed[0, 1:], 'cls_position': whole.pos_embed[:, :1]}
        return {'encoder': encoder, 'decoder': head}

    begin(parts(model))
    following, losses, rates = Following(model), [], []
    noting(losses)
    epochs, steps = c['train.epochs'], problem.STEPS // c['train.epochs']
    options = argparse.Namespace(opt='adamw', lr=c['optimizer.learning_rate'], weight_decay=c['optimizer.weight_decay'])
    optimizer = optim.create_optimizer(options, model)
    rate, share = c['optimizer.learning_rate'], c['optimizer.final_share']
    scaler = utils.NativeScalerWithGradNormCount()
    scaler.state_dict = lambda: {'scale': 1.0}  # empty without a GPU, and noted by the loop
    warmup = int(c['optimizer.warmup_epochs'])
    rates = utils.cosine_scheduler(rate, share * rate, epochs, steps, warmup_epochs=warmup)
    decays = utils.cosine_scheduler(c['optimizer.weight_decay'], c['optimizer.weight_decay_final'], epochs, steps)
    for epoch in range(epochs):
        batches = [
            ((view(t), torch.from_numpy(problem.hidden(t))), None) for t in range(epoch * steps, (epoch + 1) * steps)
        ]
        engine.train_one_epoch(
            model, following, 0, c['method.momentum'], c['method.momentum'], list(range(c['model.depth'])), batches,
            optimizer, torch.device('cpu'), epoch, scaler, c['optimizer.clip_norm'], l1_beta=c['method.beta'],
            start_steps=epoch * steps, lr_schedule_values=rates, wd_schedule_values=decays, post_target_layer_norm=True,
        )  # fmt: skip
    final = parts(model)
    final['target'] = parts(following.module)['encoder']
    return {'loss': np.array(losses), 'learning_rate': np.asarray(rates), **placed(final)}


RUNS = {
    'ijepa': (ijepa, 'facebookresearch/ijepa', 'src/train.py: main'),
    'data2vec': (data2vec, 'facebookresearch/data2vec_vision', 'beit/engine_for_cyclical.py: train_one_epoch'),
}


def record(case: str, root: Path, folder: Path, threads: int, dtype: torch.dtype) -> None:
    """One reference run in a process of its own, since it patches modules."""
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
    with contextlib.redirect_stdout(io.StringIO()):
        found = RUNS[case][0](problem.fields(case), root, folder)
    np.savez(folder / 'found.npz', **found)


def recorded(case: str, root: Path, threads: int = 1, dtype: torch.dtype = torch.float32) -> dict[str, np.ndarray]:
    """Losses, learning rates and final arrays of one reference run."""
    with tempfile.TemporaryDirectory() as folder:
        process = FORK.Process(target=record, args=(case, root, Path(folder), threads, dtype))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f'the reference of {case} failed')
        with np.load(f'{folder}/found.npz') as stored:
            return dict(stored)


def commit(root: Path, repository: str) -> str:
    """The commit of a checkout, which has a file HEAD.commit where it is no git checkout."""
    import subprocess

    command = ['git', '-C', str(root / repository), 'rev-parse', 'HEAD']
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', type=Path, required=True, help='folder with the checkouts, by repository name')
    parser.add_argument('--case', choices=problem.CASES, action='append', help='default: all')
    options = parser.parse_args()
    root = options.root.resolve()
    for case in options.case or list(problem.CASES):
        main = recorded(case, root)
        runs = {name: recorded(case, root, *how) for name, how in VARIANTS.items()}
        np.savez_compressed(HERE / f'{case}.npz', **arrays.packed(main), loss_float64=runs['float64']['loss'])
        notes = json.loads((HERE / 'references.json').read_text())
        notes[case] = {
            'references': {RUNS[case][1]: commit(root, Path(RUNS[case][1]).name)},
            'entry_point': RUNS[case][2],
            'steps': problem.STEPS,
            'views': problem.fingerprint(),
            'noise_floor': {name: arrays.distance(other, main) for name, other in runs.items()},
            'moved': problem.moved(main),
            'versions': {'python': platform.python_version(), 'torch': torch.__version__, 'numpy': np.__version__},
            'recorded': datetime.date.today().isoformat(),
        }
        (HERE / 'references.json').write_text(json.dumps(notes, indent=2, sort_keys=True) + '\n')
        print(case, notes[case]['moved'], notes[case]['noise_floor'], flush=True)


if __name__ == '__main__':
    main()
