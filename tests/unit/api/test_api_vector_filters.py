"""Filters by attributes: the SQL says of a file what the filter says, in both databases, and nothing is ever code."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.api.vector_stores.filters import (
    MOST_COMPARISONS,
    MOST_DEPTH,
    Comparison,
    Filter,
    condition_of,
    read_filter,
)
from server.json_input.strict import InvalidJson
from server.storage.database.database import Database
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable
from tests.support.databases import KINDS, empty_postgres, empty_sqlite

ORDERS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le, "eq": operator.eq}
HOSTILE = [
    '") or 1 == 1 or ("',
    "x' OR 1=1 --",
    "\\",
    'a\\b"c',
    "%",
    "_",
    "\u0000",
    "true",
    "1",
    "é",
    "",
    "\ud800",
    "😀",
]
KEYS = ["team", "a'; drop", 'team"] == "" or attrs["y', "__owner", "file_id", "$.part", "\u0000", "k" * 65, "é"]
SCALARS = st.one_of(
    st.sampled_from(HOSTILE),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, -(2**63), 0.0, 1.0, 0.1, 1.5, -2.5, 1e300]),
    st.sampled_from(["a", "b", "ab", "A", "z" * 512, "z" * 513]),
)
KEPT = st.dictionaries(
    st.sampled_from([key for key in KEYS if "\0" not in key and len(key) <= 64]),
    SCALARS.filter(lambda value: type(value) is not str or (not {"\0", "\ud800"} & {*value} and len(value) <= 512)),
    max_size=3,
)


def comparisons() -> st.SearchStrategy[dict[str, Any]]:
    key, ordered = st.sampled_from(KEYS), SCALARS.filter(lambda value: type(value) is not bool)
    return st.one_of(
        st.fixed_dictionaries({"type": st.sampled_from(["eq", "ne"]), "key": key, "value": SCALARS}),
        st.fixed_dictionaries({"type": st.sampled_from(["gt", "gte", "lt", "lte"]), "key": key, "value": ordered}),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["in", "nin"]), "key": key, "value": st.lists(SCALARS, min_size=1, max_size=3)}
        ),
    )


FILTERS = st.recursive(
    comparisons(),
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["and", "or"]), "filters": st.lists(inner, min_size=1, max_size=3)}
    ),
    max_leaves=6,
)


def holds(wanted: Any, attributes: dict[str, Any]) -> bool:
    """What a filter says of these attributes, as the module's docstring has it."""
    kind = wanted["type"]
    if kind in ("and", "or"):
        return (all if kind == "and" else any)(holds(each, attributes) for each in wanted["filters"])
    if kind in ("ne", "nin"):
        return not holds({**wanted, "type": {"ne": "eq", "nin": "in"}[kind]}, attributes)
    if kind == "in":
        return any(holds({**wanted, "type": "eq", "value": each}, attributes) for each in wanted["value"])
    held, value = attributes.get(wanted["key"]), wanted["value"]
    if (kind_of(held), kind != "eq" and type(held) is bool) != (kind_of(value), False):
        return False
    if type(value) is str:
        held, value = held.encode(errors="surrogatepass"), value.encode(errors="surrogatepass")
        if b"\0" in value or b"\xed\xa0\x80" in value:
            return False
    return ORDERS[kind](held, value)


def kind_of(value: Any) -> str:
    return {str: "text", bool: "boolean", int: "number", float: "number"}.get(type(value), "none")


@contextmanager
def running(make: Callable[[], Database]) -> Iterator[tuple[asyncio.Runner, RecordTable]]:
    with asyncio.Runner() as runner:
        links = RecordTable(make(), "links")
        runner.run(links.database.start())
        try:
            runner.run(bring_up_to_date(links.database, "links"))
            yield runner, links
        finally:
            runner.run(links.database.close())


@pytest.fixture(scope="module", params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("filters")
    sqlite = request.param == "sqlite"
    database = empty_sqlite(folder) if sqlite else empty_postgres(request.getfixturevalue("postgres_url"))
    with database as make, running(make) as made:
        yield made


def found(world: Any, wanted: Filter, kept: list[dict[str, Any] | None]) -> list[int]:
    """The places of the files that the filter finds."""
    runner, links = world

    async def work() -> list[int]:
        drafts = [Draft(str(place), {"attributes": each, "file_id": "f"}) for place, each in enumerate(kept)]
        await links.database.write(*(links.inserting(draft.owned_by(None)) for draft in drafts))
        try:
            condition = condition_of(wanted, links.database.kind, 2)
            statement = f"SELECT id FROM links WHERE id <> ?1 AND ({condition.text})"  # noqa: S608 - what is tested
            rows = await links.database.read(statement, "none", *condition.values)
            return sorted(int(row[0]) for row in rows)
        finally:
            await links.database.write(*(links.removing(draft.id) for draft in drafts))

    return runner.run(work())


def test_the_statement_says_what_the_filter_says(world: Any) -> None:
    seen = {True: 0, False: 0}

    @settings(max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(wanted=FILTERS, kept=st.lists(KEPT, min_size=1, max_size=6))
    def law(wanted: Any, kept: list[dict[str, Any]]) -> None:
        expected = [place for place, attributes in enumerate(kept) if holds(wanted, attributes)]
        assert found(world, read_filter(wanted), [*kept]) == expected, wanted
        seen[bool(expected)] += 1

    law()
    assert min(seen.values()) > 20, seen


def test_a_hostile_value_finds_the_file_that_has_it_and_no_other(world: Any) -> None:
    kept = [value for value in HOSTILE if not {"\0", "\ud800"} & {*value}]
    for place, value in enumerate(kept):
        wanted = read_filter({"type": "eq", "key": "team", "value": value})
        assert found(world, wanted, [{"team": each} for each in kept]) == [place]
    for value in ("\0", "\ud800", "a\0b"):
        assert found(world, read_filter({"type": "eq", "key": "team", "value": value}), [{"team": "a"}]) == []


def test_filters_inside_each_other_are_held_together(world: Any) -> None:
    one, two, three = ({"type": "eq", "key": key, "value": 1} for key in ("a", "b", "c"))
    kept: list[dict[str, Any] | None] = [{"a": 1}, {"c": 1}, {"a": 1, "c": 1}, {"b": 1}]
    either, both = {"type": "or", "filters": [two, three]}, {"type": "and", "filters": [one, three]}
    assert found(world, read_filter({"type": "and", "filters": [one, either]}), kept) == [2]
    assert found(world, read_filter({"type": "and", "filters": [either, one]}), kept) == [2]
    assert found(world, read_filter({"type": "or", "filters": [two, both]}), kept) == [2, 3]


def test_booleans_numbers_and_texts_are_apart(world: Any) -> None:
    kept: list[dict[str, Any] | None] = [{"k": True}, {"k": "true"}, {"k": 1}, {"k": "1"}, {"k": 1.0}, {}, None]
    for value, places in [(True, [0]), ("true", [1]), (1, [2, 4]), ("1", [3]), (1.0, [2, 4]), (False, [])]:
        assert found(world, Comparison("eq", "k", (value,)), kept) == places
        others = [place for place in range(len(kept)) if place not in places]
        assert found(world, Comparison("ne", "k", (value,)), kept) == others


def test_large_numbers_are_compared_and_break_nothing(world: Any) -> None:
    kept: list[dict[str, Any] | None] = [{"k": 1}, {"k": 1e300}]
    for value, places in [(10**30, [1]), (-(10**400), [0, 1]), (10**400, [])]:
        assert found(world, read_filter({"type": "gt", "key": "k", "value": value}), kept) == places


def deep(depth: int) -> Any:
    filters: Any = {"type": "eq", "key": "k", "value": 1}
    for _ in range(depth):
        filters = {"type": "and", "filters": [filters]}
    return filters


def test_what_is_within_the_bounds_is_answered(world: Any) -> None:
    many = {"type": "or", "filters": [{"type": "eq", "key": f"k{n}", "value": n} for n in range(MOST_COMPARISONS)]}
    assert found(world, read_filter(many), [{"k99": 99}, {"k99": 98}]) == [0]
    assert found(world, read_filter(deep(MOST_DEPTH)), [{"k": 1}, {"k": 2}]) == [0]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (None, "filters"),
        ([], "filters"),
        ({}, "filters.type"),
        ({"type": "like", "key": "k", "value": "a"}, "filters.type"),
        ({"type": "eq", "value": 1}, "filters.key"),
        ({"type": "eq", "key": 1, "value": 1}, "filters.key"),
        ({"type": "eq", "key": "k"}, "filters.value"),
        ({"type": "eq", "key": "k", "value": None}, "filters.value"),
        ({"type": "eq", "key": "k", "value": {}}, "filters.value"),
        ({"type": "eq", "key": "k", "value": [1]}, "filters.value"),
        ({"type": "in", "key": "k", "value": 1}, "filters.value"),
        ({"type": "in", "key": "k", "value": []}, "filters.value"),
        ({"type": "nin", "key": "k", "value": [[1]]}, "filters.value"),
        ({"type": "gt", "key": "k", "value": True}, "filters.value"),
        ({"type": "eq", "key": "k", "value": float("nan")}, "filters.value"),
        ({"type": "eq", "key": "k", "value": 1, "more": 1}, "filters.more"),
        ({"type": "and", "filters": []}, "filters.filters"),
        ({"type": "and", "filters": [{"type": "eq", "key": "k"}]}, "filters.filters[0].value"),
        ({"type": "or", "filters": {}}, "filters.filters"),
        ({"type": "or", "filters": [], "key": "k"}, "filters.key"),
        (deep(MOST_DEPTH + 1), "filters" + ".filters[0]" * MOST_DEPTH),
        (deep(900), "filters" + ".filters[0]" * MOST_DEPTH),
        ({"type": "in", "key": "k", "value": [1] * (MOST_COMPARISONS + 1)}, "filters"),
    ],
)
def test_what_is_wrong_is_refused_at_its_place(given: Any, place: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        read_filter(given)
    assert caught.value.param == place
