"""The PyTorch side of forward parity. Runs where torch, torchvision and timm are; the project never needs them.

  python reference.py files FOLDER [--authors=DIR] [--only=TEXT]    checkpoints, images and outputs for `parity.py`
  python reference.py check FOLDER                                  loads what `parity.py` exported, strictly
  python reference.py record                                        the small files that the tests read

`--authors` holds clones of dino, moco-v3, swav and vicreg; without one, the rows of that repository are left out.
"""

import argparse
import hashlib
import importlib.util
import json
import math
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torchvision.models.vision_transformer import interpolate_embeddings

DATA = Path(__file__).parents[3] / 'tests' / 'convert_golden'  # the formula, and what is recorded by it
sys.path.insert(0, str(DATA))
from formula import array, images, uniform  # noqa: E402

VITS = {
    'vit_ti': ('tiny', 192, 3),
    'vit_s': ('small', 384, 6),
    'vit_b': ('base', 768, 12),
    'vit_l': ('large', 1024, 16),
}


def fill(model):
    """Every parameter and statistic by formula, a fixed table of positions excepted."""
    state = model.state_dict()
    fixed = {n for n, p in model.named_parameters() if not p.requires_grad}
    model.load_state_dict(
        {n: t if n in fixed else torch.from_numpy(array(n, tuple(t.shape))) for n, t in state.items()}
    )
    return model.eval()


def cifar_stem(model, padding=1):
    model.conv1 = torch.nn.Conv2d(3, model.conv1.out_channels, 3, 1, padding, bias=False)
    model.maxpool = torch.nn.Identity()
    return model


def torchvision_resnet(name, stem='imagenet', head=True):
    model = torchvision.models.get_model(name)
    if stem != 'imagenet':
        cifar_stem(model, 2 if stem == 'cifar_pad2' else 1)
    if not head:
        model.fc = torch.nn.Identity()
    return fill(model)


def timm_resnet(name, stem='imagenet', head=True):
    model = timm.create_model(name, num_classes=10 if head else 0)
    if stem != 'imagenet':
        cifar_stem(model, 2 if stem == 'cifar_pad2' else 1)
    return fill(model)


def torchvision_vit(name, side=224, heads=0, depth=0):
    _, dim, usual = VITS[name]
    depth = depth or (24 if name == 'vit_l' else 12)
    return fill(
        torchvision.models.VisionTransformer(
            image_size=side, patch_size=16, num_layers=depth, num_heads=heads or usual, hidden_dim=dim, mlp_dim=4 * dim
        )
    )


def timm_vit(name, side=224, **keywords):
    return fill(timm.create_model(f'vit_{VITS[name][0]}_patch16_224', img_size=side, num_classes=0, **keywords))


def module_of(path, name):
    """A module of the authors' code, from its file."""
    sys.path.insert(0, str(path.parent))
    # What MoCo v3's code expects of the timm of its time.
    sys.modules['timm.models.layers.helpers'] = timm.layers.helpers
    timm.models.vision_transformer.VisionTransformer.num_tokens = 1
    spec = importlib.util.spec_from_file_location(f'authors_{path.parent.name.replace("-", "_")}_{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.pop(0)
    return module


def features(model, x):
    """Output of the network without its head."""
    with torch.no_grad():
        if hasattr(model, 'forward_backbone'):  # SwAV's own forward moves images to a GPU
            return model.forward_backbone(x)
        for head in ('fc', 'head', 'heads'):
            if hasattr(model, head):
                setattr(model, head, torch.nn.Identity())
        return model(x)


def prefixed(prefix, model):
    return {prefix + n: t for n, t in model.state_dict().items()}


def heads(*names):
    """Tensors of a head, whose values nobody reads."""
    return {n: torch.ones(3) for n in names}


def packings(authors):
    """Name -> (model, file name, its content, whether in torch's older format, sides of the images)."""
    rows = {}
    for arch in ('resnet18', 'resnet34', 'resnet50'):
        for stem, sides in (('imagenet', (224, 160)), ('cifar', (32,)), ('cifar_pad2', (32,))):
            rows[f'torchvision {arch} {stem}'] = lambda arch=arch, stem=stem, sides=sides: (
                m := torchvision_resnet(arch, stem), 'm.pth', m.state_dict(), False, sides)  # fmt: skip
            if stem != 'cifar_pad2':
                rows[f'timm {arch} {stem}'] = lambda arch=arch, stem=stem, sides=sides: (
                    m := timm_resnet(arch, stem), 'm.safetensors', m.state_dict(), False, sides)  # fmt: skip
    for arch in VITS:
        rows[f'torchvision {arch}'] = lambda arch=arch: (
            m := torchvision_vit(arch), 'm.pth', m.state_dict(), False, (224, 160, 320))  # fmt: skip
        rows[f'timm {arch}'] = lambda arch=arch: (
            m := timm_vit(arch, dynamic_img_size=True), 'm.safetensors', m.state_dict(), False, (224, 160, 320)
        )  # fmt: skip

    def barlow_twins():
        m = torchvision_resnet('resnet50', head=False)
        rest = heads('module.projector.0.weight', 'module.bn.running_mean', 'module.bn.num_batches_tracked')
        return m, 'checkpoint.pth', {'epoch': 1, 'model': prefixed('module.backbone.', m) | rest, 'optimizer': {}}

    def moco_v2():
        m = torchvision_resnet('resnet50')
        m.fc = torch.nn.Sequential(torch.nn.Linear(2048, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
        rest = prefixed('module.encoder_k.', m) | heads('module.queue', 'module.queue_ptr')
        content = {'epoch': 200, 'arch': 'resnet50', 'state_dict': prefixed('module.encoder_q.', m) | rest}
        return m, 'moco.pth.tar', content

    def simsiam():
        m = torchvision_resnet('resnet50')
        m.fc = torch.nn.Sequential(torch.nn.Linear(2048, 8, bias=False), torch.nn.BatchNorm1d(8))
        rest = heads('module.predictor.0.weight')
        return (
            m,
            'simsiam.pth.tar',
            {'epoch': 1, 'arch': 'resnet50', 'state_dict': prefixed('module.encoder.', m) | rest},
        )

    def moco_v3(arch):
        def make():
            if arch == 'resnet50':
                m = torchvision_resnet(arch)
            else:
                m = fill(
                    module_of(authors / 'moco-v3' / 'vits.py', 'vits').__dict__[f'vit_{VITS[arch][0]}'](num_classes=8)
                )
            rest = prefixed('module.momentum_encoder.', m) | heads('module.predictor.0.weight')
            content = {'epoch': 300, 'arch': arch, 'state_dict': prefixed('module.base_encoder.', m) | rest}
            return m, 'moco3.pth.tar', content, False, (224,)

        return make

    def vicreg():
        m = fill(module_of(authors / 'vicreg' / 'resnet.py', 'resnet').resnet50()[0])
        rest = heads('module.projector.0.weight', 'module.projector.0.bias')
        return m, 'model.pth', {'epoch': 1, 'model': prefixed('module.backbone.', m) | rest, 'optimizer': {}}

    def swav():
        net = module_of(authors / 'swav' / 'src' / 'resnet50.py', 'resnet50')
        m = fill(net.resnet50(output_dim=8, hidden_mlp=16, nmb_prototypes=5))
        return m, 'swav.pth.tar', prefixed('module.', m)

    def dino(arch, patch):
        def make():
            m = fill(
                module_of(authors / 'dino' / 'vision_transformer.py', 'vits').__dict__[f'vit_{VITS[arch][0]}'](
                    patch_size=patch
                )
            )
            teacher = prefixed('backbone.', m) | heads('head.mlp.0.weight', 'head.last_layer.weight_g')
            student = {f'module.{n}': t for n, t in teacher.items()}
            args = argparse.Namespace(arch=arch, patch_size=patch, output_dir=Path('runs'), lr=np.float64(0.1))
            content = {'student': student, 'teacher': teacher, 'epoch': 1, 'args': args, 'dino_loss': heads('center')}
            return m, 'checkpoint.pth', content, True, (224, 160, 320)

        return make

    def dino_resnet():
        m = torchvision_resnet('resnet50', head=False)
        teacher = prefixed('module.backbone.', m) | heads('module.head.mlp.0.weight')
        return m, 'checkpoint.pth', {'student': teacher, 'teacher': teacher, 'epoch': 1}

    rows |= {'barlow_twins resnet50': barlow_twins, 'moco_v2 resnet50': moco_v2, 'simsiam resnet50': simsiam}
    rows |= {'moco_v3 resnet50': moco_v3('resnet50'), 'dino resnet50': dino_resnet}
    if authors and (authors / 'moco-v3').is_dir():
        rows |= {f'moco_v3 {arch}': moco_v3(arch) for arch in ('vit_s', 'vit_b')}
    if authors and (authors / 'vicreg').is_dir():
        rows['vicreg resnet50'] = vicreg
    if authors and (authors / 'swav').is_dir():
        rows['swav resnet50'] = swav
    if authors and (authors / 'dino').is_dir():
        rows |= {
            f'dino {arch} /{p}': dino(arch, p)
            for arch, p in (('vit_ti', 16), ('vit_s', 16), ('vit_b', 16), ('vit_s', 8))
        }
    return rows


def at_size(model, name, side):
    """The model at another side: torchvision moves its table of positions beforehand."""
    if name.startswith('torchvision vit'):
        moved = torchvision_vit(name.split()[1], side)
        moved.load_state_dict(interpolate_embeddings(side, 16, OrderedDict(model.state_dict())), strict=False)
        return moved.eval()
    return model


def files(folder, authors, only):
    """Writes one checkpoint, and the outputs at each side, for every row."""
    for name, make in packings(authors).items():
        place = folder / name.replace(' ', '_').replace('/', '')
        if only not in name or (place / 'row.json').is_file():
            continue
        model, file, content, legacy, sides = (*make(), False, (224, 160))[:5]
        place.mkdir(parents=True, exist_ok=True)
        if file.endswith('.safetensors'):
            save_file({n: t.contiguous() for n, t in content.items()}, place / file)
        else:
            torch.save(content, place / file, _use_new_zipfile_serialization=not legacy)
        outputs = {}
        for side in sides:
            x = torch.from_numpy(images(side)).permute(0, 3, 1, 2)
            outputs[str(side)] = features(at_size(model, name, side), x).numpy()
        np.savez(place / 'outputs.npz', **outputs)
        (place / 'row.json').write_text(json.dumps({'name': name, 'file': file, 'sides': sides}))
        print(name, flush=True)
    (folder / 'versions.json').write_text(json.dumps(versions()))


def versions():
    return {'torch': torch.__version__, 'torchvision': torchvision.__version__, 'timm': timm.__version__}


def rebuilt(row):
    """The PyTorch model without a classifier for an exported encoder."""
    model, side = row['model'], row['side']
    if model['name'].startswith('resnet'):
        make = torchvision_resnet if row['names'] == 'torchvision' else timm_resnet
        return make(model['name'], model['stem'], head=False)
    if row['names'] == 'torchvision':
        net = torchvision_vit(model['name'], side, model['heads'], model['depth'])
        net.heads = torch.nn.Identity()
        return net
    return timm_vit(model['name'], side, num_heads=model['heads'], depth=model['depth'])


def check(folder):
    """Loads every export strictly, by hand and, where timm knows it, through timm's own hub loader."""
    for file in sorted(folder.glob('*/export.json')):
        row = json.loads(file.read_text())
        model = rebuilt(row)
        model.load_state_dict(load_file(file.parent / 'model.safetensors'), strict=True)
        x = torch.from_numpy(images(row['side'])).permute(0, 3, 1, 2)
        outputs = {'strict': features(model, x).numpy()}
        if row['hub']:
            hub = timm.create_model(f'local-dir:{file.parent}', pretrained=True).eval()
            outputs['hub'] = features(hub, x).numpy()
        np.savez(file.parent / 'outputs.npz', **outputs)
        print(row['name'], flush=True)


def names_digest(state):
    """Hash of the names and shapes of a state dict."""
    lines = sorted(f'{n} {list(t.shape)}' for n, t in state.items())
    return hashlib.sha256('\n'.join(lines).encode()).hexdigest()[:16]


def record():
    """`golden.json`: digests of names, a few features of each model; two small checkpoints of every kind of entry."""
    torch.set_num_threads(1)
    golden = {'versions': versions(), 'names': {}, 'features': {}}
    models = {f'torchvision {n}': torchvision_resnet(n, head=False) for n in ('resnet18', 'resnet34', 'resnet50')}
    models |= {f'timm {n}': timm_resnet(n, head=False) for n in ('resnet18', 'resnet34', 'resnet50')}
    for arch in VITS:
        models[f'timm {arch}'] = timm_vit(arch, dynamic_img_size=True)
        models[f'torchvision {arch}'] = torchvision_vit(arch)
        models[f'torchvision {arch}'].heads = torch.nn.Identity()
    models['torchvision resnet18 cifar'] = torchvision_resnet('resnet18', 'cifar', head=False)
    for name, model in models.items():
        golden['names'][name] = names_digest(model.state_dict())
        side = 32 if 'cifar' in name else 64
        if 'vit' in name and name.startswith('torchvision'):
            continue  # its positions cannot follow the images
        x = torch.from_numpy(images(side)).permute(0, 3, 1, 2)
        out = features(model, x).double().numpy()
        golden['features'][name] = [[round(float(v), 7) for v in row[:: out.shape[1] // 16]] for row in out]
    golden['positions'] = positions()
    (DATA / 'golden.json').write_text(json.dumps(golden, indent=1) + '\n')
    tiny()


def positions():
    """A table of 4x4 positions brought to 6x6 and 3x3 by each code base's interpolation: the first column."""
    table = torch.from_numpy(uniform('pos_embed', (1, 17, 4)))
    found = {}
    for side in (6, 3):
        timms = timm.layers.resample_abs_pos_embed(table, [side, side], num_prefix_tokens=1)[0, 1:]
        state = OrderedDict({'encoder.pos_embedding': table.clone()})
        theirs = interpolate_embeddings(side * 16, 16, state)['encoder.pos_embedding'][0, 1:]
        grid = table[:, 1:].reshape(1, 4, 4, 4).permute(0, 3, 1, 2)
        scale = ((side + 0.1) / math.sqrt(16),) * 2
        dinos = torch.nn.functional.interpolate(grid, scale_factor=scale, mode='bicubic').permute(0, 2, 3, 1)
        for kind, out in (('timm', timms), ('torchvision', theirs), ('dino', dinos)):
            found[f'{kind} {side}'] = [round(float(v), 7) for v in out.reshape(-1, 4)[:, 0]]
    return found


def tiny():
    """The same small tree in both of torch's formats: views, element types, parameters, and plain objects."""
    x = torch.from_numpy(uniform('tiny', (3, 4)))
    tree = {
        'state_dict': OrderedDict(
            plain=x, transposed=x.t(), part=x[1:, 2:], half=x.half(), bfloat16=x.bfloat16(), double=x.double(),
            whole=torch.arange(5), flags=torch.tensor([True, False]), scalar=torch.tensor(2.5),
            parameter=torch.nn.Parameter(x[0]), empty=torch.zeros(0, 3),
        ),
        'args': argparse.Namespace(lr=0.1, path=Path('runs/a'), device=torch.device('cpu'), dtype=torch.float16),
        'numbers': [np.float64(1.5), np.arange(3), {1, 2}, (None, True), torch.Size([2, 3])],
        'epoch': 3,
    }  # fmt: skip
    tree['state_dict']._metadata = {'': {'version': 1}}
    torch.save(tree, DATA / 'zip.pth')
    torch.save(tree, DATA / 'legacy.pth', _use_new_zipfile_serialization=False)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', choices=('files', 'check', 'record'))
    parser.add_argument('folder', nargs='?', type=Path)
    parser.add_argument('--authors', type=Path)
    parser.add_argument('--only', default='')
    asked = parser.parse_args()
    if asked.what == 'record':
        record()
    elif asked.what == 'check':
        check(asked.folder)
    else:
        files(asked.folder, asked.authors, asked.only)
