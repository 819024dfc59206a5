"""The numbers of `selfsup evaluate`: which there are, which an encoder has, and how each is asked for."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .. import augment, evals
from ..errors import UserError, nearest
from ..evals.suite import DEFAULT, EVALUATIONS
from . import (
    assignments,
    build,
    dictionary_evals,
    factor_evals,
    gradient_evals,
    images,
    inside_evals,
    patch_evals,
    patches,
    view_evals,
)

OF_IMAGES = ('online', 'fine_tune')  # evaluations that pass images through the encoder as they learn
OF_TOKENS = ('tokens', 'attentive', 'rollout', 'gradients')  # that read tokens of patches
OF_TWO = ('relative', 'memorisation')  # that compare with another encoder
OF_SEVERAL = ('concatenated',)  # that join one or more others
WITH_OTHERS = (*OF_TWO, *OF_SEVERAL)
OF_ENCODER = (
    *OF_IMAGES,
    *OF_TOKENS,
    'dense',
    'dse',
    'dictionary',
    'views',
    'composition',
    'memorisation',
    'factors',
    'concepts',
)  # that need more than features


def chosen(text: str, *, images: bool, others: int = 0) -> tuple[str, ...]:
    """The evaluations of --only, where --with names so many other encoders."""
    known = (*EVALUATIONS, 'feet', 'relative', *OF_SEVERAL, *(OF_ENCODER if images else ()))
    if text in ('all', 'default'):
        absent = () if others == 1 else OF_TWO if others else WITH_OTHERS
        known = tuple(name for name in known if name not in absent)
    names = known if text == 'all' else DEFAULT if text == 'default' else tuple(text.split(','))
    for name in names:
        if name in OF_ENCODER and not images:
            raise UserError(f'--only={name} passes images through an encoder; it needs --workdir, not --features')
        if name not in known:
            raise UserError(f'--only: {name!r} is no evaluation{nearest(name, known)}')
        if name in OF_TWO and others != 1:
            hint = 'name the other by --with' if not others else f'--with names {others}'
            raise UserError(f'--only={name} compares two encoders; {hint}')
        if name in OF_SEVERAL and not others:
            raise UserError(f'--only={name} joins several encoders; name the others by --with=A,B')
    if others and not set(names) & set(WITH_OTHERS):
        raise UserError(f'--with is read by --only={" and --only=".join(WITH_OTHERS)}, and not by {",".join(names)}')
    return names


def possible(trained: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that an encoder has: less those that read tokens, codes, views or an operator that it lacks."""
    has = {
        OF_TOKENS: patches.has_tokens(trained),
        ('dictionary',): dictionary_evals.is_dictionary(trained),
        ('views',): view_evals.has_views(trained),
        ('composition',): view_evals.has_operator(trained),
    }
    absent = {name for group, there in has.items() if not there for name in group}
    return tuple(name for name in names if name not in absent)


def taken(name: str, compute: Callable[[], dict[str, float]], every: bool) -> dict[str, float]:
    """What `compute` gives; where `every` evaluation was asked for, one that the data do not allow is left out."""
    try:
        return compute()
    except UserError as error:
        if not every:
            raise
        print(f'{name} is left out: {error}', flush=True)
        return {}


def of_features(
    train: Any,
    test: Any,
    names: Sequence[str],
    fine_tuned: float | None = None,
    others: Sequence[Any] = (),
    *,
    every: bool = False,
) -> dict[str, float]:
    """The numbers that need features alone.

    Args:
      train, test: features and labels.
      names: which numbers; those of images are passed over.
      fine_tuned: accuracy after fine-tuning, for `feet`.
      others: train and test of each other encoder, for `relative` and `concatenated`.
      every: see :func:`taken`.
    """

    def of(name: str) -> dict[str, float]:
        if name == 'feet':
            return evals.feet(train, test, fine_tuned=fine_tuned)
        if name == 'relative':
            return evals.relative(*(evals.labelled(part) for part in (train, test, *others[0])))
        if name == 'concatenated':
            return evals.concatenated([(train, test), *others])
        return evals.evaluate(train, test, only=(name,))

    results: dict[str, float] = {}
    for name in names:
        if name not in OF_ENCODER:
            results |= taken(name, functools.partial(of, name), every)
    return results


def of_encoder(
    trained: Any,
    data: Any,
    names: Sequence[str],
    others: Sequence[Any] = (),
    *,
    every: bool = False,
    parents: str = '',
    tap: str = '',
) -> dict[str, float]:
    """The numbers of an encoder on labelled data: those that learn from images, of its features, of its patches.

    Args:
      trained: the encoder.
      data: the sources `train` and `test`, by name.
      names: which numbers.
      others: other encoders, one for those that compare two.
      every: leaves out, with a line, what the data do not allow; see :func:`taken`.
      parents: of the classes, for a dictionary; see :func:`.dictionary_evals.of_dictionary`.
      tap: of the network, for concepts; see :func:`.inside_evals.of_concepts`.
    """
    results: dict[str, float] = {}
    if asked := [name for name in OF_IMAGES if name in names]:
        results |= taken(','.join(asked), functools.partial(of_images, trained, data, asked), every)
    if set(names) - set(OF_ENCODER):

        def features(encoder: Any) -> tuple[Any, Any]:
            return images.features(encoder, data['train']), images.features(encoder, data['test'])

        pairs = [features(other) for other in others] if {'relative', *OF_SEVERAL} & set(names) else []
        results |= of_features(*features(trained), names, results.get('fine_tuned'), pairs, every=every)
    clusters = assignments.of_assignments if assignments.has_clusters(trained) else lambda *_: {}
    groups: dict[str, Callable[[], dict[str, float]]] = {
        'clustering': lambda: clusters(trained, data),
        'views': lambda: view_evals.of_views(trained, data),
        'composition': lambda: view_evals.of_composition(trained, data),
        'memorisation': lambda: view_evals.of_memorisation(trained, *others),
        **{name: functools.partial(of, trained, data) for name, of in patch_evals.PATCH_EVALUATIONS.items()},
        'factors': lambda: factor_evals.of_factors(trained, data),
        'gradients': lambda: gradient_evals.of_gradients(trained, data),
        'rollout': lambda: inside_evals.of_rollout(trained, data),
        'concepts': lambda: inside_evals.of_concepts(trained, data, tap),
        'dictionary': lambda: dictionary_evals.of_dictionary(trained, data, parents),
    }
    for name, compute in groups.items():
        if name in names:
            results |= taken(name, compute, every)
    return results


def of_images(trained: Any, data: Any, names: Sequence[str]) -> dict[str, float]:
    """The numbers that learn from labelled images, which are decoded as they are needed; see :func:`of_encoder`."""
    for part in data.values():
        if not part.spec.is_image:
            raise UserError(
                f'--only={",".join(set(names) & set(OF_IMAGES))} learns from crops of images, and {part.name} holds '
                f'{part.spec.unit} {list(part.spec.shape)}; take another number'
            )
        if not (part.labels >= 0).any():
            raise UserError(f'--only={",".join(names)}: {part.name} has no labels')
    shown = [evals.Features(*images.labelled_images(data[part])) for part in ('train', 'test')]
    prepare = build.build_preparation(trained.config)
    side = min(prepare(shown[0].features[:1]).shape[1:3])
    # The papers' augmentation of linear evaluation: random resized crop and flip, nothing else.
    crop = {'size': side, 'crop': {'scale': (0.08, 1.0), 'ratio': (3 / 4, 4 / 3), 'method': 'bicubic'}, 'flip': 0.5}
    views = augment.make_views({'only': crop}, mean=trained.config.augment.mean, std=trained.config.augment.std)

    results: dict[str, float] = {}
    common = {'augment': views, 'prepare': prepare}
    if 'online' in names:
        results |= evals.linear_online(
            *shown, encode=functools.partial(trained.encode, trained.evaluated['params']), **common
        )
    if 'fine_tune' in names:
        results |= evals.fine_tune(*shown, encode=trained.encode, params=trained.evaluated['params'], **common)
    return results


def evaluated_parts(config: Any, spec: str | None) -> dict[str, Any]:
    """The sources `train` and `test` of a run's own data, or of others, which need not be enough to train on."""
    if spec is None:
        data = build.open_data(config)
        return {'train': data.labelled, 'test': data.test}
    return images.open_train_and_test(config, spec)
