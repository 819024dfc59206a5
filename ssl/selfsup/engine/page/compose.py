"""The page from its sections: each is gathered and drawn by itself, so that one that fails is left out alone."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from . import clusters, confusion, curves, features_map, gallery, gather, overview
from .facts import Facts, LeftOut, OfOtherMethods
from .html import Html, absent, joined, short, tag
from .script import JS
from .style import CSS

MOST_BYTES = 4_900_000  # of a page

# Nothing outside the file is loaded, whatever stands in it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class Section(NamedTuple):
    """A part of the page: its title, what gathers its data, and what draws them."""

    title: str
    gather: Callable[[Facts], Any]
    html: Callable[[Facts, Any], Html]


def _of_data(draw: Callable[[Any], Html]) -> Callable[[Facts, Any], Html]:
    return lambda facts, found: draw(found)


# Anchor -> section, in the order of the page.
SECTIONS: dict[str, Section] = {
    'summary': Section('Summary', overview.summary, _of_data(overview.summary_html)),
    'curves': Section('Curves', curves.curves, _of_data(curves.curves_html)),
    'spectrum': Section('Spectrum', curves.spectrum, _of_data(curves.spectrum_html)),
    'views': Section('Views', gather.views, _of_data(gallery.views_html)),
    'neighbours': Section('Nearest neighbours', gather.neighbours, gallery.neighbours_html),
    'map': Section('Map of the features', features_map.features_map, _of_data(features_map.map_html)),
    'clusters': Section('Clusters', clusters.clusters, _of_data(clusters.clusters_html)),
    'confusion': Section('Confusion', confusion.confusion, _of_data(confusion.confusion_html)),
    'hardest': Section('Hardest examples', gallery.hardest, _of_data(gallery.hardest_html)),
    'pictures': Section('Pictures of the method', gallery.pictures, _of_data(gallery.pictures_html)),
    'account': Section('Account of the run', overview.account, _of_data(overview.account_html)),
    'command': Section('Command', overview.command, _of_data(overview.command_html)),
    'config': Section('Config', overview.config, _of_data(overview.config_html)),
    'versions': Section('Versions', overview.versions, _of_data(overview.versions_html)),
}


def section(name: str, facts: Facts) -> Html | None:
    """A section's markup; the line that says why in the place of one that fails, None for one of other methods."""
    title = SECTIONS[name].title
    try:
        return SECTIONS[name].html(facts, SECTIONS[name].gather(facts))
    except OfOtherMethods:
        return None
    except LeftOut as reason:
        return absent(str(reason))
    except Exception as error:  # what drawing raises of unusual data is open-ended, and the numbers are written
        text = ' '.join(str(error).split()) or 'no message'
        line = short(f'{title} is left out: {type(error).__name__}: {text}', 400)
        print(f'report.html: {line}', file=sys.stderr, flush=True)
        return absent(line)


def _sections(facts: Facts) -> dict[str, Html]:
    """Anchor -> markup of all sections; one that would make the page too large is left out with a line."""
    parts, size = {}, 0
    for name, (title, _, _) in SECTIONS.items():
        inner = section(name, facts)
        if inner is None:
            continue
        length = len(inner.encode('utf-8', 'backslashreplace'))
        if size + length > MOST_BYTES:
            inner = absent(f'{title} is left out: with it the page would be larger than {MOST_BYTES:,} bytes.')
            print(f'report.html: {inner}', file=sys.stderr, flush=True)
            length = len(inner)
        size += length
        parts[name] = tag('section', tag('h2', title), inner, id=name)
    return parts


def page(facts: Facts) -> str:
    """The whole page, one file that loads nothing."""
    encoder = facts.drawn.encoder
    title = short(f'{encoder.config.method.name} on {encoder.config.data.source}, step {encoder.step}')
    head = tag(
        'head',
        tag('meta', charset='utf-8'),
        tag('meta', name_='viewport', content='width=device-width, initial-scale=1'),
        tag('meta', http_equiv='Content-Security-Policy', content=POLICY),
        tag('title', title),
        tag('style', Html(CSS)),
    )
    sections = _sections(facts)
    links = (tag('li', tag('a', SECTIONS[name].title, href=f'#{name}')) for name in sections)
    header = tag('header', tag('h1', title), tag('p', 'Report of a run; nothing was chosen by test labels.'))
    body = tag(
        'body',
        header,
        tag('nav', tag('ul', *links), aria_label='Sections'),
        tag('main', joined(list(sections.values()), '\n')),
        tag('script', Html(JS)),
    )
    return f'<!DOCTYPE html>\n{tag("html", head, body, lang="en")}\n'
