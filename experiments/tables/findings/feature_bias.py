"""Features that are easy to compute take more of a representation's variance than equally learned hard ones."""

import warnings

import numpy as np
from selfsup import diagnostics
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from .finding import Finding, bars

COUNT, TESTS, WIDTHS = 4000, 2000, (128, 64)
FEATURES = {'linear': 1, 'xor': 2, 'parity': 3}  # how many bits each is the parity of
NOISE_BITS = 8


def bits(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of ±1 and the three features of disjoint bits."""
    x = rng.choice([-1.0, 1.0], size=(count, sum(FEATURES.values()) + NOISE_BITS))
    starts = np.cumsum([0, *FEATURES.values()])
    features = [x[:, a : a + n].prod(axis=1) > 0 for a, n in zip(starts, FEATURES.values(), strict=False)]
    return x, np.stack(features, axis=1).astype(int)


def hidden(model: MLPClassifier, x: np.ndarray) -> np.ndarray:
    """The last hidden layer."""
    for weights, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        x = np.maximum(x @ weights + bias, 0.0)
    return x


def measure(seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    (x, y), (x_test, y_test) = bits(rng, COUNT), bits(rng, TESTS)
    model = MLPClassifier(WIDTHS, learning_rate_init=2e-3, batch_size=200, max_iter=60, random_state=seed, tol=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)  # the number of epochs is the experiment's
        model.fit(x, y)
    ours, theirs = hidden(model, x), hidden(model, x_test)
    untrained = MLPClassifier(WIDTHS, max_iter=1, random_state=seed, learning_rate_init=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)
        untrained.fit(x, y)
    hits = (model.predict(x_test) == y_test).mean(axis=0)
    found = {f'accuracy_{name}': hit for name, hit in zip(FEATURES, hits, strict=True)}
    columns = (y.astype(np.float64), y_test.astype(np.float64))
    for kind, (a, b) in {
        'share': (ours, theirs),
        'untrained': (hidden(untrained, x), hidden(untrained, x_test)),
    }.items():
        shares = diagnostics.feature_variance_share(a, columns[0], b, columns[1])
        found |= {f'{kind}_{name}': float(share) for name, share in zip(FEATURES, shares, strict=True)}
    return found


def draw(found: dict[str, np.ndarray], axis) -> None:
    for offset, kind in ((-0.2, 'share'), (0.2, 'untrained')):
        values = [found[f'{kind}_{name}'] for name in FEATURES]
        label = 'trained' if kind == 'share' else 'before training'
        bars(axis, values, width=0.4, offset=offset, label=label)
    axis.set_xticks(range(len(FEATURES)), ['one bit', 'XOR of two', 'parity of three'])
    axis.set(ylabel='share of the variance of the last hidden layer')
    axis.legend()


finding = Finding(
    title='Easy features take more of a representation than hard ones',
    paper='Lampinen et al. 2024, *Learned feature representations are biased by complexity, learning order, '
    'position, and '
    'more*, https://arxiv.org/abs/2405.05847, section 3',
    claim='Of features that a network computes equally well, a simple one takes a much larger share of the variance of '
    'its representation than a complex one.',
    setup=f'A multilayer perceptron of widths {WIDTHS} is trained on one bit, the XOR of two and the parity of three '
    f'others, {COUNT} examples, 60 epochs; the share of the variance of its last hidden layer that each of the three '
    'explains on new examples.',
    measure=measure,
    asserted={
        'all three features are learned (above 95 % on test)': lambda n: (
            min(n[f'accuracy_{f}'].mean() for f in FEATURES) > 0.95
        ),
        'the one bit has a larger share than the XOR, and that than the parity': lambda n: (
            n['share_linear'].mean() > n['share_xor'].mean() > n['share_parity'].mean()
        ),
    },
    reported='the same shares before training, where the one bit is linear in the inputs.',
    draw=draw,
)
