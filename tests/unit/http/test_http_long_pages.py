"""Long pages: one caller makes one step of them in a turn of the event loop, of stored texts that nothing parses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from json import dumps, loads
from time import monotonic
from typing import Any

import pytest

from server.api.models.model import Model
from server.api.models.pages import StoredModel
from server.api.models.routes import model_object
from server.api.prompts.routes import _shown, _text, _text_of_default
from server.api.prompts.store import Version, Wording, default_version
from server.api.registry.routes import KINDS, RegistryRoutes
from server.api.tools.groups import group_of
from server.fairness.caller import CURRENT
from server.fairness.places import PASSING, STEP_SECONDS, Pieces
from server.http.responses import SLICE, encoded, list_of_texts
from server.json_input.reader import Reader
from server.storage.records.body import Body
from server.storage.records.record import Draft, Record
from tests.unit.http.test_http_fair_turns import CALLER, in_a_loop

HOSTILE = ["a", "", 'x","described":{"a', "a,", 'null,"described":{', "größer 😀", "\\", "\N{LINE SEPARATOR}\x7f\x00"]
DESCRIBED: list[dict[str, Any]] = [
    {},
    {"a": 1},
    {"params": {"described": {"b": [None, True, 1.5]}}, "text": '","described":{'},
    {"described": {}, "provider_resource_id": None},
]


@in_a_loop
async def test_a_caller_takes_one_step_in_a_turn_of_the_loop_however_many_pages_it_asks_for() -> None:
    made, turns, most = 0, 0, 0

    def entries() -> Iterator[bytes]:
        nonlocal made
        for _ in range(5):
            until = monotonic() + STEP_SECONDS
            while monotonic() <= until:
                continue
            made += 1
            yield b"{}"

    async def page() -> None:
        CURRENT.set(CALLER)
        PASSING.set(pieces)
        await list_of_texts({"data": []}, entries())

    pieces = Pieces()
    pages = [asyncio.ensure_future(page()) for _ in range(8)]
    await asyncio.sleep(0)  # each begins
    while not all(one.done() for one in pages):
        before, turns = made, turns + 1
        await asyncio.sleep(0)
        most = max(most, made - before)
    assert (made, most) == (40, 1)
    assert turns >= 32


@in_a_loop
async def test_short_texts_leave_together() -> None:
    answer = await list_of_texts({"object": "list", "data": [], "has_more": False}, [b'{"a":1}'] * 20_000)
    assert all(SLICE <= len(piece) < 2 * SLICE for piece in answer._pieces[:-1])
    shown = loads(b"".join(answer._pieces))
    assert shown == {"object": "list", "has_more": False, "data": [{"a": 1}] * 20_000}


@in_a_loop
async def test_a_page_without_entries_is_an_empty_list() -> None:
    answer = await list_of_texts({"data": [], "has_more": False}, [])
    assert loads(b"".join(answer._pieces)) == {"data": [], "has_more": False}


@pytest.mark.parametrize("described", DESCRIBED)
@pytest.mark.parametrize("name", HOSTILE)
def test_an_entry_is_listed_as_it_is_shown_alone(name: str, described: dict[str, Any]) -> None:
    routes = RegistryRoutes(KINDS[0], None, Reader())  # type: ignore[arg-type]  # nothing is looked up
    for own in (None, *HOSTILE):
        body = {"provider_id": name, "provider_resource_id": own, "described": described}
        for stored in (Body.of(body), Body(dumps(body).encode()), Body(dumps(body, sort_keys=True).encode())):
            record = recorded(name, stored)
            assert loads(routes._text(record)) == loads(encoded(routes._show(record)))


def test_a_listed_entry_is_not_parsed() -> None:
    routes = RegistryRoutes(KINDS[0], None, Reader())  # type: ignore[arg-type]  # nothing is looked up
    record = recorded("a", {"provider_id": "a", "provider_resource_id": None, "described": {"a": "b"}})
    routes._text(record)
    assert record.body._members is None


@pytest.mark.parametrize("text", HOSTILE)
def test_a_prompt_is_listed_as_it_is_shown_alone(text: str) -> None:
    wording = Wording(f"{text} {{{{ a }}}}", ["a"])
    head = {"latest": 12, "default": 7}
    for body in ({**head, **wording.body}, {**wording.body, **head}):
        record = recorded("pmpt_1", body)
        assert loads(_text_of_default(record)) == _shown(default_version(record))
    for is_default in (True, False):
        shown = _text("pmpt_1", 3, Body.of(wording.body).text, is_default=is_default)
        assert loads(shown) == _shown(Version("pmpt_1", 3, wording, is_default))


def test_a_listed_prompt_is_not_parsed() -> None:
    record = recorded("pmpt_1", {"latest": 1, "default": 1, **Wording("a", []).body})
    _text_of_default(record)
    assert record.body._members is None


@pytest.mark.parametrize("more", [{}, {"fallback": ["p/b"], "weights": {"p/c": 1}, "aliases": ["d"]}])
def test_a_listed_model_is_made_when_it_is_shown_and_not_kept(more: dict[str, Any]) -> None:
    metadata = {"provider_id": "q", "a": [[]] * 5000}
    record = recorded("p/a", {"model_id": "short", "model_type": "llm", "metadata": metadata, **more})
    stored = StoredModel(record)
    model = stored.read()
    assert (model.name, model.created) == (stored.name, stored.created) == ("p/a", record.created_at)
    assert (model.kind, model.metadata) == ("llm", metadata)
    assert [*model.names][:3] == ["p/a", "p/short", "short"]
    assert (model.fallback, model.weights) == (tuple(more.get("fallback", ())), more.get("weights", {}))
    assert record.body._members is None


@pytest.mark.parametrize("metadata", [{}, {"a": [1, "é"]}, {"a": 1, "provider_id": "q", "model_type": "embedding"}])
def test_a_model_shows_its_metadata_twice_and_looks_like_no_other(metadata: dict[str, Any]) -> None:
    kept = {"provider_id": "p", "provider_resource_id": "a", "model_type": "llm"}
    text = model_object(Model("short", "p", "a", "llm", metadata), 1)
    shown = loads(text, object_pairs_hook=lambda pairs: dict(pairs) if len(pairs) == len(dict(pairs)) else None)
    assert (shown["metadata"], shown["custom_metadata"]) == (metadata, {**metadata, **kept})
    assert shown.items() >= {"id": "p/a", "object": "model", "created": 1, "owned_by": "p", **kept}.items()


def test_the_arguments_of_a_group_of_tools_are_not_kept() -> None:
    described = {"mcp_endpoint": {"uri": "https://tools.example/mcp"}, "args": {"a": [[]] * 5000}}
    record = recorded("a", {"provider_id": "mcp", "provider_resource_id": None, "described": described})
    group = group_of(record)
    assert (group.provider_id, group.url) == ("mcp", "https://tools.example/mcp")
    assert record.body._members is None


def recorded(name: str, body: dict[str, Any] | Body) -> Record:
    return Draft(name, body).owned_by(None)
