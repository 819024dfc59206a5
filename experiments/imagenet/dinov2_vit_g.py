"""DINOv2's long recipe on ImageNet with ViT-g/14 (625,000 steps, batch 3072), its state spread over all devices.

    python -m selfsup.train --config=experiments/imagenet/dinov2_vit_g.py --dry-run --on=h100:8
    python -m selfsup.train --config=experiments/imagenet/dinov2_vit_g.py --workdir=runs/imagenet/dinov2_vit_g

Hardware, time, result: not run yet; docs/hardware.md has its state and a plan of this network. Differences from the
authors' run (linear 86.5 on ImageNet): their images are LVD-142M, which is not public; their network has 1536 features
and gated MLPs, this one is Zhai et al.'s ViT-g of 1408; four registers, which their second paper adds.
"""

from common import dinov2


def get_config():
    c = dinov2('vit_g', batch_size=3072, epochs=1516)  # of 412 steps
    c.model.patch = 14
    c.model.drop_path = 0.4
    c.model.remat = True
    c.method.prototypes = 131072
    c.method.patch_head = 'own'
    c.method.momentum = 0.994
    c.projector.widths = (2048, 2048, 384)
    c.parallel.shard = 'fsdp'

    c.augment.recipe = 'dinov2_14'

    c.optimizer.learning_rate = 3.46e-4  # 2e-4 x sqrt(3072 / 1024)
    c.optimizer.weight_decay_final = 0.2
    c.optimizer.warmup_epochs = 242.0  # 100,000 steps
    return c
