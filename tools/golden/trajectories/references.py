"""The references' own training scripts, run whole on the fixed problems: see `record.py`. PyTorch only."""

import argparse
import functools
import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import environment
import lightning.pytorch as lightning
import numpy as np
import omegaconf
import torch
import torch._dynamo
import whitening
from environment import FEATURES, Batches, Small, begin, headless, noted, pairs, started
from torch import nn
from trajectories import problem


def imported(folder: Path, module: str) -> types.ModuleType:
    """A module of a checkout."""
    sys.path.insert(0, str(folder))
    return importlib.import_module(module)


def arguments(parser: argparse.ArgumentParser, **values) -> argparse.Namespace:
    """The script's defaults with `values` in their place."""
    required = {a.dest: None for a in parser._actions if a.required or not a.option_strings}
    defaults = {a.dest: a.default for a in parser._actions if a.dest not in ('help', *required)}
    return argparse.Namespace(**{**required, **defaults, **values})


def narrow_linear(wide: int) -> mock._patch:
    """Lets a constructor that counts on a backbone `wide` features wide build its heads on the small one's."""
    linear = nn.Linear
    return mock.patch.object(nn, 'Linear', lambda i, o, **k: linear(FEATURES if i == wide else i, o, **k))


def dashed(widths: tuple[int, ...]) -> str:
    return '-'.join(map(str, widths))


def barlow_twins(c: dict, root: Path, folder: Path, case: str = 'barlow_twins') -> None:
    main = imported(root / 'barlowtwins', 'main')
    environment.on_cpu(case)
    Batches.form = staticmethod(pairs)
    main.torchvision.models.resnet50 = Small
    narrow = functools.partial(narrow_linear, 2048)
    started(main.BarlowTwins, lambda m: {'encoder': m.backbone, 'projector': m.projector}, around=narrow)
    rate = c['optimizer.learning_rate'] * 256 / problem.BATCH
    main.main_worker(torch.distributed.get_rank(), arguments(
        main.parser, data=folder, rank=0, world_size=problem.devices(case), dist_url='', epochs=c['train.epochs'],
        batch_size=problem.BATCH,
        learning_rate_weights=rate, learning_rate_biases=rate * c['optimizer.vector_scale'],
        weight_decay=c['optimizer.weight_decay'], lambd=c['method.lambd'], projector=dashed(c['projector.widths']),
        checkpoint_dir=folder,
    ))  # fmt: skip


def vicreg(c: dict, root: Path, folder: Path) -> None:
    main = imported(root / 'vicreg', 'main_vicreg')
    environment.on_cpu('vicreg')
    Batches.form = staticmethod(pairs)
    main.init_distributed_mode = lambda args: setattr(args, 'rank', 0)
    main.resnet.__dict__['small'] = lambda **_: (headless(), FEATURES)
    started(main.VICReg, lambda m: {'encoder': m.backbone, 'projector': m.projector})
    main.main(arguments(
        main.get_arguments(), data_dir=folder, exp_dir=folder, arch='small', mlp=dashed(c['projector.widths']),
        epochs=c['train.epochs'], batch_size=problem.BATCH, wd=c['optimizer.weight_decay'],
        base_lr=c['optimizer.learning_rate'] * 256 / problem.BATCH, device='cpu',
        sim_coeff=c['method.invariance_weight'], std_coeff=c['method.variance_weight'],
        cov_coeff=c['method.covariance_weight'],
    ))  # fmt: skip


def moco_v2(c: dict, root: Path, folder: Path, case: str = 'moco_v2') -> None:
    builder = imported(root / 'moco', 'moco.builder')
    loader = importlib.import_module('moco.loader')
    # Since 2024 the script imports its package from where the authors keep it.
    inner = types.SimpleNamespace(builder=builder, loader=loader)
    outer = types.ModuleType('deeplearning')
    outer.cross_image_ssl = types.SimpleNamespace(moco=inner)
    for name in ('', '.cross_image_ssl', '.cross_image_ssl.moco'):
        sys.modules[f'deeplearning{name}'] = outer
    sys.modules['deeplearning.cross_image_ssl.moco.builder'] = builder
    sys.modules['deeplearning.cross_image_ssl.moco.loader'] = loader
    main = imported(root / 'moco', 'main_moco')
    environment.on_cpu(case)
    if problem.devices(case) > 1:
        with np.load(problem.HERE / 'places.npz') as stored:
            shuffles = iter(torch.from_numpy(np.argsort(stored['places'], axis=1)))
        torch.randperm = lambda *_: next(shuffles)
        noted['kinds'] = ('params',)  # each device has batch statistics of its own
    main.accuracy = lambda *_, **__: (torch.zeros(1), torch.zeros(1))  # fails on today's torch; a note only

    def fill(m):
        rows = problem.initial({'queue': (1, m.K, m.queue.shape[0])})['queue'][0]
        m.queue.copy_(torch.from_numpy(rows.T))

    def parts(m):
        return {
            'encoder': m.encoder_q,
            'projector': m.encoder_q.fc,
            'target/encoder': m.encoder_k,
            'target/projector': m.encoder_k.fc,
        }

    def extra():
        return {'queue': noted['model'].queue.T.numpy()[None]}

    started(builder.MoCo, parts, after=fill)
    noted['extra'] = extra
    main.main_worker(None, 1, arguments(
        main.parser, data=str(folder), gpu=None, distributed=True, world_size=1, rank=0,
        multiprocessing_distributed=False, arch='small', epochs=c['train.epochs'], batch_size=problem.BATCH,
        lr=c['optimizer.learning_rate'], momentum=c['optimizer.momentum'], weight_decay=c['optimizer.weight_decay'],
        moco_dim=c['projector.widths'][-1], moco_k=c['method.queue'], moco_m=c['method.momentum'],
        moco_t=0.2, mlp=True, cos=True,
    ))  # fmt: skip
    # Their next step would open with this; ours closes the last one with it.
    noted['model']._momentum_update_key_encoder()


def moco_v3(c: dict, root: Path, folder: Path) -> None:
    sys.modules['vits'] = mock.MagicMock()  # needs a timm of its time
    main = imported(root / 'moco-v3', 'main_moco')
    environment.on_cpu('moco_v3')

    def parts(m):
        return {
            'encoder': m.base_encoder,
            'projector': m.base_encoder.fc,
            'predictor': m.predictor,
            'target/encoder': m.momentum_encoder,
            'target/projector': m.momentum_encoder.fc,
        }

    started(main.moco.builder.MoCo_ResNet, parts)
    main.main_worker(None, 1, arguments(
        main.parser, data=str(folder), gpu=None, distributed=True, world_size=1, rank=0, dist_url='',
        multiprocessing_distributed=False, arch='small', epochs=c['train.epochs'], batch_size=problem.BATCH,
        lr=c['optimizer.learning_rate'] * 256 / problem.BATCH, momentum=c['optimizer.momentum'],
        weight_decay=c['optimizer.weight_decay'], optimizer='lars', warmup_epochs=int(c['optimizer.warmup_epochs']),
        moco_dim=c['projector.widths'][-1], moco_mlp_dim=c['projector.widths'][0], moco_m=c['method.momentum'],
        moco_m_cos=True, moco_t=c['method.temperature'],
    ))  # fmt: skip


def simsiam(c: dict, root: Path, folder: Path) -> None:
    main = imported(root / 'simsiam', 'main_simsiam')
    environment.on_cpu('simsiam')

    def parts(m):
        return {'encoder': m.encoder, 'projector': m.encoder.fc, 'predictor': m.predictor}

    # Fixed by the authors, and without effect before batch-norm: ours has none.
    started(main.simsiam.builder.SimSiam, parts, after=lambda m: nn.init.zeros_(m.encoder.fc[6].bias))
    main.main_worker(None, 1, arguments(
        main.parser, data=str(folder), gpu=None, distributed=True, world_size=1, rank=0, dist_url='',
        multiprocessing_distributed=False, arch='small', epochs=c['train.epochs'], batch_size=problem.BATCH,
        lr=c['optimizer.learning_rate'] * 256 / problem.BATCH, momentum=c['optimizer.momentum'],
        weight_decay=c['optimizer.weight_decay'], fix_pred_lr=True, dim=c['projector.widths'][-1],
        pred_dim=c['predictor.widths'][0],
    ))  # fmt: skip
    noted['model'].encoder.fc[6].bias = None


def swav(c: dict, root: Path, folder: Path) -> None:
    source = (root / 'apex' / 'apex' / 'parallel' / 'LARC.py').read_text()
    larc = types.ModuleType('apex.parallel.LARC')
    exec(compile(source, 'LARC.py', 'exec'), larc.__dict__)
    apex = types.ModuleType('apex')
    apex.amp = None
    sys.modules.update({'apex': apex, 'apex.parallel': types.ModuleType('apex.parallel'), 'apex.parallel.LARC': larc})
    sys.modules['src.logger'] = mock.MagicMock()
    main = imported(root / 'swav', 'main_swav')
    environment.on_cpu('swav')
    Batches.form = staticmethod(list)

    class Swav(main.resnet_models.ResNet):
        """The authors' heads, crops and prototypes over the small backbone."""

        def __init__(self, **kwargs):
            with narrow_linear(512):
                super().__init__(main.resnet_models.BasicBlock, [1, 1, 1, 1], **kwargs)
            for name in ('conv1', 'bn1', 'layer1', 'layer2', 'layer3', 'layer4'):
                delattr(self, name)
            self.trunk = headless()

        def forward_backbone(self, x):
            return self.trunk(x)

    def parts(m):
        return {'encoder': m.trunk, 'projector': m.projection_head, 'prototypes': m.prototypes.weight}

    noted['queue'] = None
    train = main.train

    def train_epoch(*args):
        scores, noted['queue'] = train(*args)
        return scores, noted['queue']

    main.train = train_epoch
    noted['extra'] = lambda: {'queue': noted['queue'].numpy()}
    started(Swav, parts)
    main.resnet_models.__dict__['small'] = Swav
    main.MultiCropDataset = lambda *_: [None] * problem.BATCH
    main.initialize_exp = lambda *_: (mock.MagicMock(), mock.MagicMock())
    main.logger = mock.MagicMock()

    def one_process(args):
        args.rank, args.world_size, args.gpu_to_work_on = 0, 1, None

    main.init_distributed_mode = one_process
    peak = c['optimizer.learning_rate']
    args = arguments(
        main.parser, nmb_crops=[2, 2], size_crops=[problem.LARGE, problem.SMALL], epochs=c['train.epochs'],
        batch_size=problem.BATCH, base_lr=peak, final_lr=peak * c['optimizer.final_share'],
        start_warmup=c['optimizer.warmup_start'], warmup_epochs=int(c['optimizer.warmup_epochs']),
        wd=c['optimizer.weight_decay'], nmb_prototypes=c['method.prototypes'], queue_length=c['method.queue'],
        epoch_queue_starts=c['method.queue_start'] // problem.epoch_steps('swav'),
        freeze_prototypes_niters=c['optimizer.groups']['prototypes']['freeze_steps'], arch='small',
        hidden_mlp=c['projector.widths'][0], feat_dim=c['projector.widths'][-1], use_fp16=False,
        dump_path=str(folder), dump_checkpoints=str(folder), checkpoint_freq=1000,
    )  # fmt: skip
    main.parser.parse_args = lambda: args
    main.shutil.copyfile = lambda *_: None
    main.main()
    with torch.no_grad():  # their next step would open with this; ours closes the last one with it
        weight = noted['model'].prototypes.weight
        weight.copy_(nn.functional.normalize(weight, dim=1, p=2))


def dino(c: dict, root: Path, folder: Path) -> None:
    main = imported(root / 'dino', 'main_dino')
    environment.on_cpu('dino')
    torch.hub.list = lambda *_: []
    main.utils.init_distributed_mode = lambda args: setattr(args, 'gpu', None)
    main.utils.SmoothedValue.synchronize_between_processes = lambda self: None
    main.vits.__dict__['small'] = lambda **_: Small()
    widths = c['projector.widths']
    main.DINOHead = functools.partial(main.DINOHead, hidden_dim=widths[0], bottleneck_dim=widths[-1])
    models, losses = [], []

    def parts(m):
        return {'encoder': m.backbone, 'projector': m.head.mlp, 'prototypes/direction': m.head.last_layer.weight_v}

    def loss(*args):
        losses.append(loss_class(*args))
        return losses[-1]

    loss_class, main.DINOLoss = main.DINOLoss, loss
    started(main.utils.MultiCropWrapper, parts, after=models.append)
    peak = c['optimizer.learning_rate']
    main.train_dino(arguments(
        main.get_args_parser(), arch='small', out_dim=c['method.prototypes'], use_fp16=False, norm_last_layer=True,
        momentum_teacher=c['method.momentum'], warmup_teacher_temp=c['method.first_temperature'],
        teacher_temp=c['method.teacher_temperature'], warmup_teacher_temp_epochs=4,
        weight_decay=c['optimizer.weight_decay'], weight_decay_end=c['optimizer.weight_decay_final'],
        clip_grad=c['optimizer.clip_norm'], batch_size_per_gpu=problem.BATCH, epochs=c['train.epochs'],
        freeze_last_layer=1, lr=peak * 256 / problem.BATCH, warmup_epochs=int(c['optimizer.warmup_epochs']),
        min_lr=peak * c['optimizer.final_share'], optimizer='adamw', local_crops_number=2,
        global_crops_scale=(0.4, 1.0), local_crops_scale=(0.05, 0.4), data_path=str(folder), output_dir=str(folder),
        saveckp_freq=0,
    ))  # fmt: skip
    student, teacher = models
    noted['parts'] = lambda: {**parts(student), **{f'target/{k}': v for k, v in parts(teacher).items()}}
    noted['extra'] = lambda: {'centre': losses[0].center[0].numpy()}


def _solo(case: str, module: str, name: str, kwargs: dict, loss: str, c: dict, root: Path) -> None:
    """A method of solo-learn under Lightning's trainer; `loss` is the name under which it logs its own."""
    for package in ('solo', 'solo.methods', 'solo.utils', 'solo.losses'):
        # Without the packages' __init__, which imports every data pipeline and backbone.
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(root / 'solo-learn' / package.replace('.', '/'))]
    for absent in ('solo.backbones', 'timm.models.helpers', 'timm.optim.optim_factory'):
        sys.modules[absent] = mock.MagicMock()
    method = importlib.import_module(f'solo.methods.{module}')
    environment.on_cpu(case)

    def form(views):
        rows = torch.arange(problem.BATCH)
        return rows, views, torch.zeros(problem.BATCH, dtype=torch.long)

    Batches.form = staticmethod(form)
    base = importlib.import_module('solo.methods.base').BaseMethod
    base._BACKBONES = {'resnet18': Small}
    losses = []

    class Noting(getattr(method, name)):
        """The method, with a note of what it logs."""

        def log(self, key, value, **_):
            if key == loss:
                losses.append(float(value))

        def log_dict(self, values, **_):
            for key, value in values.items():
                self.log(key, value)

    def parts(m):
        found = {'encoder': m.backbone, 'projector': m.projector}
        found |= {'predictor': m.predictor} if hasattr(m, 'predictor') else {}
        if hasattr(m, 'momentum_backbone'):
            found |= {'target/encoder': m.momentum_backbone, 'target/projector': m.momentum_projector}
        return found

    cfg = omegaconf.OmegaConf.create({
        'method': case,
        'backbone': {'name': 'resnet18', 'kwargs': {}},
        'data': {'dataset': 'fixed', 'num_classes': 2, 'num_large_crops': 2, 'num_small_crops': 0},
        'max_epochs': c['train.epochs'],
        'momentum': {'base_tau': c.get('method.momentum', 0.99), 'final_tau': c.get('method.momentum_final', 1.0)},
        'optimizer': {
            'name': 'lars', 'batch_size': problem.BATCH, 'lr': c['optimizer.learning_rate'], 'classifier_lr': 0.01,
            'weight_decay': c['optimizer.weight_decay'], 'exclude_bias_n_norm_wd': True,
            'kwargs': {'clip_lr': True, 'eta': c['optimizer.trust'], 'exclude_bias_n_norm': True,
                       'momentum': c['optimizer.momentum']},
        },
        'scheduler': {'name': 'warmup_cosine', 'warmup_epochs': c['optimizer.warmup_epochs'],
                      'warmup_start_lr': c['optimizer.warmup_start'], 'min_lr': 0.0, 'interval': 'step'},
        'method_kwargs': kwargs,
    })  # fmt: skip
    model = Noting(cfg)
    begin(model, parts)
    if hasattr(model, 'queue'):
        model.queue.copy_(torch.from_numpy(problem.initial({'queue': tuple(model.queue.shape)})['queue']))
        noted['extra'] = lambda: {'queue': model.queue.numpy()}
    trainer = lightning.Trainer(
        max_epochs=c['train.epochs'], accelerator='cpu', devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, Batches())
    noted['loss'] = losses  # without the probe's, which touches neither weights nor state


def simclr(c: dict, root: Path, folder: Path) -> None:
    hidden, output = c['projector.widths']
    kwargs = {'proj_hidden_dim': hidden, 'proj_output_dim': output, 'temperature': c['method.temperature']}
    _solo('simclr', 'simclr', 'SimCLR', kwargs, 'train_nce_loss', c, root)


def byol(c: dict, root: Path, folder: Path) -> None:
    hidden, output = c['projector.widths']
    kwargs = {'proj_hidden_dim': hidden, 'proj_output_dim': output, 'pred_hidden_dim': c['predictor.widths'][0]}
    _solo('byol', 'byol', 'BYOL', kwargs, 'train_neg_cos_sim', c, root)


def nnclr(c: dict, root: Path, folder: Path) -> None:
    hidden, _, output = c['projector.widths']
    kwargs = {
        'proj_hidden_dim': hidden,
        'proj_output_dim': output,
        'pred_hidden_dim': c['predictor.widths'][0],
        'temperature': c['method.temperature'],
        'queue_size': c['method.queue'],
    }
    _solo('nnclr', 'nnclr', 'NNCLR', kwargs, 'train_nnclr_loss', c, root)


SOLO = ('vturrisi/solo-learn',)
# Case -> (how it runs, where the reference is entered).
RUNS: dict[str, tuple[Callable, str]] = {
    'barlow_twins': (barlow_twins, 'main.py: main_worker'),
    'barlow_twins_two_devices': (
        functools.partial(barlow_twins, case='barlow_twins_two_devices'),
        'main.py: main_worker',
    ),
    'moco_v2_two_devices': (functools.partial(moco_v2, case='moco_v2_two_devices'), 'main_moco.py: main_worker'),
    'vicreg': (vicreg, 'main_vicreg.py: main'),
    'moco_v2': (moco_v2, 'main_moco.py: main_worker'),
    'moco_v3': (moco_v3, 'main_moco.py: main_worker'),
    'simclr': (simclr, 'solo/methods/simclr.py under lightning.Trainer.fit'),
    'byol': (byol, 'solo/methods/byol.py under lightning.Trainer.fit'),
    'simsiam': (simsiam, 'main_simsiam.py: main_worker'),
    'swav': (swav, 'main_swav.py: main'),
    'dino': (dino, 'main_dino.py: train_dino'),
    'nnclr': (nnclr, 'solo/methods/nnclr.py under lightning.Trainer.fit'),
    **whitening.RUNS,
}
REPOSITORIES = {
    'barlow_twins_two_devices': ('facebookresearch/barlowtwins',),
    'moco_v2_two_devices': ('facebookresearch/moco',),
    'barlow_twins': ('facebookresearch/barlowtwins',),
    'vicreg': ('facebookresearch/vicreg',),
    'moco_v2': ('facebookresearch/moco',),
    'moco_v3': ('facebookresearch/moco-v3',),
    'simclr': SOLO,
    'byol': SOLO,
    'simsiam': ('facebookresearch/simsiam',),
    'swav': ('facebookresearch/swav', 'NVIDIA/apex'),
    'dino': ('facebookresearch/dino',),
    'nnclr': SOLO,
    **whitening.REPOSITORIES,
}


def run(case: str, root: Path, folder: Path) -> dict[str, np.ndarray]:
    """Runs a case's reference to its end and gives its notes and final arrays."""
    RUNS[case][0](problem.fields(case), root, folder)
    return environment.collected()
