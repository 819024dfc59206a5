"""An encoder that is fed with mask tokens keeps dimensions for them, which real tokens do not use."""

import jax
import jax.numpy as jnp
import numpy as np
from selfsup import diagnostics, evals

from .. import table, trained
from .finding import Finding, lines

EPOCHS, LABELS, DEPTH, HIDDEN_SHARE = 40, 10, 3, 0.5
KINDS = {'with': True, 'without': False}  # mask tokens in the encoder
LAYERS = range(DEPTH + 1)  # what enters the first block, and the blocks


def ranks(tokens: np.ndarray, counted: np.ndarray | None = None) -> tuple[float, float]:
    """Directions that hold 90 % of the energy of tokens `[images, places, dim]`, and their effective rank."""
    rows = tokens.reshape(-1, tokens.shape[2]) if counted is None else tokens[counted]
    return float(diagnostics.token_rank(rows[None])), float(diagnostics.effective_rank(jnp.asarray(rows)))


def by_layer(found: trained.Trained, seed: int, mask_tokens: bool) -> dict[str, float]:
    """Ranks of tokens of whole test images, and of the same with half of their patches hidden, for every layer."""
    from selfsup.engine import layers

    module, given, prepare = layers.network(found.encoder)
    images = prepare(found.run.data.test.images())
    places = (images.shape[1] // module.patch) * (images.shape[2] // module.patch)
    order = np.argsort(np.random.default_rng(seed).random((len(images), places)), axis=1)
    hidden = order < HIDDEN_SHARE * places
    keep = np.sort(np.argsort(hidden, axis=1, kind='stable')[:, : int((~hidden[0]).sum())], axis=1)

    def tokens(**how) -> list[np.ndarray]:
        run = jax.jit(lambda x: module.apply(given, x, method='tokens', blocks=DEPTH + 1, of='block', **how))
        return [np.asarray(layer)[:, module.prefix :] for layer in run(images)]

    numbers = {}
    masked = tokens(hidden=jnp.asarray(hidden)) if mask_tokens else tokens(keep=jnp.asarray(keep))
    for layer, (whole, part) in enumerate(zip(tokens(), masked, strict=True)):
        seen = {'whole': (whole, None), 'real': (part, ~hidden) if mask_tokens else (part, None)}
        if mask_tokens:
            seen |= {'mask': (part, hidden), 'all': (part, None)}
        for name, given_tokens in seen.items():
            numbers[f'rank90_{name}_{layer}'], numbers[f'rank_{name}_{layer}'] = ranks(*given_tokens)
    return numbers


def measure(seed: int) -> dict[str, float]:
    found = {}
    for kind, mask_tokens in KINDS.items():
        fields = [f'train.epochs={EPOCHS}', f'seed={seed}', f'method.mask_tokens={mask_tokens}']
        run = trained.train(table.load('digits', 'mae', fields))
        found |= {f'{kind}_{name}': value for name, value in by_layer(run, seed, mask_tokens).items()}
        probe = evals.linear_probe(*trained.outputs(run), label_counts=(LABELS,))
        found |= {f'{kind}_probe_{LABELS}': probe[f'linear_{LABELS}'], f'{kind}_probe': probe['linear']}
    return found


def draw(found: dict[str, np.ndarray], axis) -> None:
    for name, label, style in (
        ('with_rank_whole_', 'mask tokens in the encoder: real tokens, whole images', 'o-'),
        ('with_rank_real_', '… real tokens beside mask tokens', 'o:'),
        ('with_rank_mask_', '… mask tokens', 'x--'),
        ('with_rank_all_', '… real and mask tokens', 's--'),
        ('without_rank_whole_', 'mask tokens left out: real tokens, whole images', 'o-'),
        ('without_rank_real_', '… those of half of the patches', 'o:'),
    ):
        axis.plot(
            LAYERS, lines(found, name, LAYERS), style, color='C1' if name.startswith('without') else 'C0', label=label
        )
    axis.set(xlabel='layer', ylabel='effective rank of tokens')
    axis.set_xticks(LAYERS, ['input', *(f'block {block}' for block in range(DEPTH))])
    axis.legend(fontsize=7)


def last(found: dict[str, np.ndarray], name: str) -> float:
    """Mean over the seeds at the last block."""
    return float(found[f'{name}_{DEPTH}'].mean())


finding = Finding(
    title='Mask tokens in the encoder take dimensions from real ones',
    paper='Meng et al. 2024, *Representation deficiency in masked language modeling*, '
    'https://arxiv.org/abs/2302.02060, sections 3 and 4',
    claim='An encoder that is trained with mask tokens among its inputs keeps some dimensions for them, the more the '
    'deeper the layer; inputs without mask tokens, which is what it is used on, leave these empty. One that never sees '
    'them (MAE-LM, as MAE on images) has no such loss.',
    setup=f'MAE on digits (`digits/mae`, {EPOCHS} epochs in place of 200, so that neither encoder is finished) with '
    '`method.mask_tokens=True` and without; a transformer of width 64 and '
    f'{DEPTH} blocks, half of 16 patches hidden. For every layer, of the 359 test images, the effective rank of the '
    'patch tokens (`rank_…`: exp of the entropy of the singular values, which tells more than the number of directions '
    'that hold 90 % of the energy, the measure of the paper, `rank90_…`): tokens of whole images (`whole`), and with '
    'half of the patches hidden the real ones (`real`), the mask tokens (`mask`) and both (`all`). A linear probe of '
    'the mean token of whole images.',
    measure=measure,
    asserted={
        'mask tokens gain dimensions from the first block to the last': lambda n: bool(
            last(n, 'with_rank_mask') > n['with_rank_mask_1'].mean()
        ),
        'with mask tokens, whole images use fewer dimensions of the last block than masked ones do (all tokens)': (
            lambda n: bool(last(n, 'with_rank_whole') < last(n, 'with_rank_all'))
        ),
        'real tokens of whole images use more dimensions of the last block where mask tokens are left out': (
            lambda n: bool(last(n, 'without_rank_whole') > last(n, 'with_rank_whole'))
        ),
        f'and the probe with {LABELS} labels per class is better there': lambda n: bool(
            n[f'without_probe_{LABELS}'].mean() > n[f'with_probe_{LABELS}'].mean()
        ),
    },
    reported='the ranks of every layer. Whole images have a lower rank than masked ones with either encoder, so the '
    'second sentence is no evidence of dimensions kept for mask tokens. After so few epochs the encoder with mask '
    'tokens has the higher rank and the better probe: it has learned more, and that may hide what it loses. Patches '
    'of digits also differ from words in that most are nearly empty.',
    draw=draw,
)
