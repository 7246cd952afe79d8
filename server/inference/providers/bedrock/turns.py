"""The turns of a conversation, as the Converse API has them: user and assistant by turns, each call with its result."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from json import loads
from typing import Any, Final

from server.inference.providers.bedrock.parts import NotConverse, blocks_of, result_of, texts
from server.json_input.strict import Json

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OTHERS: Final = re.compile(r"[^a-zA-Z0-9_-]")
_KEPT: Final = 40
_DIGITS: Final = 16


def safe_name(given: str) -> str:
    """Return an id or a name that Bedrock takes: as it is, or with a hash where other characters are replaced."""
    if _NAME.fullmatch(given):
        return given
    return f"{_OTHERS.sub('_', given[:_KEPT])}_{sha256(given.encode()).hexdigest()[:_DIGITS]}"


@dataclass(slots=True)
class _Call:
    """One call of the last assistant's turn: the id that the caller knows, the one that is sent, and its result."""

    given: str
    sent: str
    result: list[Json] | None = None


class Turns:
    """Collects messages in order. Messages of one role in a row become one turn; results are in the order of the calls.

    `system` are the texts of system and developer messages, wherever they stand. `names` are the tools that were
    called.
    """

    def __init__(self) -> None:
        self.system: list[Json] = []
        self.names: dict[str, None] = {}
        self._turns: list[Json] = []
        self._calls: list[_Call] = []
        self._ids: set[str] = set()

    def add(self, message: Json, place: str) -> None:
        """Add one message; raises NotConverse."""
        role, content = message.get("role"), message.get("content")
        if role in ("tool", "function"):
            self._answer(message, place)
            return
        self._end_calls()
        if role in ("system", "developer"):
            self.system += texts(content, f"{place}.content")
        elif role == "user":
            self._turn("user", list(blocks_of(content, f"{place}.content")))
        elif role == "assistant":
            self._turn("assistant", texts(content, f"{place}.content") + self._called(message, place))
        else:
            raise NotConverse("is none of `system`, `developer`, `user`, `assistant` and `tool`", f"{place}.role")

    def turns(self) -> list[Json]:
        """Return the turns; raises NotConverse if there are none."""
        self._end_calls()
        if not self._turns:
            raise NotConverse("need at least one message with text", "messages", "invalid_value")
        return self._turns

    def _turn(self, role: str, blocks: list[Json]) -> None:
        if not blocks:
            return
        if self._turns and self._turns[-1]["role"] == role:
            self._turns[-1]["content"] += blocks
        else:
            self._turns.append({"role": role, "content": blocks})

    def _called(self, message: Json, place: str) -> list[Json]:
        calls = message.get("tool_calls") or []
        if type(calls) is not list:
            raise NotConverse("must be a list", f"{place}.tool_calls", "invalid_value")
        blocks = [self._call(call, f"{place}.tool_calls[{number}]") for number, call in enumerate(calls)]
        if type(message.get("function_call")) is dict:
            older = {"id": "", "function": message["function_call"]}
            blocks.append(self._call(older, f"{place}.function_call"))
        return blocks

    def _call(self, call: Any, place: str) -> Json:
        function = call.get("function") if type(call) is dict else None
        name = function.get("name") if type(function) is dict else None
        if type(function) is not dict or type(name) is not str or not name:
            raise NotConverse("must be a call of a function with a name", place)
        given = call.get("id") or ""
        if type(given) is not str:
            raise NotConverse("must have a text as its `id`", place, "invalid_value")
        made = _Call(given, self._own_id(given))
        self._calls.append(made)
        self.names[safe_name(name)] = None
        use = {"toolUseId": made.sent, "name": safe_name(name), "input": _input(function.get("arguments"))}
        return {"toolUse": use}

    def _own_id(self, given: str) -> str:
        """Return an id that no other call of the conversation has."""
        sent, number = safe_name(given), 0
        while sent in self._ids:
            number += 1
            sent = safe_name(f"{given}\n{number}+{len(self._ids)}")
        self._ids.add(sent)
        return sent

    def _answer(self, message: Json, place: str) -> None:
        given = message.get("tool_call_id") or ""
        for call in self._calls:
            if call.given == given and call.result is None:
                call.result = result_of(message.get("content"), f"{place}.content")
                return
        raise NotConverse("is the id of no open call of the message before", f"{place}.tool_call_id", "invalid_value")

    def _end_calls(self) -> None:
        results = [
            {"toolResult": {"toolUseId": call.sent, "content": call.result}}
            for call in self._calls
            if call.result is not None
        ]
        self._calls = []
        self._turn("user", results)


def _input(arguments: Any) -> Json:
    """Return the arguments of an earlier call as an object; of a broken one, which is history, its text."""
    try:
        found = loads(arguments) if type(arguments) is str and arguments.strip() else (arguments or {})
    except (ValueError, RecursionError):
        found = None
    return found if type(found) is dict else {"arguments": str(arguments)}
