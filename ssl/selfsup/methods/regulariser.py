"""What a regulariser of any method is; :mod:`.regularised` has the table of them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array


class Regulariser(NamedTuple):
    """What changes a method's criterion, or what its networks see.

    Attributes:
      around: `(criterion) -> criterion`; see :class:`selfsup.methods.base.Method`.
      rows: least number of rows that it can do with.
      parts: into so many equal parts the batch must be cut.
      joined: whether it sees the views one below the other, so that a batch of two views has twice its rows.
      check: `(params, extra, width of an embedding) -> None`, an error where the method cannot have it.
      init: `(key, width of a feature, the first view) -> parameters` of its own, beside the method's under its name; or
        None.
      embed: `(embed) -> embed`, for what changes the network part; or None.
    """

    around: Callable[[Callable], Callable]
    rows: int = 1
    parts: int = 1
    joined: bool = False
    check: Callable[[Any, Any, int], None] | None = None
    init: Callable[[Array, int, Array], Any] | None = None
    embed: Callable[[Callable], Callable] | None = None


def seen(outputs: Mapping[str, Any], of: str) -> tuple[Array, ...]:
    """The views that regularisers see: the first two, which are the global ones of a multi-crop, or the only one."""
    return tuple(outputs[of][:2])
