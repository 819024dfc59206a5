"""lightly's half of `peers.py`: its heads, losses, transforms and collate in a plain PyTorch loop, as its examples.

The examples (examples/pytorch of lightly 1.6) differ from this in what the recipe gives to both halves: the network,
AdamW with a schedule in the place of SGD at a constant rate, the widths of the heads and the constant momentum.
"""

import copy
from typing import Any

import lightly
import numpy as np
import torch
from lightly import transforms
from lightly.data import LightlyDataset
from lightly.data.multi_view_collate import MultiViewCollate
from lightly.loss import BarlowTwinsLoss, NegativeCosineSimilarity, NTXentLoss, VICRegLoss
from lightly.models import modules
from lightly.models.modules.heads import VICRegProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from peers_recipe import (
    BETAS,
    ENCODED_AT_ONCE,
    FIRST_STRIDE,
    LEARNING_RATE,
    MEAN,
    RECIPES,
    SIDE,
    STD,
    WARMUP_EPOCHS,
    WEIGHT_DECAY,
    WIDTHS,
    Job,
    Recipe,
    rate_share,
    serve,
)
from PIL import Image
from torch import nn
from torch_step import convnet


class Pictures(torch.utils.data.Dataset):
    """Images from memory as Pillow's, which is how torchvision's CIFAR-10 gives them."""

    def __init__(self, images: np.ndarray):
        self.images, self.transform = images, None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = Image.fromarray(self.images[index])
        return (self.transform(image) if self.transform else image), 0


def transform_of(method: str, recipe: Recipe) -> Any:
    """Lightly's transform of the method with every number stated."""
    names = ('cj_bright', 'cj_contrast', 'cj_sat', 'cj_hue')
    common = dict(zip(names, recipe.colours, strict=True)) | dict(
        input_size=SIDE, cj_strength=1.0, min_scale=recipe.least, gaussian_blur=0.0,
        normalize={'mean': list(MEAN), 'std': list(STD)},
    )  # fmt: skip
    first, second = recipe.solarise
    if method in ('byol', 'barlow_twins'):
        return transforms.BYOLTransform(
            view_1_transform=transforms.BYOLView1Transform(**common, solarization_prob=first),
            view_2_transform=transforms.BYOLView2Transform(**common, solarization_prob=second),
        )
    if method == 'vicreg':
        return transforms.VICRegTransform(**common, solarize_prob=first)
    kind = {'simclr': transforms.SimCLRTransform, 'moco_v2': transforms.MoCoV2Transform}[method]
    return kind(**common)


def initialised(encoder: nn.Module) -> nn.Module:
    """The encoder with kernels from He's normal distribution by fan-out, as torchvision's ResNets and our ConvNet."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
    return encoder


class Siamese(nn.Module):
    """An encoder and a projection head, both views one after the other (SimCLR, Barlow Twins, VICReg)."""

    def __init__(self, encoder: nn.Module, head: nn.Module, criterion: nn.Module):
        super().__init__()
        self.encoder, self.head, self.criterion = encoder, head, criterion

    def forward(self, x0: Any, x1: Any) -> Any:
        return self.criterion(self.head(self.encoder(x0)), self.head(self.encoder(x1)))


class WithTarget(Siamese):
    """The same with a momentum copy, which moves before each step's forward passes."""

    def __init__(self, encoder: nn.Module, head: nn.Module, criterion: nn.Module, *, momentum: float):
        super().__init__(encoder, head, criterion)
        self.momentum = momentum
        self.target = nn.ModuleList([copy.deepcopy(encoder), copy.deepcopy(head)])
        deactivate_requires_grad(self.target)

    def follow(self) -> None:
        for network, target in zip((self.encoder, self.head), self.target, strict=True):
            update_momentum(network, target, m=self.momentum)

    def key(self, x: Any) -> Any:
        return self.target[1](self.target[0](x)).detach()


class MoCo(WithTarget):
    def forward(self, x0: Any, x1: Any) -> Any:
        self.follow()
        return self.criterion(self.head(self.encoder(x0)), self.key(x1))


class BYOL(WithTarget):
    def __init__(self, encoder: nn.Module, head: nn.Module, criterion: nn.Module, predictor: nn.Module, **more: Any):
        super().__init__(encoder, head, criterion, **more)
        self.predictor = predictor

    def forward(self, x0: Any, x1: Any) -> Any:
        self.follow()
        p0, z0 = self.predictor(self.head(self.encoder(x0))), self.key(x0)
        p1, z1 = self.predictor(self.head(self.encoder(x1))), self.key(x1)
        return 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))


def model_of(method: str, recipe: Recipe) -> nn.Module:
    """A method as lightly's example composes it."""
    encoder, numbers = initialised(convnet(WIDTHS, first_stride=FIRST_STRIDE)), recipe.numbers
    sizes = (WIDTHS[-1], recipe.head[0], recipe.head[-1])
    if method == 'simclr':
        return Siamese(encoder, modules.SimCLRProjectionHead(*sizes), NTXentLoss(temperature=numbers['temperature']))
    if method == 'barlow_twins':
        criterion = BarlowTwinsLoss(lambda_param=numbers['lambd'])
        return Siamese(encoder, modules.BarlowTwinsProjectionHead(*sizes), criterion)
    if method == 'vicreg':
        names = ('invariance_weight', 'variance_weight', 'covariance_weight')
        criterion = VICRegLoss(*(numbers[name] for name in names))
        return Siamese(encoder, VICRegProjectionHead(*sizes, num_layers=len(recipe.head)), criterion)
    if method == 'moco_v2':
        criterion = NTXentLoss(numbers['temperature'], memory_bank_size=(numbers['queue'], sizes[-1]))
        return MoCo(encoder, modules.MoCoProjectionHead(*sizes), criterion, momentum=numbers['momentum'])
    predictor = modules.BYOLPredictionHead(sizes[-1], recipe.predictor[0], recipe.predictor[-1])
    head = modules.BYOLProjectionHead(*sizes)
    return BYOL(encoder, head, NegativeCosineSimilarity(), predictor, momentum=numbers['momentum'])


class Lightly:
    """A plain PyTorch loop."""

    def __init__(self, job: Job):
        torch.set_num_threads(job.threads)
        torch.manual_seed(job.seed)
        np.random.seed(job.seed)  # noqa: NPY002  lightly's solarisation draws from it
        recipe = RECIPES[job.method]
        method = recipe.method or job.method
        with np.load(job.data) as data:
            pictures = Pictures(data['train'])
        dataset = LightlyDataset.from_torch_dataset(pictures, transform=transform_of(method, recipe))
        # No workers: neither half has more than its thread, and the images lie in memory.
        self.loader = torch.utils.data.DataLoader(
            dataset, batch_size=job.batch, shuffle=True, drop_last=True, collate_fn=MultiViewCollate(), num_workers=0
        )
        self.model = model_of(method, recipe).train()
        trained = [p for p in self.model.parameters() if p.requires_grad]
        groups = [
            {'params': [p for p in trained if p.ndim > 1], 'weight_decay': WEIGHT_DECAY},
            {'params': [p for p in trained if p.ndim <= 1], 'weight_decay': 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS)
        steps = job.epochs * len(self.loader)
        warmup = min(WARMUP_EPOCHS, job.epochs) * len(self.loader)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: rate_share(step, steps=steps, warmup=warmup)
        )

    def about(self) -> dict[str, str]:
        import torchvision

        return {'torch': torch.__version__, 'torchvision': torchvision.__version__, 'lightly': lightly.__version__}

    def _step(self, x0: Any, x1: Any) -> Any:
        loss = self.model(x0, x1)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        return loss.detach()

    def epoch(self) -> float:
        total = torch.zeros(())
        for (x0, x1), _, _ in self.loader:
            total += self._step(x0, x1)
        return float(total) / len(self.loader)

    def steps(self, file: str, count: int) -> list[float]:
        """Losses of the steps that our half took: from its initial weights, with its views."""
        model = self.model
        networks = {'encoder': model.encoder, 'projector': model.head}
        if isinstance(model, WithTarget):
            networks |= {'target_encoder': model.target[0], 'target_projector': model.target[1]}
        if isinstance(model, BYOL):
            networks['predictor'] = model.predictor
        with np.load(file) as found, torch.no_grad():
            for name, network in networks.items():
                arrays = [torch.from_numpy(found[key]) for key in found.files if key.rpartition('_')[0] == name]
                for parameter, array in zip(network.parameters(), arrays, strict=True):
                    if parameter.shape != array.shape:
                        raise ValueError(f'{name}: {[*parameter.shape]} here and {[*array.shape]} in ours')
                    parameter.copy_(array)
            if 'queue' in found:
                model.criterion.memory_bank.bank.copy_(torch.from_numpy(found['queue']))
            views = [[torch.from_numpy(found[f'views_{step}_{n}']) for n in range(2)] for step in range(count)]
        return [float(self._step(*pair)) for pair in views]

    @torch.no_grad()
    def features(self, images: np.ndarray) -> np.ndarray:
        encoder = self.model.encoder.eval()
        mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (MEAN, STD))
        found = []
        for start in range(0, len(images), ENCODED_AT_ONCE):
            rows = torch.from_numpy(images[start : start + ENCODED_AT_ONCE]).permute(0, 3, 1, 2).float() / 255
            found.append(encoder((rows - mean) / std).numpy())
        encoder.train()
        return np.concatenate(found)


if __name__ == '__main__':
    serve(Lightly)
