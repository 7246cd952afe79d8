"""Scripts of `inline::echo`: answers that a test writes for itself, in the text of its last user message.

The text is an object of JSON with the one member `echo`, an object with any of these members:

- `content`, `reasoning`, `refusal`: texts; the second is sent as `reasoning_content`.
- `tool_calls`: a list of `{"name": …, "arguments": …}`; arguments are a text, or an object that becomes one.
- `finish_reason`: a text; `tool_calls` where there are calls, else `stop`.
- `usage`: what is reported; null reports none.
- `delay_ms`: milliseconds before each chunk, and once before a whole answer.
- `error`: `{"status": 400 to 599, "code": …, "after": n}`; the n-th chunk is the last one before the failure. A whole
  answer, or a stream with 0, fails before it begins.
- `then`: the script of the answer once the calls have come to something. Without it, that answer repeats the last
  result.

The same script gives the same answer, ids included, but for the time of its creation. `script_of` may run in a worker
process, so this module imports the standard library, `server.json_input` and modules that import no more than these.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from json import dumps
from typing import Any, Final

from server.inference.provider import DONE, Fault, ProviderFailed
from server.json_input.strict import InvalidJson, Json, parse_json

LONGEST_DELAY: Final = 10_000
"""Milliseconds before one chunk."""

LONGEST_ANSWER: Final = 600_000
"""Milliseconds of all the delays of one answer."""

LONGEST_SCRIPT: Final = 32 * 1024
"""Characters of a script."""

MOST_CALLS: Final = 128

_TEXTS: Final = ("content", "reasoning", "refusal", "finish_reason")
_KNOWN: Final = frozenset({*_TEXTS, "tool_calls", "usage", "delay_ms", "error", "then"})
_NAMES: Final = {"reasoning": "reasoning_content", "content": "content", "refusal": "refusal"}
_CODE: Final = re.compile("[a-z_]{1,64}")
_WORD: Final = re.compile(r"\s*\S+\s*|\s+")
_ARGUMENTS: Final = re.compile(r"(?s).{1,16}")


def script_of(text: str, results: Sequence[str] = ()) -> Json | None:
    """Return the script that a text is; None if it is none. Raises InvalidJson for a wrong one.

    `results` are what the calls of each answer so far have come to: the script after them is returned.
    """
    if not text.lstrip().startswith('{"echo"'):
        return None
    if len(text) > LONGEST_SCRIPT:
        raise InvalidJson(f"a script has at most {LONGEST_SCRIPT} characters", "messages", "invalid_value")
    try:
        document = parse_json(text.encode()).members
    except InvalidJson:
        return None
    script = document.get("echo")
    if document.keys() != {"echo"} or type(script) is not dict:
        return None
    _check(script)
    for result in results:
        script = script.get("then") or {"content": f"echo: {result}"}
        _check(script)
    seed = sha256(f"{len(results)}{text}".encode() if results else text.encode())
    return {**script, "seed": seed.hexdigest()[:24]}


def _check(script: Json) -> None:
    unknown = sorted(script.keys() - _KNOWN)
    if unknown:
        raise _wrong("echo", f"takes {', '.join(f'`{name}`' for name in sorted(_KNOWN))}")
    for name in _TEXTS:
        if type(script.get(name)) not in (str, type(None)):
            raise _wrong(f"echo.{name}", "must be a text")
    if type(script.get("then")) not in (dict, type(None)):
        raise _wrong("echo.then", "must be the script of the next answer")
    calls = script.get("tool_calls", [])
    if type(calls) is not list or len(calls) > MOST_CALLS:
        raise _wrong("echo.tool_calls", f"must be a list of at most {MOST_CALLS} calls")
    for call in calls:
        if type(call) is not dict or type(call.get("name")) is not str or not call.keys() <= {"name", "arguments"}:
            raise _wrong("echo.tool_calls", "takes calls with `name` and `arguments`")
    if type(script.get("usage")) not in (dict, type(None)):
        raise _wrong("echo.usage", "must be an object or null")
    _number(script, "delay_ms", LONGEST_DELAY)
    error = script.get("error")
    if error is not None:
        _check_error(error)


def _check_error(error: Any) -> None:
    if type(error) is not dict or not error.keys() <= {"status", "code", "after"}:
        raise _wrong("echo.error", "takes `status`, `code` and `after`")
    _number(error, "after", 1_000_000)
    status, code = error.get("status", 500), error.get("code")
    if type(status) is not int or not 400 <= status <= 599:
        raise _wrong("echo.error.status", "must be a whole number from 400 to 599")
    if code is not None and (type(code) is not str or not _CODE.fullmatch(code)):
        raise _wrong("echo.error.code", "must be a code such as `invalid_value`")


def _number(holder: Json, name: str, most: int) -> None:
    value = holder.get(name, 0)
    if type(value) is not int or not 0 <= value <= most:
        raise _wrong(f"echo.{name}", f"must be a whole number from 0 to {most}")


def _wrong(place: str, demand: str) -> InvalidJson:
    return InvalidJson(f"`{place}` of the script {demand}", "messages", "invalid_value")


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """The answer of a script; `head` is what all its chunks have in common, with the id of the answer.

    `count` choices say the same. `usage` is what is reported where the script doesn't say it.
    """

    script: Json
    head: Json
    count: int
    usage: Json
    with_usage: bool

    async def whole(self) -> bytes:
        """Return the whole answer; raises ProviderFailed where the script says so."""
        await self._pause()
        if self.script.get("error") is not None:
            raise self._failure()
        said = {name: self.script[mine] for mine, name in _NAMES.items() if self.script.get(mine) is not None}
        message = {"role": "assistant", "content": None, "refusal": None, **said}
        if self.script.get("tool_calls"):
            message["tool_calls"] = self._calls()
        # Encoded once for all of the choices.
        said_by_all = _encoded(message)
        end = b',"logprobs":null,"finish_reason":%b}' % _encoded(self._reason)
        choices = b",".join(b'{"index":%d,"message":%b%b' % (index, said_by_all, end) for index in range(self.count))
        usage = self.script.get("usage", self.usage)
        told = {} if usage is None else {"usage": usage}
        answer = _encoded({**self.head, "object": "chat.completion", **told, "choices": []})
        return answer.removesuffix(b"]}") + choices + b"]}"

    def begin(self) -> None:
        """Raise ProviderFailed where the stream fails before its first chunk, or would take too long."""
        error = self.script.get("error")
        if error is not None and not error.get("after", 0):
            raise self._failure()
        delay = self.script.get("delay_ms", 0)
        if delay * self.count * sum(1 for _ in self._deltas()) > LONGEST_ANSWER:
            sentence = f"the delays of the script come to more than {LONGEST_ANSWER} milliseconds"
            raise ProviderFailed(Fault.REQUEST, sentence, code="invalid_value", param="messages")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the events; raises ProviderFailed behind the chunk that the script names."""
        error = self.script.get("error")
        for number, chunk in enumerate(self._chunks(), 1):
            await self._pause()
            yield b"data: %b\n\n" % _encoded(chunk)
            if error is not None and number == error["after"]:
                raise self._failure()
        yield DONE

    async def aclose(self) -> None:
        """Do nothing; no work is under way between two pieces."""

    def _chunks(self) -> Iterator[Json]:
        head = {**self.head, "object": "chat.completion.chunk"}
        usage = {"usage": None} if self.with_usage else {}
        for index in range(self.count):
            for delta, reason in self._deltas():
                choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
                yield {**head, "choices": [choice], **usage}
        told = self.script.get("usage", self.usage)
        if self.with_usage and told is not None:
            yield {**head, "choices": [], "usage": told}

    def _deltas(self) -> Iterator[tuple[Json, str | None]]:
        yield {"role": "assistant", "content": None if self.script.get("content") is None else ""}, None
        for mine, name in _NAMES.items():
            for found in _WORD.finditer(self.script.get(mine) or ""):
                yield {name: found[0]}, None
        for place, call in enumerate(self._calls()):
            arguments = call["function"]["arguments"]
            begun = {**call, "function": {**call["function"], "arguments": ""}}
            yield {"tool_calls": [{"index": place, **begun}]}, None
            for found in _ARGUMENTS.finditer(arguments):
                yield {"tool_calls": [{"index": place, "function": {"arguments": found[0]}}]}, None
        yield {}, self._reason

    def _calls(self) -> list[Json]:
        return [
            {
                "id": f"call_{self.script['seed'][:16]}{place:02d}",
                "type": "function",
                "function": {"name": call["name"], "arguments": _as_text(call.get("arguments", {}))},
            }
            for place, call in enumerate(self.script.get("tool_calls", ()))
        ]

    @property
    def _reason(self) -> str:
        return self.script.get("finish_reason") or ("tool_calls" if self.script.get("tool_calls") else "stop")

    async def _pause(self) -> None:
        await asyncio.sleep(self.script.get("delay_ms", 0) / 1000)

    def _failure(self) -> ProviderFailed:
        error = self.script["error"]
        status = error.get("status", 500)
        fault = Fault.BUSY if status == 429 else Fault.REQUEST if status < 500 else Fault.PROVIDER
        code = error.get("code") or {Fault.BUSY: "rate_limit_exceeded", Fault.PROVIDER: "server_error"}.get(fault)
        return ProviderFailed(fault, "the script says that this fails", code=code, status=status)


def _as_text(arguments: Any) -> str:
    return arguments if type(arguments) is str else _encoded(arguments).decode()


def _encoded(document: Any) -> bytes:
    return dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
