"""Where in a file the encoder lies: by the table of origins, or by its names under any prefix."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError, nearest
from .names import BARE, NAMINGS, OLDER, ORIGINS, PLAIN, Naming
from .recognise import FAMILIES, READS, Found, describe, first, known, tensors

# Parts of names that torch's wrappers add anywhere: compiled, sharded and recomputed modules.
WRAPPERS = re.compile(r'(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.')
# Keys of checkpoints that hold the moving average of the weights beside the weights; evaluations use the average.
EMA = re.compile(r'(?:^|_)ema(?:_|$)')
# Prefixes of a method's second network: solo-learn, lightly, mmselfsup, MoCo.
SECOND = re.compile(r'(?:^|[._])(?:momentum|target|encoder_k)(?:[._]|$)')


class Place(NamedTuple):
    """An encoder of a known naming: the key of the dictionary ('' for the file's top), and the prefix of its names."""

    container: str
    prefix: str
    origin: str
    family: str

    def __str__(self) -> str:
        return f'{self.container}/{self.prefix}' if self.container or not self.prefix else self.prefix


def locate(tree: Any, path: Path, origin: str = 'auto', prefix: str = '') -> Found:
    """The encoder of a file: by the table of origins, else by its names under any prefix, or under the given one.

    Args:
      tree: of tensors, as the file holds it.
      path: of the file, for messages.
      origin: a row of the table, or 'auto'.
      prefix: of the encoder's names, such as 'backbone.'; 'state_dict_ema/backbone.' names the dictionary too, and
        '/' is the file's top; '' looks for it.

    Raises:
      UserError: without any, or with several; the message says what the file seems to be, or where they lie.
    """
    if origin != 'auto' and origin not in ORIGINS:
        raise UserError(f'origin={origin!r} is unknown{nearest(origin, ["auto", *ORIGINS])}')
    tables = _tables(tree)
    places = _everywhere(tables, origin)
    place = _given(places, path, prefix) if prefix else _by_origin(tables, origin) or _only(places, path)
    if place is None:
        as_packed = '' if origin == 'auto' else f' as {origin} packs it'
        raise UserError(f'{path} holds no encoder{as_packed}: it seems to be {describe(tree)}; {READS}')
    found = _separate(tables[place.container], place)
    others = (str(p) for p in places if p.container != place.container)
    return found._replace(left_out=(*found.left_out, *others))


def _tables(tree: Any) -> dict[str, dict[str, Any]]:
    """The tensors by the key of their dictionary, those at the top under ''; names without torch's wrappers."""
    nodes = {'': tree} | ({k: v for k, v in tree.items() if isinstance(k, str) and k} if isinstance(tree, dict) else {})
    found = {}
    for key, node in nodes.items():
        table = tensors(node)
        plain = {WRAPPERS.sub('', name): tensor for name, tensor in table.items()}
        if table:
            found[key] = plain if len(plain) == len(table) else table
    return found


def _by_origin(tables: dict[str, dict[str, Any]], origin: str) -> Place | None:
    """The first place of the table of origins that the file has."""
    for name in ORIGINS if origin == 'auto' else [origin]:
        row = ORIGINS[name]
        for container, prefix in row.places:
            table = tables.get(container, {})
            if origin == 'auto':
                marked = any(k.startswith(m) for k in table for m in row.marks)
                if (row.marks and not marked) or ((container, prefix) == BARE and not marked):
                    continue
            for family, naming in row.namings.items():
                if prefix + naming.anchor in table:
                    return Place(container, prefix, name, family)
    return None


def _everywhere(tables: dict[str, dict[str, Any]], origin: str) -> list[Place]:
    """Every encoder of the file that has the names of torchvision or timm, or of the origin named."""
    namings = {name: NAMINGS[name] for name in PLAIN} if origin == 'auto' else {origin: ORIGINS[origin].namings}
    found: dict[tuple[str, str], Place] = {}
    for container, table in tables.items():
        for name in table:
            for source, families in namings.items():
                for family, naming in families.items():
                    prefix = name.removesuffix(naming.anchor)
                    if prefix == name or (prefix and not prefix.endswith('.')) or (container, prefix) in found:
                        continue
                    if _is_encoder(table, prefix, naming):
                        found[container, prefix] = Place(container, prefix, source, family)
    return list(found.values())


def _is_encoder(table: dict[str, Any], prefix: str, naming: Naming) -> bool:
    """Whether the names under a prefix are those of a network, and of no family that is not ours."""
    inner = {name.removeprefix(prefix): tensor for name, tensor in table.items() if name.startswith(prefix)}
    if any(re.search(pattern, prefix + name) for pattern, _ in FAMILIES for name in inner):
        return False
    return bool(known(inner, naming))


def _only(places: list[Place], path: Path) -> Place | None:
    """The one encoder that is meant: of the moving average where there is one, not of a method's second network."""
    averaged = [p for p in places if EMA.search(p.container)]
    chosen = averaged or places
    chosen = [p for p in chosen if not SECOND.search(p.prefix)] or chosen
    if len(chosen) > 1:
        raise UserError(f'{path} holds several encoders: --prefix= says which, one of {", ".join(map(str, chosen))}')
    return chosen[0] if chosen else None


def _given(places: list[Place], path: Path, prefix: str) -> Place:
    """The encoder under a prefix that the user named."""
    container, slash, inner = prefix.rpartition('/')
    inner += '.' if inner and not inner.endswith('.') else ''
    named = [p for p in places if WRAPPERS.sub('', inner) == p.prefix and (p.container == container or not slash)]
    if not named:
        known_places = f'; encoders lie under {first([str(p) for p in places])}' if places else ''
        raise UserError(f'{path} holds no encoder under prefix={prefix!r}{known_places}')
    place = _only(named, path)
    assert place is not None
    return place


def _separate(table: dict[str, Any], place: Place) -> Found:
    row = ORIGINS[place.origin]
    naming = row.namings[place.family]
    state, unexpected, left_out = {}, [], []
    own = (place.container, place.prefix) in row.places
    for name, tensor in table.items():
        inner = name.removeprefix(place.prefix)
        within = name.startswith(place.prefix)
        if (own and name.startswith(row.beside)) or (within and inner.startswith(naming.heads)):
            left_out.append(name)
        elif within:
            for old, new in OLDER:
                inner = re.sub(old, new, inner)
            state[inner] = tensor
        elif own:
            unexpected.append(name)
        else:
            left_out.append(name)
    return Found(place.origin, place.family, naming, state, unexpected, str(place), _modules(left_out, place.prefix))


def _modules(names: list[str], prefix: str) -> tuple[str, ...]:
    """The modules that names belong to: the first part after the encoder's prefix, or after 'module.'."""
    found = {}
    for name in names:
        start = prefix if prefix and name.startswith(prefix) else re.match(r'(?:module\.)*', name)[0]  # type: ignore[index]
        found[start + name.removeprefix(start).split('.')[0]] = None
    return tuple(found)
