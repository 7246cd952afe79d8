"""XML of files that never have a document type: no entity is declared, and nothing outside is referred to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NoReturn
from xml.parsers import expat

from server.extraction.limits import DEEPEST_ELEMENT
from server.extraction.pieces import Code, Unreadable

_DAMAGED: Final = "the file is damaged: its XML can't be read"

OnStart = Callable[[str, list[str]], None]
OnEnd = Callable[[str], None]
OnText = Callable[[str], None]


def read_xml(
    blocks: Iterable[bytes], start: OnStart, end: OnEnd | None = None, text: OnText | None = None
) -> Iterator[None]:
    """Read XML block by block, and call the functions with the names of elements without their prefixes.

    The attributes are names and values in turn. Raises Unreadable.
    """
    depth = 0

    def started(name: str, attributes: list[str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST_ELEMENT:
            raise Unreadable(Code.INVALID_FILE, f"the file has more than {DEEPEST_ELEMENT} elements inside each other")
        start(local(name), attributes)

    def ended(name: str) -> None:
        nonlocal depth
        depth -= 1
        if end is not None:
            end(local(name))

    parser: Any = expat.ParserCreate()
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = started
    parser.EndElementHandler = ended
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        for block in blocks:
            parser.Parse(block, False)
            yield
        parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError, OSError):
        raise Unreadable(Code.INVALID_FILE, _DAMAGED) from None
    yield


def local(name: str) -> str:
    """Return a name without its prefix."""
    return name.rpartition(":")[2]


def attributes_of(ordered: list[str]) -> dict[str, str]:
    """Return attributes by their names without prefixes; of two with one name, the one without a prefix."""
    found = dict[str, str]()
    for name, value in zip(ordered[::2], ordered[1::2], strict=True):
        if ":" not in name or local(name) not in found:
            found[local(name)] = value
    return found


def _refuse(*_: Any) -> NoReturn:
    raise Unreadable(Code.INVALID_FILE, "the file declares a document type or entities, as such files never do")
