"""Markup by functions: every text is escaped unless it is markup already."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

VOID = frozenset({'img', 'meta'})  # elements without an end tag
LONGEST = 120  # characters shown of a text from outside


class Html(str):
    """Markup: it is not escaped again."""

    __slots__ = ()


def short(text: Any, most: int = LONGEST) -> str:
    """A text of at most `most` characters, its middle left out where it is longer; control characters as escapes."""
    shown = ''.join(c if c.isprintable() else c.encode('unicode_escape', 'surrogatepass').decode() for c in str(text))
    if len(shown) <= most:
        return shown
    head = (most - 1) // 2
    return f'{shown[:head]}…{shown[len(shown) - (most - 1 - head) :]}'


def escaped(value: Any) -> Html:
    """A value as markup."""
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """An element. Attributes of None are left out; `class_` is `class`, other underscores become hyphens."""
    given = ''.join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = ''.join(map(escaped, children))
    return Html(f'<{name}{given}>' if name in VOID else f'<{name}{given}>{inner}</{name}>')


def joined(parts: Iterable[Any], between: str = '') -> Html:
    """Parts one after another, each escaped unless it is markup."""
    return Html(between.join(map(escaped, parts)))


def absent(reason: str) -> Html:
    """The line that stands for what is left out."""
    return tag('p', short(reason, 400), class_='absent')


def table(headings: Sequence[Any], rows: Iterable[Sequence[Any]], *, label: str, class_: str | None = None) -> Html:
    """A table that scrolls sideways where it is wider than the page; the first cell of a row is its heading."""
    head = tag('tr', *(tag('th', heading, scope='col') for heading in headings))
    body = joined(tag('tr', tag('th', row[0], scope='row'), *(tag('td', cell) for cell in row[1:])) for row in rows)
    found = tag('table', tag('thead', head), tag('tbody', body), class_=class_)
    return tag('div', found, class_='scroll', tabindex='0', role='region', aria_label=label)


def image(uri: str, text: str, side: int | None = None) -> Html:
    """A picture by its data URI, `side` pixels wide, with its description."""
    style = f'width:{side}px' if side else None
    return tag('img', src=uri, alt=short(text), style=style)
