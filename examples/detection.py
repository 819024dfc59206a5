"""Trains torchvision's Faster R-CNN on Pascal VOC from an encoder that selfsup exported; needs torch and torchvision.

python examples/detection.py --encoder=exports/barlow_twins --data=/data/voc --epochs=12
python examples/detection.py --encoder=exports/barlow_twins --check     # one step on random images, no data
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torchvision.datasets import VOCDetection
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d
from torchvision.transforms.functional import to_tensor

CLASSES = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
    'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
)  # fmt: skip


def detector(encoder: Path, **sizes) -> FasterRCNN:
    """A Faster R-CNN whose residual network holds the exported weights, its batch-norm as it was trained."""
    about = json.loads((encoder / 'config.json').read_text())['selfsup']
    name = about['model']['name']
    backbone = resnet_fpn_backbone(backbone_name=name, weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=3)
    backbone.body.load_state_dict(load_file(encoder / 'model.safetensors'), strict=True)
    return FasterRCNN(backbone, len(CLASSES), image_mean=about['mean'], image_std=about['std'], **sizes)


def example(image, annotation):
    """An image in [0, 1] and its boxes, as the detector wants them."""
    objects = annotation['annotation']['object']
    boxes = [[float(o['bndbox'][side]) for side in ('xmin', 'ymin', 'xmax', 'ymax')] for o in objects]
    labels = [CLASSES.index(o['name']) for o in objects]
    return to_tensor(image), {'boxes': torch.tensor(boxes), 'labels': torch.tensor(labels)}


def train(model, batches, *, epochs: int, learning_rate: float, device: str) -> None:
    """SGD with a warm-up of 500 steps and a tenth of the rate for the last quarter of the epochs."""
    model.to(device).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=learning_rate, momentum=0.9, weight_decay=1e-4)
    step = 0
    for epoch in range(epochs):
        for images, targets in batches:
            rate = learning_rate * min(1.0, (step + 1) / 500) * (0.1 if epoch >= 0.75 * epochs else 1.0)
            for group in optimizer.param_groups:
                group['lr'] = rate
            targets = [{k: v.to(device) for k, v in t.items()} for t in targets]
            loss = sum(model([x.to(device) for x in images], targets).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 50 == 0:
                print(f'epoch {epoch}, step {step}: loss {loss.item():.3f}', flush=True)
            step += 1


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--encoder', type=Path, required=True)
    parser.add_argument('--data', help='folder that holds VOCdevkit')
    parser.add_argument('--year', default='2012')
    parser.add_argument('--epochs', type=int, default=12)
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--learning-rate', type=float, default=0.01)
    parser.add_argument('--out', default='detector.pth')
    parser.add_argument('--check', action='store_true')
    asked = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if asked.check:
        target = {'boxes': torch.tensor([[20.0, 30.0, 90.0, 110.0]]), 'labels': torch.tensor([7])}
        train(
            detector(asked.encoder, min_size=160, max_size=240),
            [([torch.rand(3, 160, 200)], [target])],
            epochs=1,
            learning_rate=asked.learning_rate,
            device=device,
        )
    else:
        source = VOCDetection(asked.data, year=asked.year, image_set='train', transforms=example)
        loader = torch.utils.data.DataLoader(
            source,
            asked.batch_size,
            shuffle=True,
            num_workers=4,
            collate_fn=lambda rows: tuple(zip(*rows, strict=True)),
        )
        model = detector(asked.encoder)
        train(model, loader, epochs=asked.epochs, learning_rate=asked.learning_rate, device=device)
        torch.save(model.state_dict(), asked.out)
