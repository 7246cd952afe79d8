"""SQL dialects: the differences between SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Dialect:
    """A database's spelling of the parts of a filter.

    `parameter` takes a number, `same` two expressions that may be NULL, `holds` two that may not, `elements` a
    parameter that holds a JSON list, `shared` the parameters of an attribute's name and of a JSON list of values.
    `abridged` takes a text, `value` for one of a JSON list, and is the form in which the index of owner attributes has
    it; `values` takes a parameter that holds a JSON list and yields those forms as `held`.
    """

    parameter: str
    same: str
    holds: str
    elements: str
    shared: str
    abridged: str
    values: str


_SQLITE_ABRIDGED: Final = (
    "CASE WHEN length({0}) <= 128 THEN {0} ELSE substr({0}, 1, 96) || '~' || length({0}) || '~' || substr({0}, -24) END"
)
_POSTGRESQL_ABRIDGED: Final = (
    "CASE WHEN length({0}) <= 128 THEN {0} ELSE left({0}, 96) || '~' || length({0}) || '~' || right({0}, 24) END"
)

SQLITE: Final = Dialect(
    parameter="?{}",
    same="{} IS {}",
    holds="instr({}, {}) > 0",
    elements="(SELECT value FROM json_each({}))",
    shared=(
        "EXISTS (SELECT 1 FROM json_each(access_attributes) AS held,"
        " json_each(CASE held.type WHEN 'array' THEN held.value ELSE '[]' END) AS owned"
        " WHERE held.key = {} AND owned.value IN (SELECT value FROM json_each({})))"
    ),
    abridged=_SQLITE_ABRIDGED,
    values=f"SELECT {_SQLITE_ABRIDGED.format('value')} AS held FROM json_each({{}})",  # noqa: S608 - no user's text
)


POSTGRESQL: Final = Dialect(
    parameter="CAST(${} AS text)",
    same="{} IS NOT DISTINCT FROM {}",
    holds="strpos({}, {}) > 0",
    elements="(SELECT jsonb_array_elements_text(CAST({} AS jsonb)))",
    shared=(
        "EXISTS (SELECT 1 FROM jsonb_each(CAST(access_attributes AS jsonb)) AS held,"
        " jsonb_array_elements_text(CASE jsonb_typeof(held.value) WHEN 'array' THEN held.value ELSE '[]' END) AS owned"
        " WHERE held.key = {} AND owned.value IN (SELECT jsonb_array_elements_text(CAST({} AS jsonb))))"
    ),
    abridged=_POSTGRESQL_ABRIDGED,
    values=(
        f"SELECT {_POSTGRESQL_ABRIDGED.format('value')} AS held"  # noqa: S608 - no user's text
        " FROM jsonb_array_elements_text(CAST({} AS jsonb)) AS given(value)"
    ),
)
