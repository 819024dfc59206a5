"""Mutations of valid configs and command lines."""

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_lines import EXTREMES, WRONG, misspelt, mutated_line, valid_lines
from fuzz_outcome import ROOT, attempt, building_only
from fuzz_table import Outcome
from selfsup import config, signature
from selfsup.augment.recipes import RECIPES
from selfsup.config.domains import field_domains
from selfsup.config.fields import flatten
from selfsup.errors import UserError
from selfsup.methods import METHODS
from selfsup.models import ENCODERS, NETWORKS
from selfsup.optim import OPTIMIZERS
from selfsup.signature import Domain

FILES = sorted(
    f.relative_to(ROOT)
    for f in (ROOT / 'experiments').glob('*/*.py')
    if f.parent.name != 'tables' and f.name[0] != '_' and f.stem != 'common'
)
# What only a file can set.
OBJECTS = (
    'float("nan")', 'float("inf")', 'None', 'object()', 'lambda x: x', '{1}', 'b"x"', '1j', '{}', '[]', '[1, [2]]',
    'ConfigDict()', 'ConfigDict({"a": 1})', '"text"', 'True', '(1, None)', '10**40', '-1', '0', '0.0', '""', '()',
    '__import__("numpy").float32(1)', '__import__("numpy").zeros(3)', '__import__("pathlib").Path("x")', 'int',
    'range(3)',
)  # fmt: skip
DELETED = ('data', 'seed', 'method', 'model', 'augment.views', 'data.source', 'method.name')
# Text of a config file -> what stands in its place, one of which is drawn.
REPLACED = {
    'def get_config(': ('def config(', 'def get_confg(', 'async def get_config(', 'class get_config('),
    'get_config():': ('get_config(x):', 'get_config()', 'get_config(*, a):'),
    'c = ': ('c = None  # ', 'c = print  # ', 'c = {}  # ', 'c = __import__("ml_collections").ConfigDict()  # '),
    'from common': ('from comon', 'import', 'from .common'),
    'return c': (
        'pass', 'return None', 'return {}', 'return get_config()', 'return c, c', 'raise OSError("x")',
        'c.extra = 1; return c', 'c.data.extra = 1; return c', 'c.method.extra = 1; return c',
        'c.model.extra = 1; return c',
        'c.method = __import__("ml_collections").ConfigDict(); return c', *(f'del c.{d}; return c' for d in DELETED),
    ),
}  # fmt: skip
ENDS = ('raise ValueError("a\\nb")', 'raise SystemExit', 'raise SystemExit(3)', 'raise KeyError', 'raise Exception()')


def _replaced(text: str, r: random.Random) -> str:
    old = r.choice(list(REPLACED))
    return text.replace(old, r.choice(REPLACED[old]))


DAMAGES: tuple[Callable[[str, random.Random], str], ...] = (
    _replaced,
    _replaced,
    lambda text, r: text[: r.randrange(len(text))],
    lambda text, r: '\n'.join(line for line in text.splitlines() if r.random() < 0.8),
    lambda text, r: f'{text}\n{r.choice(ENDS)}\n',
    lambda text, r: ''.join(chr(r.randrange(256)) if r.random() < 0.05 else c for c in text),
    lambda text, r: r.choice(('', '\0' + text)),
)
CHEAP = (
    'data.batch_size=16', 'train.epochs=2', 'optimizer.warmup_epochs=1', 'evaluate.label_draws=1', 'data.workers=0',
    'data.per_class=0', 'train.steps_per_call=1', 'data.holdout=0.3',
)  # fmt: skip
# Keywords of methods that a batch of 16 small images and one block of a transformer need; where there are several
# numbers, one of them.
SMALLER = {
    'queue': 32, 'groups': 4, 'block': 16, 'prototypes': 8, 'local_widths': (8, 8), 'matches': (2, 2), 'layers': 1,
    'context': 4, 'least': 2, 'length': 1, 'masks': 2, 'ahead': 1, 'clusters': 8, 'koleo_groups': 2, 'dims': 4,
    'hardest': 16, 'shares': (0.25, 0.75), 'column_groups': 4, 'mixing': 16, 'superclusters': 1, 'neighbours': 4,
    'local': 2,
}  # fmt: skip


# Sizes of encoders and of the other networks; an encoder keeps the number of its layers, which decides its map.
SMALL_MODEL = {'width': 4, 'dim': 16, 'depth': 1, 'heads': 2}
SMALL_NETWORK = {'widths': (16, 8), 'dim': 16, 'depth': 1, 'heads': 2, 'channel_groups': 4}
SIDE = 28  # of images and views; its 3/7, of local views, is divided by patches of 4 as well
SOURCES = {'digits': 'npz:{}/grey.npz', 'vectors': 'vectors:digits'}  # family -> data; others have small colour images


@functools.cache
def small(file: Path, material: Path) -> tuple[str, ...]:
    """Overrides that make a config cheap and keep its recipe."""
    family, resolved = file.parts[1], config.load(str(ROOT / file))
    fields = [*CHEAP, f'data.source={SOURCES.get(family, "npz:{}/tiny.npz").format(material)}']
    fields += [f'model.{name}={value}' for name, value in SMALL_MODEL.items() if name in resolved.model]
    fields += [f'model.{name}={(1,) * len(resolved.model[name])}' for name in ('stages',) if name in resolved.model]
    if 'widths' in resolved.model:
        fields += [f'model.widths={(*[4] * (len(resolved.model.widths) - 1), 8)}']
    fields += [f'model.patch={min(resolved.model.patch, 4)}'] if 'patch' in resolved.model else []
    networks = signature.networks(METHODS[resolved.method.name])
    for section in networks:
        known = resolved[section] if section != 'encoder' else {}
        fields += [f'{section}.{name}={value}' for name, value in SMALL_NETWORK.items() if name in known]
        # Without a projector its last width is the number of answers.
        if section == 'predictor' and 'projector' not in networks and 'widths' in known:
            fields += [f'predictor.widths={(16, known.widths[-1])}']
    if resolved.data.image_size:
        fields += [f'data.image_size={SIDE}', f'augment.size={SIDE}', f'augment.evaluation_crop={SIDE}']
        fields += [f'augment.evaluation_resize={SIDE}'] if resolved.augment.evaluation_resize else []
    for name, value in SMALLER.items():
        if given := resolved.method.get(name):
            several = isinstance(given, tuple) and not isinstance(value, tuple)
            fields += [f'method.{name}={(value,) if several else value}']
    fields += ['method.regularisers.ldreg.neighbours=8'] if 'ldreg' in resolved.method.get('regularisers', {}) else []
    groups = resolved.optimizer.groups.items()
    fields += [f'optimizer.groups.{group}.freeze_steps=0' for group, values in groups if 'freeze_steps' in values]
    return tuple(fields)


@functools.cache
def fields_of(file: Path, material: Path) -> dict[str, Any]:
    """Every field of a small config with its value."""
    return flatten(config.load(str(ROOT / file), list(small(file, material))))


def typo(fields: dict[str, Any], r: random.Random) -> list[str]:
    """A field that is none."""
    field = r.choice(list(fields))
    return [f'--config.{misspelt(field, r)}={fields[field]}']


def wrong_type(fields: dict[str, Any], r: random.Random) -> list[str]:
    """A value of another kind."""
    return [f'--config.{r.choice(list(fields))}={r.choice(WRONG)}']


def domains_of(fields: dict[str, Any]) -> dict[str, Domain]:
    """The domain of each field of a config that has one."""
    found = field_domains()
    tables = {'method.name': METHODS, 'model.name': ENCODERS, **{f: NETWORKS for f in fields if f.endswith('.kind')}}
    for field, table in tables.items():
        section = field.partition('.')[0]
        found |= {f'{section}.{name}': d for name, d in signature.domains(table[fields[field]]).items()}
    return {f: found.get(f) or found[f.removesuffix('_final')] for f in fields if f.removesuffix('_final') in found}


def inside(domain: Domain, r: random.Random) -> Any:
    """A value of a domain, often at its border; unbounded numbers stay small enough to build."""
    if domain.choices:
        return r.choice(domain.choices)
    if domain.several:
        one = domain._replace(several=False, optional=False)
        return tuple(inside(one, r) for _ in range(domain.length or r.randint(0 if domain.optional else 1, 3)))
    if domain.optional and r.random() < 0.2:
        return None
    low, high = max(domain.least, domain.above), min(domain.most, domain.below)
    low, high = (-8 if low < -8 else low), (low + 64 if high > 256 else high)
    if domain.kind is int:
        return r.choice((low, low + 1, r.randint(low, high), high))
    drawn = r.choice((low, low + (high - low) * 2.0**-20, r.uniform(low, high), high))
    return drawn if domain.holds(drawn) else (low + high) / 2


def outside(domain: Domain, r: random.Random) -> Any:
    """A value of the right kind beyond a border of a domain; None where it has no border."""
    if domain.choices:
        value = r.choice(domain.choices) if isinstance(domain.choices[0], str) else max(domain.choices) + 1
        while domain.holds(value):  # exchanging two letters may leave a word as it was
            value = misspelt(value, r)
        return value
    if domain.several:
        wrong = outside(domain._replace(several=False, optional=False), r)
        return None if wrong is None else (*inside(domain._replace(optional=False), r)[1:], wrong)
    step = 1 if domain.kind is int else 0.5
    beyond = (domain.least - step, domain.above, domain.most + step, domain.below)
    known = [v for v in beyond if abs(v) < 2**31 and not domain.holds(v)]
    return r.choice(known) if known else None


def in_a_domain(fields: dict[str, Any], r: random.Random) -> list[str]:
    """A value of the field's domain."""
    known = domains_of(fields)
    field = r.choice(list(known))
    return [f'--config.{field}={inside(known[field], r)}']


def out_of_a_domain(fields: dict[str, Any], r: random.Random) -> list[str]:
    """A value beyond the field's domain: refused whatever the rest is."""
    known = [(field, outside(domain, r)) for field, domain in domains_of(fields).items()]
    field, value = r.choice([(field, value) for field, value in known if value is not None])
    return [f'--config.{field}={value}']


def extreme(fields: dict[str, Any], r: random.Random) -> list[str]:
    """A number at the edge, or nothing."""
    known = [f for f, v in fields.items() if not isinstance(v, (str, bool))]
    return [f'--config.{r.choice(known)}={r.choice(EXTREMES)}']


def scaled(fields: dict[str, Any], r: random.Random) -> list[str]:
    """A number times some power of two: often valid."""
    known = [f for f, v in fields.items() if isinstance(v, (int, float)) and not isinstance(v, bool)]
    field = r.choice(known)
    factor = r.choice((0.25, 0.5, 2, 4))
    value = fields[field] * factor
    return [f'--config.{field}={round(value) if isinstance(fields[field], int) else value}']


def swapped(fields: dict[str, Any], r: random.Random) -> list[str]:
    """The values of two fields exchanged."""
    one = r.choice(list(fields))
    like = [f for f, v in fields.items() if type(v) is type(fields[one])]
    other = r.choice(like if r.random() < 0.7 else list(fields))
    return [f'--config.{one}={fields[other]}', f'--config.{other}={fields[one]}']


# Names of tables, and sizes that a small config can have; other fields are drawn from their domains.
CHOICES: dict[str, tuple[Any, ...]] = {
    'method.name': tuple(METHODS), 'model.name': tuple(ENCODERS), 'augment.recipe': (*RECIPES, ''),
    'optimizer.name': tuple(OPTIMIZERS),
    'data.image_size': (0, 1, 8, 16, 33), 'data.pad': (0, 1, 20), 'augment.size': (1, 2, 8, 16, 32),
    'augment.mean': ('(0.5,)', '(0.1, 0.2)', '(0.5, 0.5, 0.5)', '()'),
    'augment.std': ('(0.5,)', '(0.0,)', '(0.1, 0.1, 0.1)', '(-1.0,)'),
    'augment.evaluation_crop': (0, 4, 16, 100), 'augment.evaluation_resize': (0, 1, 24),
    'projector.widths': ('(8,)', '(1,)', '(16, 16, 16)', '(33,)'),
    'predictor.widths': ('()', '(8,)', '(1,)', '(16, 16, 16)'),
    'checkpoint.best': ('alignment', 'rank', 'probe_accuracy', 'lidar'), 'data.batch_size': (2, 3, 8, 17, 30),
    'monitor.measures': ("('lidar',)", "('alpha_req', 'nesum')", '()', "('two_nn', 'lid_mle')", "('rankme', 'rankme')"),
    'data.per_class': (1, 2, 4), 'data.workers': (1,), 'train.epochs': (1, 1000),
    'method.queue': (0, 16, 64), 'method.groups': (1, 2, 8), 'model.patch': (1, 2, 4, 16),
    'model.stages': ('(1,)', '(1, 1, 1, 1)', '()'), 'method.fuse_views': (True, False),
    'method.regularisers.ldreg.neighbours': (2, 8, 1000), 'method.regularisers.koleo.groups': (1, 3),
    'method.regularisers.matryoshka.widths': ('(4,)', '(4, 8)'), 'method.regularisers.e2mc.squash': ('sigmoid', 'tanh'),
    'schedules.temperature': (0.5, 0, 'None'), 'parallel.shard': ('fsdp', 'fsdp', 'replicated'),
    'parallel.fsdp_least_bytes': (0, 64, 4096), 'data.probe_source': ('', 'digits', 'vectors:digits'),
}  # fmt: skip


def combination(fields: dict[str, Any], r: random.Random) -> list[str]:
    """Two to five choices that each make sense."""
    domains = {f: d for f, d in domains_of(fields).items() if f not in CHOICES}
    open_groups = ('model.', 'method.', 'schedules.')
    known = [f for f in CHOICES if f in fields or (f.startswith(open_groups) and r.random() < 0.2)]
    known += [f for f, domain in domains.items() if domain.choices or r.random() < 0.1]
    known += [f for f, value in fields.items() if isinstance(value, bool) and r.random() < 0.3]
    moved = {f'schedules.{n}': d for n, d in signature.schedulable(METHODS[fields['method.name']]).items()}
    known += [f for f in moved if f not in known and r.random() < 0.1]
    domains |= moved
    drawn = r.sample(known, r.randint(2, 5))
    values = {f: CHOICES.get(f) or ((True, False) if isinstance(fields.get(f), bool) else ()) for f in drawn}
    return [f'--config.{f}={r.choice(known) if known else inside(domains[f], r)}' for f, known in values.items()]


OUTSIDE = 'value outside the domain'
MUTATIONS: dict[str, Callable[[dict[str, Any], random.Random], list[str]]] = {
    'field misspelt': typo,
    'wrong type': wrong_type,
    'extreme value': extreme,
    'value of the domain': in_a_domain,
    OUTSIDE: out_of_a_domain,
    'scaled value': scaled,
    'values swapped': swapped,
    'combination of choices': combination,
}


def set_in_file(file: Path, fields: dict[str, Any], folder: Path, r: random.Random) -> Path:
    """A config file that sets fields to whatever Python can express."""
    groups = sorted({f.rsplit('.', n)[0] for f in fields for n in (1, 2) if '.' in f})
    lines = []
    for _ in range(r.randint(1, 2)):
        field = r.choice(list(fields)) if r.random() < 0.8 else r.choice(groups)
        lines.append(f'c.{field} = {r.choice(OBJECTS)}')
    text = (
        f'from ml_collections import ConfigDict\nfrom selfsup.config import load\n'
        f'def get_config():\n    c = load({str(ROOT / file)!r}, {list(small(file, folder.parent))!r})\n'
        f'    with c.unlocked(), c.ignore_type():\n' + ''.join(f'        {line}\n' for line in lines) + '    return c\n'
    )
    out = folder / 'set.py'
    out.write_text(text)
    return out


def damaged_file(file: Path, folder: Path, r: random.Random) -> Path:
    """The file's text, broken."""
    out, common = folder / 'damaged.py', ROOT / file.parent / 'common.py'
    if common.is_file():
        (folder / 'common.py').write_bytes(common.read_bytes())
    out.write_bytes(
        r.choice(DAMAGES)((ROOT / file).read_text(), r).encode('utf-8' if r.random() < 0.7 else 'latin1', 'replace')
    )
    return out


def trial(seed: int, number: int, material: Path, folder: Path, *, cheap: bool = False) -> Outcome:
    """One mutation, tried in a folder of its own below the material; if cheap, of `train` and never really run."""
    r = random.Random(f'configs {seed} {number}')
    file = FILES[number % len(FILES)]
    apart = number % 50 == 7
    if r.random() < 0.3 and not cheap:
        name, line = r.choice(list(valid_lines(material, folder).items()))
        command, line = name.split()[0], mutated_line(line, material, r)
        kind, real = f'command line of {command}', command != 'train'
        apart = apart and command != 'train'
    else:
        command, real = 'train', r.random() < 0.08
        fields = fields_of(file, material)
        kind = r.choice([*MUTATIONS, *MUTATIONS, 'set in a file', 'config file damaged'])
        line = [f'--config={ROOT / file}', f'--workdir={folder}/run', *(f'--config.{o}' for o in small(file, material))]
        if kind in MUTATIONS:
            line += MUTATIONS[kind](fields, r)
            apart = apart and kind in ('field misspelt', 'wrong type')
        else:
            made = (
                damaged_file(file, folder, r) if kind == 'config file damaged' else set_in_file(file, fields, folder, r)
            )
            line[0] = f'--config={made}'
        # What is really run must be short, and above all compile fast.
        real = (
            real
            and file.parts[1] in ('digits', 'cifar5k')
            and not any(word in ' '.join(line[-3:]) for word in ('epochs', 'resnet', 'vit'))
        )
    reproduce = f'python -m selfsup.{command} {" ".join(map(repr, line))}'
    if (real or apart) and not cheap:
        verdict, sentence = attempt(command, line, apart=apart)
    else:
        with building_only():
            verdict, sentence = attempt(command, line)
    if kind == OUTSIDE and verdict == 'ran':
        verdict, sentence = 'unclear', 'a value outside its domain was taken'
    return Outcome(kind, verdict, sentence, reproduce)


def every_base(material: Path, folder: Path) -> list[str]:
    """Configs that do not build when made small: none, or the mutations would mean nothing."""
    bad = []
    for file in FILES:
        try:
            with building_only():
                line = [
                    f'--config={ROOT / file}',
                    '--workdir=unused',
                    *(f'--config.{o}' for o in small(file, material)),
                ]
                verdict, sentence = attempt('train', line)
        except UserError as error:
            verdict, sentence = 'refused', str(error)
        if verdict != 'ran':
            bad.append(f'{file}: {sentence}')
    return bad
