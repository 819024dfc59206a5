"""Sections of words and tables: the summary with its controls, the account of the run, command, config, versions."""

import math
from typing import Any, NamedTuple

from ...config import defaults, fill
from ...config.complete import settle
from ...config.fields import flatten
from ...errors import UserError
from ...files import by_session, read_jsonl
from ..speed import summary as speeds
from ..workdir import versions as installed
from .controls import Control, shuffled
from .facts import Facts, LeftOut
from .html import Html, absent, joined, short, table, tag
from .svg import Series, chart


class Summary(NamedTuple):
    """What the run has shown: verdicts in sentences, the table of controls, notes."""

    verdicts: list[str]
    headings: list[str]
    rows: list[list[str]]
    numbers: list[tuple[str, str]]
    protocol: str
    notes: list[str]


def comparison(table: dict[str, dict[str, float]], names: dict[str, str], count: int, unit: str) -> str:
    """One sentence: whether the trained encoder's last score is above that of each control, beyond chance.

    The chance is two standard errors of the difference of two independent binomial shares of `count` test rows.
    """
    column = list(table['trained'])[-1]
    ours = table['trained'][column]
    parts, before = [], ''
    for name, row in table.items():
        if name == 'trained' or column not in row:
            continue
        gap, theirs = ours - row[column], row[column]
        error = math.sqrt((ours * (1 - ours) + theirs * (1 - theirs)) / max(count, 1))
        side = 'above' if gap > 2 * error else 'below' if gap < -2 * error else 'not distinguishable from'
        called = f'the {names[name]}' if name == 'untrained' else names[name]
        parts.append(f'{side if side != before else ""} {called} ({theirs:.3f})'.strip())
        before = side
    if not parts:
        return ''
    return (
        f'Linear probe, all labels: the trained encoder ({ours:.3f}) is {" and ".join(parts)}; a difference counts '
        f'from two standard errors on {count:,} test {unit}.'
    )


def summary(facts: Facts) -> Summary:
    """Verdict, controls, ranks."""
    config, table_ = facts.drawn.encoder.config, facts.table
    other = shuffled(facts.workdir, facts.drawn.encoder, facts.about) if table_ else Control({}, '')
    scores, names = {**table_, **other.scores}, {**facts.names, **{name: name for name in other.scores}}
    verdicts = []
    if 'trained' in table_:
        count = len(facts.drawn.encoded.features['trained'][1].labels)
        verdicts.append(comparison(scores, names, count, facts.drawn.data.test.spec.unit))
    if config.control != 'none':
        verdicts.append(f'This run is itself the control {config.control!r}: it should learn nothing.')
    verdicts.append(facts.verdict)
    columns = list(next(iter(table_.values()))) if table_ else []
    rows = [[names[name], *(f'{row[c]:.3f}' if c in row else '' for c in columns)] for name, row in scores.items()]
    ranks = [(name, 'not finite' if rank is None else f'{rank:.1f}') for name, rank in facts.ranks.items()]
    numbers = [
        *ranks,
        *facts.others.items(),
        ('control', config.control),
        ('seed', str(config.seed)),
        ('step', f'{facts.drawn.encoder.step:,}'),
    ]
    headings = ['representation', *(facts.headings[name] for name in columns)]
    return Summary(
        [v for v in verdicts if v],
        headings,
        rows,
        numbers,
        facts.protocol,
        [*facts.drawn.encoded.notes, *filter(None, [other.note])],
    )


def summary_html(found: Summary) -> Html:
    """Verdicts first, then the table of controls."""
    parts = [tag('p', verdict, class_='verdict') for verdict in found.verdicts]
    if found.rows:
        parts.append(table(found.headings, found.rows, label='Controls', class_='numbers'))
    parts += [absent(note) for note in found.notes]
    parts.append(tag('ul', *(tag('li', f'{name}: ', tag('b', value)) for name, value in found.numbers), class_='facts'))
    if found.rows:
        parts.append(tag('p', found.protocol, class_='small'))
    return joined(parts)


class Account(NamedTuple):
    """Times of the run: the sentence of the report, one row for each session, and images/s over the steps."""

    sentence: str
    sessions: list[list[str]]
    rates: Series


def account(facts: Facts) -> Account:
    """What `timing.jsonl` says."""
    try:
        lines = read_jsonl(facts.workdir / 'timing.jsonl')
    except UserError as error:
        raise LeftOut(f'There is no account: {error}') from error
    lines = [line for line in lines if line.keys() >= {'images_per_second', 'waiting_share', 'seconds'}]
    if not lines:
        raise LeftOut('There is no account: the workdir has no timings.')
    size = facts.drawn.encoder.config.data.batch_size
    sessions, before = [], 0
    for number, part in enumerate(by_session(lines), 1):
        sessions.append([str(number), f'{before:,} to {part[-1]["step"]:,}', *_session(part, before, size)])
        before = part[-1]['step']
    chosen = ([line['step'] for line in lines], [line['images_per_second'] for line in lines])
    return Account(facts.speed, sessions, chosen)


def _session(lines: list[dict[str, float]], before: int, size: int) -> list[str]:
    """Duration, start-up, images/s, waiting and share of the peak of one session."""
    found = speeds(lines)
    first = lines[0]
    # What the first line's time holds beyond its steps at the usual rate: compilation, mostly.
    work = max(first['step'] - before, 0) * size / max(found['images_per_second'], 1e-9)
    startup = max(first['seconds'] - work, 0.0) if len(lines) > 1 else math.nan
    peak = f'{found["peak_share"]:.1%}' if 'peak_share' in found else 'unknown chip'
    return [
        f'{lines[-1]["seconds"]:,.0f} s',
        f'{startup:,.1f} s' if math.isfinite(startup) else 'not known',
        f'{found["images_per_second"]:,.0f}',
        f'{found["waiting_share"]:.1%}',
        peak,
    ]


def account_html(found: Account) -> Html:
    """The sentence, a table of sessions and a chart of images/s."""
    headings = ('session', 'steps', 'duration', 'start-up', 'images/s', 'waiting for data', 'of the peak FLOP/s')
    parts = [tag('p', f'{found.sentence[:1].upper()}{found.sentence[1:]}.')] if found.sentence else []
    parts.append(table(headings, found.sessions, label='Sessions of the run', class_='numbers'))
    parts.append(tag('div', chart('images/s', {'images/s': found.rates}), class_='charts'))
    text = 'Start-up is the time before the first logged step beyond what its steps take at the usual rate.'
    return joined([*parts, tag('p', text, class_='small')])


def command(facts: Facts) -> str:
    """The command line that trained, as the workdir has recorded it."""
    found = facts.about.get('command')
    if not isinstance(found, str) or not found:
        raise LeftOut('The command is not recorded: the encoder is imported, or its run is of an earlier version.')
    return found


def command_html(found: str) -> Html:
    """The command, to be copied."""
    return tag('pre', tag('code', short(found, 4000)), tabindex='0', role='region', aria_label='Command')


class Config(NamedTuple):
    """Fields `(name, value, default)` that differ from the defaults, and those that do not."""

    changed: list[tuple[str, str, str]]
    rest: list[tuple[str, str]]


def _reference(config: Any) -> dict[str, Any]:
    """Defaults of every field for the method, networks, optimiser and recipe that a config names."""
    base = defaults()
    try:
        for section, values in config.items():
            for label in ('name', 'kind'):
                if hasattr(values, 'items') and label in values:
                    same = section in base and base[section].get(label, None) == values[label]
                    if section == 'optimizer' or same:
                        base[section][label] = values[label]
                    else:
                        base[section] = {label: values[label]}
        base.augment.recipe, base.augment.size = config.augment.recipe, config.augment.size
        base.train.epochs = config.train.epochs
        fill(base)
        settle(base)
    except (UserError, KeyError, AttributeError, TypeError):  # an imported encoder names no method of ours
        base = defaults()
    return flatten(base)


def config(facts: Facts) -> Config:
    """The run's config against the defaults."""
    ours, base = flatten(facts.drawn.encoder.config), _reference(facts.drawn.encoder.config)
    names = ('method.name', 'model.name', 'data.source', 'train.epochs', 'augment.recipe')
    plain = defaults()
    base |= {name: value for name, value in flatten(plain).items() if name in names}
    absent_ = 'none'
    changed, rest = [], []
    for field, value in sorted(ours.items()):
        if field in base and base[field] == value:
            rest.append((field, repr(value)))
        else:
            changed.append((field, repr(value), repr(base[field]) if field in base else absent_))
    return Config(changed, rest)


def config_html(found: Config) -> Html:
    """Changed fields in sight, the others folded."""
    rows = [[tag('code', short(text)) for text in row] for row in found.changed]
    rest = [[tag('code', short(text)) for text in row] for row in found.rest]
    first = table(('field', 'value', 'default'), rows, label='Fields that differ from the defaults')
    others = table(('field', 'value'), rest, label='Fields at their defaults')
    text = f'{len(rows)} fields differ from the defaults of the method, networks and optimiser.'
    return joined(
        [tag('p', text), first, tag('details', tag('summary', f'{len(rest)} fields at their defaults'), others)]
    )


def versions(facts: Facts) -> list[tuple[str, str]]:
    """Versions and identities, as recorded when the run trained; those of now for an imported encoder."""
    about = facts.about
    found = about.get('versions')
    recorded = dict(found) if isinstance(found, dict) else installed()
    names = {'git': 'git commit', 'identity': 'hash of the config', 'fingerprint': 'fingerprint of the data'}
    return [*sorted(recorded.items()), *((names[k], about[k]) for k in names if about.get(k))]


def versions_html(found: list[tuple[str, str]]) -> Html:
    """A table of names and versions."""
    rows = [[name, tag('code', short(value))] for name, value in found]
    return table(('what', 'version'), rows, label='Versions')
