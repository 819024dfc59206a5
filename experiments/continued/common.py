"""What the configs of this folder share: a run that starts with the encoder of another one, at a constant rate."""

from ml_collections import ConfigDict
from selfsup.config import defaults


def continued(method: str, run: str, learning_rate: float, epochs: int) -> ConfigDict:
    """A constant learning rate without warm-up, from the encoder of the run in a workdir."""
    c = defaults()
    c.method.name = method
    c.init_from = run
    c.optimizer.learning_rate = learning_rate
    c.optimizer.schedule = 'constant'
    c.optimizer.warmup_epochs = 0.0
    c.train.epochs = epochs
    return c


def digits(c: ConfigDict) -> ConfigDict:
    """The data and the network of experiments/digits."""
    c.model.name = 'convnet'
    c.data.source = 'digits'
    c.data.pad = 2
    return c


def cifar10(c: ConfigDict) -> ConfigDict:
    """The data of experiments/cifar10 in its colours."""
    c.data.source = 'tfds:cifar10'
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)
    return c
