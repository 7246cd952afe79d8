"""Compaction in the course of a response: which items stay, and the model that sums up the others."""

from __future__ import annotations

import asyncio
from json import dumps
from types import SimpleNamespace
from typing import Any

import pytest

from policy.vocabulary import Anonymous
from server.api.responses.body import RESPONSE
from server.api.responses.compaction.compacting import Compacting, kept_of
from server.api.responses.unsealing import summed_up
from server.authn.seals import Seals
from server.inference.provider import Pieces
from server.json_input.strict import parse_json

USER, DEVELOPER, ASSISTANT = ({"type": "message", "role": role} for role in ("user", "developer", "assistant"))
THOUGHT = {"type": "reasoning"}


def call(name: str) -> dict[str, str]:
    return {"type": "function_call", "call_id": name}


def output(name: str, kind: str = "function") -> dict[str, str]:
    return {"type": f"{kind}_call_output", "call_id": name}


@pytest.mark.parametrize(
    ("items", "kept"),
    [
        ([], 0),
        ([USER], 1),
        ([USER, ASSISTANT], 0),
        ([USER, ASSISTANT, USER], 1),
        ([USER, ASSISTANT, USER, DEVELOPER, USER], 3),
        ([USER, call("a"), output("a")], 2),
        ([USER, call("a"), output("a"), call("b"), output("b")], 2),
        ([USER, call("a"), call("b"), output("a"), output("b")], 4),
        ([USER, call("a"), USER, output("a")], 3),
        ([USER, call("a"), output("a"), USER], 3),
        ([USER, {**call("a"), "type": "custom_tool_call"}, output("a", "custom_tool")], 2),
        ([USER, THOUGHT], 0),
        # An output of a call that is not here may belong to anything.
        ([USER, ASSISTANT, output("a")], 3),
    ],
)
def test_what_no_model_has_answered_stays(items: list[dict[str, str]], kept: int) -> None:
    assert kept_of([dumps(item).encode() for item in items]) == kept


def test_a_summary_stands_between_developers_and_what_stays() -> None:
    items = [dumps(item).encode() for item in (DEVELOPER, USER, ASSISTANT, DEVELOPER, USER)]
    short = summed_up(items, "so far", 1)
    assert [short[0], short[1], short[3]] == [items[0], items[3], items[4]] and b"so far" in short[2]
    # A client may have left out what was summed up, and some of what stays.
    assert summed_up(items[4:], "so far", 5)[1:] == items[4:]


class Model:
    async def complete(self, request: Any) -> Pieces:
        return [b'{"choices":[{"message":{"content":"short"}}],"usage":{"total_tokens":7}}']


class Turns:
    """Counts and asks without a server."""

    async def tokens(self, *_asked: Any) -> int:
        return 5_000

    async def asked(self, *_asked: Any) -> Any:
        return SimpleNamespace(answering=Model(), request=None)


def test_the_model_that_sums_up_goes_the_way_of_the_one_that_answers() -> None:
    raw = dumps({"model": "m", "input": "x", "context_management": [{"type": "compaction", "compact_threshold": 1000}]})
    body = RESPONSE.value(RESPONSE.check(parse_json(raw.encode())))
    opening: Any = SimpleNamespace(
        body=body,
        context=SimpleNamespace(system=(), items=SimpleNamespace(ids=["msg_1"] * 3)),
        gate=SimpleNamespace(principal=Anonymous()),
    )
    turns: Any = Turns()
    request: Any = SimpleNamespace(receive=asyncio.Event().wait)
    model: Any = None
    passed = list[object]()

    def through(answering: Any) -> Any:
        passed.append(answering)
        return answering

    async def run() -> None:
        compacting = Compacting(turns, Seals(lambda: [b"k" * 32]))
        items = [dumps(item).encode() for item in (USER, ASSISTANT, USER)]
        found = await compacting.compacted(request, opening, model, items, {}, through)
        assert found is not None and found.usage is not None and found.usage["total_tokens"] == 7
        assert b"short" in found.items[0] and found.items[1:] == items[2:]

    asyncio.run(run())
    assert len(passed) == 1
