"""MAE on ImageNet with ViT-B/16, the paper's recipe (800 epochs, batch 4096).

    python -m selfsup.train --config=experiments/imagenet/mae.py --workdir=runs/imagenet/mae

Hardware, time, result: not run yet; 4096 images of 224x224 need several devices. The authors' linear probe of the class
token after 1600 epochs is 67.8 (their README), after 800 epochs 65.1 (mmpretrain); this config pools the mean of the
patch tokens, `model.pool='token'` gives theirs. Crops are taken from the full image, as in the paper.
"""

from common import mae


def get_config():
    return mae('vit_b')
