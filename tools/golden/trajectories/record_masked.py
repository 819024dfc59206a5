"""Records runs of masked methods by their authors' code on small fixed problems, for `tests/test_trajectories.py`.

Needs PyTorch and git checkouts of the reference repositories; the tests need none of them. The authors'
model, loss, optimiser, moving average and order of a step run as they are. What this file supplies are images, masks,
the size of the network, a CPU in the GPU's place, and, of timm, the few helpers that I-JEPA's and data2vec's models
import. MAE's imports timm 0.3.2 and asserts that version: `pip download --no-deps timm==0.3.2`, unpacked in
CHECKOUTS/timm-0.3.2, which data2vec 2.0's model imports too (`from_fairseq.py`).

    OMP_WAIT_POLICY=passive PYTHONPATH=tests python tools/golden/trajectories/record_masked.py --root CHECKOUTS

Two things of theirs are made as ours are, which the comparison is not about: the halves of I-JEPA's, MAE's and
data2vec 2.0's sine-cosine tables are exchanged (a permutation of features), and data2vec's class token and positions
are decayed as other arrays of several axes.
"""

import argparse
import copy
import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from from_fairseq import data2vec2, exchanged, old_timm, view
from recording import command, noting
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from trajectories import masked_problem as problem
from transformers import begin, named, norm, placed, turned


def ijepa(case: str, root: Path, folder: Path) -> dict[str, np.ndarray]:
    c = problem.fields(case)
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


def data2vec(case: str, root: Path, folder: Path) -> dict[str, np.ndarray]:
    c = problem.fields(case)
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


def mae(case: str, root: Path, folder: Path) -> dict[str, np.ndarray]:
    c = problem.fields(case)
    old_timm(root)
    sys.path.insert(0, str(root / 'mae'))
    for name in ('torchvision', 'torchvision.transforms', 'torchvision.datasets', 'torch.utils.tensorboard'):
        sys.modules[name] = mock.MagicMock()
    main, models = (importlib.import_module(name) for name in ('main_pretrain', 'models_mae'))
    models.get_2d_sincos_pos_embed = exchanged(models.get_2d_sincos_pos_embed)
    made: dict = {}

    def parts(model: nn.Module) -> dict:
        own = {'patch_embed.proj': 'patch_embed', 'norm': 'norm', 'cls_token': 'cls_token'}
        theirs = {'decoder_embed': 'embed', 'decoder_norm': 'norm', 'decoder_pred': 'head', 'mask_token': 'mask_token'}
        return {'encoder': named(model, own, 'blocks'), 'decoder': named(model, theirs, 'decoder_blocks')}

    def small(**given):
        made['model'] = models.MaskedAutoencoderViT(
            img_size=problem.SIDE, patch_size=problem.PATCH, embed_dim=c['model.dim'], depth=c['model.depth'],
            num_heads=c['model.heads'], decoder_embed_dim=c['decoder.dim'], decoder_depth=c['decoder.depth'],
            decoder_num_heads=c['decoder.heads'], norm_layer=norm, **given,
        )  # fmt: skip
        begin(parts(made['model']))
        return made['model']

    class Loader:
        step = 0

        def __init__(self, *_, **__):
            pass

        def __len__(self):
            return problem.STEPS // c['train.epochs']

        def __iter__(self):
            for _ in range(len(self)):
                made['noise'] = torch.from_numpy(problem.noise(Loader.step))
                yield view(Loader.step), None
                Loader.step += 1

    losses, rates = [], []
    noting(losses)
    register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]['lr']))
    models.small = small
    torch.rand = lambda *_, **__: made['noise']  # drawn for the masks alone
    torch.cuda.synchronize = lambda *_: None
    torch.utils.data.DataLoader, torch.utils.data.DistributedSampler = Loader, mock.MagicMock()
    given = {
        'model': 'small', 'batch_size': problem.BATCH, 'epochs': c['train.epochs'], 'mask_ratio': c['method.ratio'],
        'weight_decay': c['optimizer.weight_decay'], 'lr': c['optimizer.learning_rate'], 'device': 'cpu',
        'warmup_epochs': int(c['optimizer.warmup_epochs']), 'output_dir': '', 'data_path': '',
    }  # fmt: skip
    words = [f'--{name}={value}' for name, value in given.items()]
    arguments = main.get_args_parser().parse_args([*words, '--norm_pix_loss'])
    arguments.log_dir = None
    main.main(arguments)
    return {'loss': np.array(losses), 'learning_rate': np.array(rates), **placed(parts(made['model']))}


RUNS = {
    'mae': (mae, 'facebookresearch/mae', 'main_pretrain.py: main'),
    'data2vec2': (
        data2vec2,
        'facebookresearch/fairseq',
        'examples/data2vec/models/data2vec2.py: Data2VecMultiModel.forward',
    ),
    'ijepa': (ijepa, 'facebookresearch/ijepa', 'src/train.py: main'),
    'data2vec': (data2vec, 'facebookresearch/data2vec_vision', 'beit/engine_for_cyclical.py: train_one_epoch'),
}


if __name__ == '__main__':
    command(__doc__, problem, RUNS)
