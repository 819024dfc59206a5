"""Every public function of `selfsup.diagnostics` is reached by a command or a table, and the page says by which."""

import re

import small
from selfsup.cli import COMMANDS
from selfsup.engine import evaluations
from selfsup.evals.measures import MEASURES
from selfsup.evals.suite import EVALUATIONS
from selfsup.methods import METHODS

REACHED = small.script('docs/reached.py')


def test_every_function_is_reached():
    places = REACHED.reached()
    assert {name: found for name, found in places.items() if not found} == {}
    assert places['rankme'] >= {'`evaluate --layers`', '`monitor.measures`', '`evaluate --only=ranks`'}
    assert '`evaluate --only=hubs`' in places['nicdm'] and '`evaluate --only=relative`' in places['hsic_terms']


def test_the_places_are_ones_that_a_user_can_name():
    known = {*EVALUATIONS, 'feet', *evaluations.OF_ENCODER, *evaluations.WITH_OTHERS}
    for place in set().union(*REACHED.reached().values()):
        if command := re.fullmatch(r'`(\w+)(?: --([\w-]+)(?:=([\w,]+))?)?`', place):
            name, option, values = command.groups()
            if name in COMMANDS:
                usage = __import__(f'selfsup.{COMMANDS[name][0]}', fromlist=['USAGE']).USAGE
                assert option is None or f'--{option}' in usage, place
                if option == 'only':
                    assert set(values.split(',')) <= known, place
        elif table := re.fullmatch(r'`experiments\.tables\.(\w+)(?: (\w+))?`', place):
            assert REACHED.TABLES.joinpath(*filter(None, table.groups())).with_suffix('.py').is_file()
        elif method := re.fullmatch(r'the method `(\w+)`', place):
            assert method[1] in METHODS
        else:
            assert (place == '`monitor.measures`' and MEASURES) or place.endswith('of every run'), place
