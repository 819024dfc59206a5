"""Makes tests/losses_golden/arrays.npz, the reference values of tests/test_losses_golden.py.

    python tools/golden/losses/make.py --root CHECKOUTS      # in an environment with torch

It imports nothing of ours, and the tests do not import torch. Each case runs the authors' own function or class, or the
lines of their loop, in float64 on the CPU; what those import and do not use is replaced by empty modules. Of a case
`name`, `name/in/…` are the inputs and `name/out/…` what came out. CHECKOUTS has the repositories of `CASES` by their
last names; their commits are in `name/commit`.
"""

import argparse
import contextlib
import importlib
import io
import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

FILE = Path(__file__).parents[3] / 'tests' / 'losses_golden' / 'arrays.npz'
Arrays = dict[str, np.ndarray]


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.RandomState(seed).randn(*shape)


def flags(seed: int, rows: int, count: int, hidden: int) -> np.ndarray:
    """`[rows, count]` bool, `hidden` of each row true."""
    return np.random.RandomState(seed).rand(rows, count).argsort(1).argsort(1) < hidden


def channels_first(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def imported(folder: Path, module: str, *missing: str, **names: object) -> types.ModuleType:
    """A module of a checkout; `missing` are modules that it imports, with `names` in them."""
    for name in [n for n in sys.modules if n.split('.')[0] in ('utils', 'util', 'models', 'datasets')]:
        del sys.modules[name]  # other checkouts have modules of these names
    for name in missing:
        sys.modules[name] = mock.MagicMock(**names)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(str(folder))


def hog(root: Path) -> tuple[Arrays, Arrays]:
    """MaskFeat: `HOGLayerC`, cells of 4 pixels; `[batch, channels, bins, rows, columns]`."""
    sys.modules['slowfast'] = types.ModuleType('slowfast')
    sys.modules['slowfast'].__path__ = [str(root / 'SlowFast' / 'slowfast')]
    folder = root / 'SlowFast' / 'slowfast' / 'models'
    missing = ('pytorchvideo', 'pytorchvideo.layers', 'pytorchvideo.layers.swish', 'slowfast.models.utils')
    layer = imported(folder, 'operators', 'slowfast.models', *missing).HOGLayerC(nbins=9, pool=4).double()
    images = drawn(1, 2, 16, 16, 3)
    with mock.patch.object(torch, 'float', torch.float64):  # of what they count in
        return {'images': images}, {'cells': layer(channels_first(images)).numpy()}


def cmae(root: Path) -> tuple[Arrays, Arrays]:
    """CMAE: both losses of `CMAEPretrainHead`, with an identity as predictor."""
    registry = mock.MagicMock()
    registry.MODELS.register_module = lambda: lambda kind: kind
    registry.MODELS.build = lambda given: given
    sys.modules['cmae.registry'] = registry
    names = {'BaseModule': nn.Module, 'concat_all_gather': lambda x: x}
    folder = root / 'CMAE' / 'cmae' / 'models' / 'heads'
    head = imported(folder, 'cmae_head', 'mmengine', 'mmengine.model', 'cmae', 'cmae.utils', **names)
    torch.distributed.get_rank = lambda: 0
    images, pixels, hidden = drawn(2, 3, 8, 8, 3), drawn(3, 3, 16, 12), flags(4, 3, 16, 10)
    student, target = drawn(5, 3, 6), drawn(6, 3, 6)
    module = head.CMAEPretrainHead(nn.Identity(), temperature=0.07, patch_size=2)
    given = (channels_first(images), *(torch.from_numpy(x) for x in (pixels, hidden.astype(float))))
    found = module(*given, *(torch.from_numpy(x)[:, None] for x in (student, target)))
    inputs = {'images': images, 'pixels': pixels, 'hidden': hidden, 'student': student, 'target': target}
    return inputs, {name: loss.numpy() for name, loss in found.items()}


def crossmae(root: Path) -> tuple[Arrays, Arrays]:
    """CrossMAE: `forward_loss` over the predicted patches, which `mask` marks, in raster order."""
    folder = root / 'CrossMAE'
    missing = ('timm', 'timm.models', 'timm.models.vision_transformer', 'transformer_utils', 'torchvision')
    model = imported(folder, 'models_cross', *missing).MaskedAutoencoderViT
    images, hidden, predictions = drawn(7, 3, 8, 8, 3), flags(8, 3, 16, 5), drawn(9, 3, 5, 12)
    one = types.SimpleNamespace(patch_embed=types.SimpleNamespace(patch_size=(2, 2)), norm_pix_loss=True)
    one.patchify = lambda x: model.patchify(one, x)
    mask = torch.from_numpy(hidden.astype(float))
    loss, _ = model.forward_loss(one, channels_first(images), torch.from_numpy(predictions), mask, None)
    return {'images': images, 'hidden': hidden, 'predictions': predictions}, {'loss': loss.numpy()}


def bootmae(root: Path) -> tuple[Arrays, Arrays]:
    """BootMAE: the losses that `train_one_epoch` makes of given outputs, with and without weights of neighbours."""
    missing = (
        'timm', 'timm.models', 'timm.utils', 'timm.optim', 'tensorboardX', 'optim_factory', 'datasets', 'models',
        'models.modeling_pretrain_bootmae', 'mae_util', 'mae_util.lars', 'torchvision', 'torchvision.utils',
        'torch._six',
    )  # fmt: skip
    loop = imported(root / 'BootMAE', 'run_pretraining', *missing, inf=float('inf'))
    images, hidden = drawn(10, 3, 8, 8, 3), flags(11, 3, 16, 9)
    pixels, tokens, target = drawn(12, 3, 8, 8, 3), drawn(13, 3, 16, 6), 0.1 * drawn(14, 3, 16, 6)
    outputs = channels_first(pixels), torch.from_numpy(tokens).requires_grad_()
    model, ema, losses, found = mock.MagicMock(return_value=outputs), mock.MagicMock(), [], {}
    model.module.embed_dim = 6
    ema.ema.get_feature = lambda *_: torch.from_numpy(target)

    class Scaler:
        def __call__(self, loss, *_, **__):
            losses.append(loss.item())
            return 0.0

        def state_dict(self):
            return {'scale': 1.0}

    batch = [((channels_first(images), torch.from_numpy(hidden.reshape(3, 4, 4)).long()), None)]
    for name, weighted, weight in (('light', False, 0.25), ('plain', False, 0.5), ('weighted', True, 0.5)):
        args = types.SimpleNamespace(
            feature_weight=weight, epochs=1, window_size=(4, 4), patch_size=(2, 2), mask_num=9, weight_mask=weighted,
            accum_iter=1,
        )  # fmt: skip
        loop.utils.adjust_ema_momentum = lambda *_: 0.9
        loop.utils.random = types.SimpleNamespace(randint=lambda *_: 0)  # no exchange of hidden patches with others
        loop.train_one_epoch(
            model, batch, mock.MagicMock(param_groups=[]), torch.device('cpu'), 0, Scaler(), start_steps=0,
            update_freq=1, args=args, model_ema=ema, rank=1,
        )  # fmt: skip
        found[name] = np.array(losses[-1])
    inputs = {'images': images, 'hidden': hidden, 'pixels': pixels, 'tokens': tokens, 'target': target}
    return inputs, found


def dinosr(root: Path) -> tuple[Arrays, Arrays]:
    """DinoSR: the lines of `forward` from the targets' codes to the moved codebooks, of two layers and five codes."""
    text = (root / 'dinosr' / 'models' / 'dinosr.py').read_text()
    found = re.search(r'( +losses = 0\n.*?)\n +result\["losses"\]\["cross_entropy"\] = (.*?)\n', text, re.S)
    assert found, 'the lines are not there'
    sums, counts = drawn(15, 2, 5, 4), 1.0 + np.random.RandomState(16).rand(2, 5)
    targets, scores = drawn(17, 7, 2, 4), drawn(18, 7, 2, 5)
    own = types.SimpleNamespace(
        codebooks={i: torch.from_numpy(sums[i]) for i in range(2)},
        codebook_cnts={i: torch.from_numpy(counts[i]) for i in range(2)},
        heads=[lambda x, i=i: x[:, i] for i in range(2)], n_codebooks=2, codebook_decay=0.9, training=True,
        compute_ppl=lambda *_, **__: 0.0,
    )  # fmt: skip
    rows = [torch.from_numpy(targets[:, i].copy()) for i in range(2)]
    names = {'self': own, 'x': torch.from_numpy(scores), 'target_layer_results': rows, 'torch': torch, 'F': F}
    names['dist'] = types.SimpleNamespace(is_initialized=lambda: False)
    exec(textwrap.dedent(found[1]) + f'\nloss = {found[2]}', names)
    made = {
        'loss': names['loss'].numpy() / len(targets),  # their trainer divides by the number of tokens
        'sums': np.stack([own.codebooks[i].numpy() for i in range(2)]),
        'counts': np.stack([own.codebook_cnts[i].numpy() for i in range(2)]),
    }
    return {'sums': sums, 'counts': counts, 'targets': targets, 'scores': scores}, made


def amdim(root: Path) -> tuple[Arrays, Arrays]:
    """AMDIM: all of `LossMultiNCE`, of maps of 5 x 5 and 7 x 7; the drawn places are (1, 2), (0, 4) and (3, 3)."""
    costs = imported(root / 'amdim-public', 'costs')
    torch.cuda.device_count = lambda: 1
    loss = costs.LossMultiNCE(tclip=20.0)
    loss.masks_r5 = nn.Parameter(loss.masks_r5.bool(), requires_grad=False)  # bytes are no masks any more
    maps = [drawn(20 + number, 3, side, side, 4) for number, side in enumerate((1, 5, 7, 1, 5, 7))]
    places = np.array([7, 4, 18])
    with mock.patch.object(torch, 'randint', lambda *_: torch.from_numpy(places)):
        found = loss(*(channels_first(x) for x in maps))
    return {**{f'map{number}': x for number, x in enumerate(maps)}, 'places': places}, {
        name: x.numpy() for name, x in zip(('global_5', 'global_7', 'local_5', 'penalty'), found, strict=True)
    }


def relational(root: Path) -> tuple[Arrays, Arrays]:
    """Relational reasoning: `aggregate` of four views of three images, and `FocalLoss` of a linear head."""
    folder = root / 'self-supervised-relational-reasoning'
    missing = ('torchvision', 'torchvision.datasets', 'torchvision.transforms', 'utils')
    net = imported(folder, 'methods.relationnet', *missing)
    views, head = drawn(30, 4, 3, 5), drawn(31, 10)
    pairs, answers, *_ = net.Model.aggregate(None, torch.from_numpy(views.reshape(12, 5)), 4)
    logits = pairs @ torch.from_numpy(head)
    made = {'pairs': pairs.numpy(), 'answers': answers.numpy()}
    for gamma in (0.0, 2.0):
        made[f'loss{gamma:.0f}'] = net.FocalLoss(gamma=gamma, alpha=0.5)(logits, answers.double()).numpy()
    return {'views': views, 'head': head}, made


CASES = {
    'hog': (hog, 'SlowFast'),
    'cmae': (cmae, 'CMAE'),
    'crossmae': (crossmae, 'CrossMAE'),
    'bootmae': (bootmae, 'BootMAE'),
    'dinosr': (dinosr, 'dinosr'),
    'amdim': (amdim, 'amdim-public'),
    'relational': (relational, 'self-supervised-relational-reasoning'),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', type=Path, required=True, help='folder with the checkouts, by repository name')
    root = parser.parse_args().root.resolve()
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # they count in float32
    torch.Tensor.cuda = nn.Module.cuda = lambda self, *_, **__: self
    torch.Tensor.numpy, numpy = lambda self: numpy(self.detach()), torch.Tensor.numpy
    kept: Arrays = {}
    for name, (case, repository) in CASES.items():
        with contextlib.redirect_stdout(io.StringIO()):
            given, found = case(root)
        kept |= {f'{name}/in/{k}': v for k, v in given.items()} | {f'{name}/out/{k}': v for k, v in found.items()}
        command = ['git', '-C', str(root / repository), 'rev-parse', 'HEAD']
        kept[f'{name}/commit'] = np.array(subprocess.run(command, capture_output=True, text=True).stdout.strip())
        print(name, {k: np.shape(v) or float(v) for k, v in found.items()})
    np.savez_compressed(FILE, **kept)


if __name__ == '__main__':
    main()
