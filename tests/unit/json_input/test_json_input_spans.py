"""Places of values deep inside a body: they spell the value, whatever stands around them."""

from __future__ import annotations

from json import dumps, loads
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.json_input.spans import Path, spans_of
from server.json_input.strict import parse_json

NAMES = st.text(alphabet='ab"\\{}[]:,é漢😀 \n', max_size=4)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
BODIES = st.dictionaries(NAMES, VALUES, max_size=5)


def paths_in(value: Any, path: Path = ()) -> list[Path]:
    """The paths of all values inside of one."""
    found = [path] if path else []
    keys = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, inner in keys:
        found += paths_in(inner, (*path, key))
    return found


def at(value: Any, path: Path) -> Any:
    """The value at a path."""
    for key in path:
        value = value[key]
    return value


@settings(deadline=None)  # other tests may run at the same time
@given(BODIES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_every_value_is_found_where_it_is_spelled(body: Any, indent: int | str | None, ascii_only: bool) -> None:
    raw = dumps(body, indent=indent, ensure_ascii=ascii_only).encode()
    document = parse_json(b" \n" + raw)
    paths = paths_in(body)
    for path, (start, end) in zip(paths, spans_of(document, paths), strict=True):
        assert loads(document.raw[start:end]) == at(body, path)
        assert document.raw[start:end] == document.raw[start:end].strip()


@pytest.mark.parametrize("path", [("b",), ("a", 3), ("a", 0, "b")])
def test_a_path_must_lead_somewhere(path: Path) -> None:
    with pytest.raises((KeyError, ValueError)):
        spans_of(parse_json(b'{"a": [1, 2]}'), [path])
