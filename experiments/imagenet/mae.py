"""MAE on ImageNet with ViT-B/16, the paper's recipe (800 epochs, batch 4096).

    python -m selfsup.train --config=experiments/imagenet/mae.py --workdir=runs/imagenet/mae

Hardware, time, result: not run yet; 4096 images of 224x224 need several devices. The authors' linear probe of the class
token after 1600 epochs is 67.8 (their README), after 800 epochs 65.1 (mmpretrain); this config pools the mean of the
patch tokens, `model.pool='token'` gives theirs. Crops are taken from the full image, as in the paper.
"""

from common import imagenet


def get_config():
    c = imagenet('mae', batch_size=4096, epochs=800)
    c.method.ratio = 0.75  # 49 of 196 patches are seen
    c.method.normalize = True
    c.model.name = 'vit_b'
    c.model.patch = 16
    c.model.positions = 'sincos'
    c.model.pool = 'mean'
    c.model.init_kernels = 'xavier'
    c.decoder.kind = 'transformer'
    c.decoder.dim = 512
    c.decoder.depth = 8
    c.decoder.heads = 16

    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.augment.recipe = 'mae'

    c.optimizer.learning_rate = 2.4e-3  # 1.5e-4 x 4096 / 256
    c.optimizer.beta2 = 0.95
    c.optimizer.weight_decay = 0.05
    c.optimizer.warmup_epochs = 40.0
    return c
