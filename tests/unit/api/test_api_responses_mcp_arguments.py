"""Arguments of calls of a server's tools: they are parsed in one piece, where they have few enough parts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from json import dumps
from threading import get_ident
from typing import Any

import pytest

from server.api.responses.mcp import tool as subject
from server.api.responses.mcp.tool import MOST_SIGNS, Calling, McpTool, as_object
from server.inference.answers.model_name import QUICK
from server.mcp.session import Outcome

TEXTS = (',[{"\\' * 5000, '\\"' * 5000, "\n" * 50_000, "\\" * 9999, '",[' * 50_000)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_may_hold_any_number_of_signs(text: str) -> None:
    given = {"path": "a,b", "content": text, "more": [1, {"x": text}]}
    assert as_object(dumps(given)) == given


@pytest.mark.parametrize("value", ["1", "[]", "{}", '""', '"a"', '"\\\\"', '"\\""', '{"a":1}', "[[1]]"])
def test_an_object_of_too_many_parts_is_not_parsed(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (f'{{"a":[{",".join([value] * number)}]}}' for number in (MOST_SIGNS // 8, MOST_SIGNS))
    assert as_object(few) is not None
    monkeypatch.setattr(subject, "parse_json", None)
    assert as_object(many) is None


def test_arguments_are_parsed_once_to_see_whether_a_call_needs_an_approval(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = list[bytes]()
    monkeypatch.setattr(subject, "parse_json", lambda raw, parse=subject.parse_json: parsed.append(raw) or parse(raw))
    tool = McpTool(Calling(None, Remote(), None), LISTED, "x", is_permitted=True, approvals=None, ids=iter(["mcpr_1"]))  # type: ignore[arg-type]
    beginning = tool.beginning('{"a": 1}')
    assert beginning is not None
    assert beginning.kind == "mcp_approval_request"
    assert tool.failed('{"a": 1}', "no").ends
    assert parsed == [b'{"a": 1}']


@pytest.mark.parametrize(("size", "is_beside"), [(QUICK, False), (QUICK + 1, True)])
def test_a_long_result_is_looked_through_in_a_thread(size: int, is_beside: bool) -> None:
    remote = Remote()
    calling = Calling(Gate(), remote, Session("x" * size))  # type: ignore[arg-type]
    found = asyncio.run(calling.call(LISTED, "{}"))
    assert found.told == "x" * size
    assert [thread != get_ident() for thread in remote.secrets.threads] == [is_beside]


LISTED = {"name": "look", "description": None, "input_schema": {}, "annotations": None}


@dataclass
class Secrets:
    threads: list[int] = field(default_factory=list)

    def hidden(self, text: str) -> str:
        self.threads.append(get_ident())
        return text


class Group:
    def tool(self, name: str) -> list[Any]:
        return []

    async def permit(self, gate: Any) -> None:
        pass


@dataclass
class Remote:
    secrets: Secrets = field(default_factory=Secrets)
    group: Group = field(default_factory=Group)
    label: str = "x"

    def needs_approval(self, tool: Any) -> bool:
        return True


class Gate:
    pass


@dataclass
class Session:
    text: str

    async def call(self, name: str, arguments: Any) -> Outcome:
        return Outcome(self.text, is_error=False)
