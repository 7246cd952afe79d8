"""Case by case: whatever OPA says that is not certainly a decision of the wanted policy, the client gets a 503."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from server.authz.opa.breaker import FAILURES_TO_OPEN
from tests.support.failing_policy import BOTH, LIST, ROUTE, Doubted, check_refused, check_unready, in_doubt
from tests.support.metrics_page import measured
from tests.support.scripted_opa import REVISION, Fault, Json, ScriptedOpa, reply, scripted_opa

ENTRYPOINTS = {ROUTE: None, BOTH: None, LIST: "answers"}
"""Where the fault is; a list is only asked for once its route is permitted."""


def sending(data: bytes) -> Fault:
    async def send(right: Json, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return send


def closing_after(make: Callable[[bytes], bytes]) -> Fault:
    """Send what becomes of the right answer, and close."""

    async def send(right: Json, writer: asyncio.StreamWriter) -> None:
        writer.write(make(reply(json.dumps(right).encode())))
        await writer.drain()
        writer.close()

    return send


def rewriting(make: Callable[[bytes], bytes]) -> Fault:
    """Send the right answer with another text for its body."""

    async def send(right: Json, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(make(json.dumps(right).encode())))

    return send


def changing(change: Callable[[Json], None]) -> Fault:
    """Send the right answer with something else in each of its results."""

    async def send(right: Json, writer: asyncio.StreamWriter) -> None:
        result = right["result"]
        for each in result if isinstance(result, list) else [result]:
            change(each)
        writer.write(reply(json.dumps(right).encode()))

    return send


def setting(**members: Any) -> Fault:
    return changing(lambda result: result.update(members))


def in_decisions(**members: Any) -> Fault:
    def change(result: Json) -> None:
        for part in {"route", "resource"} & result.keys():
            result[part].update(members)

    return changing(change)


def of_the_other_part(result: Json) -> None:
    """What was asked alone is answered by the part that was not asked about; of what was asked together, half."""
    if "route" in result and "resource" in result:
        del result["resource"]
    elif "route" in result:
        result["resource"] = result.pop("route")
    elif "resource" in result:
        result["route"] = result.pop("resource")


def of_every_part(result: Json) -> None:
    """All that was asked, and a part that was not."""
    permit = result.get("route") or result.get("resource")
    if permit is not None:
        result.update({part: permit for part in ("route", "resource", "list") if part not in result})


async def slow(right: Json, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(1.5)
    writer.write(reply(json.dumps(right).encode()))


async def endless(right: Json, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

ROWS: dict[str, tuple[Fault, str]] = {
    "slow by 1.5 s": (slow, "deadline"),
    "an answer that never ends": (endless, "deadline"),
    "status 500": (sending(reply(b'{"code":"internal_error"}', "500 Internal Server Error")), "status"),
    "status 500 with a permit": (
        closing_after(lambda right: right.replace(b"200 OK", b"500 Internal Server Error", 1)),
        "status",
    ),
    "status 404": (sending(reply(b"{}", "404 Not Found")), "status"),
    "an empty body": (sending(reply(b"")), "malformed"),
    "an undefined document": (sending(reply(b"{}")), "malformed"),
    "result null": (sending(reply(b'{"result":null}')), "malformed"),
    "result 'true'": (sending(reply(b'{"result":"true"}')), "malformed"),
    "result true": (sending(reply(b'{"result":true}')), "malformed"),
    "result 1": (sending(reply(b'{"result":1}')), "malformed"),
    "result {}": (sending(reply(b'{"result":{}}')), "malformed"),
    "a list": (sending(reply(b"[]")), "malformed"),
    "truncated JSON": (rewriting(lambda right: right[:-9]), "malformed"),
    "a permit and then some": (rewriting(lambda right: right + b" true"), "malformed"),
    "no UTF-8": (rewriting(lambda right: right.replace(b'"x"', b'"\xff"')), "malformed"),
    "truncated HTTP": (closing_after(lambda right: right[:-9]), "closed"),
    "a head alone": (closing_after(lambda right: right[:30]), "closed"),
    "nothing at all": (closing_after(lambda right: b""), "closed"),
    "a content length that is too long": (
        closing_after(lambda right: right.replace(b"Content-Length: ", b"Content-Length: 9")),
        "closed",
    ),
    "a content length that is too short": (
        closing_after(lambda right: right.replace(b"Content-Length: ", b"Content-Length: 1\r\nX: ")),
        "malformed",
    ),
    "a content length that is a word": (
        closing_after(lambda right: right.replace(b"Content-Length: ", b"Content-Length: some\r\nX: ")),
        "malformed",
    ),
    "chunks of garbage": (sending(CHUNKED + b"zz\r\ngarbage\r\n0\r\n\r\n"), "malformed"),
    "chunks that break off": (closing_after(lambda right: CHUNKED + b"9\r\n{"), "closed"),
    "not HTTP": (sending(b"\x16\x03\x01\x02\x00"), "malformed"),
    "an answer of 10 MB": (rewriting(lambda right: right[:-1] + b" " * 10_000_000 + b"}"), "too_large"),
    "the wrong revision": (setting(revision="r0"), "revision"),
    "no revision": (changing(lambda result: result.pop("revision")), "malformed"),
    "revision null": (setting(revision=None), "malformed"),
    "another contract": (setting(contract=2), "malformed"),
    "no contract": (changing(lambda result: result.pop("contract")), "malformed"),
    "a duplicate result": (rewriting(lambda right: b'{"result":{},' + right[1:]), "malformed"),
    "a duplicate effect": (
        rewriting(lambda right: right.replace(b'"effect": ', b'"effect": "deny", "effect": ')),
        "malformed",
    ),
    "a permit with unknown obligations": (in_decisions(obligations=[{"id": "redact"}]), "malformed"),
    "a permit with more members": (in_decisions(allow=True), "malformed"),
    "effect true": (in_decisions(effect=True), "malformed"),
    "effect 'allow'": (in_decisions(effect="allow"), "malformed"),
    "a permit for the wrong part": (changing(of_the_other_part), "malformed"),
    "a permit for more than was asked": (changing(of_every_part), "malformed"),
    "a permit beside the decisions": (setting(allow=True), "malformed"),
}


TRIES = 5
"""A busy machine may make an answer late before it is found to be wrong, but not every time."""


@pytest.fixture(scope="module")
def opa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedOpa]:
    with scripted_opa(tmp_path_factory.mktemp("opa") / "s") as running:
        yield running


@pytest.fixture(scope="module")
def running(opa: ScriptedOpa, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doubted]:
    with in_doubt(opa.address, REVISION, tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def house(opa: ScriptedOpa, running: Doubted) -> Iterator[Doubted]:
    """The server while OPA is well; what a test breaks is mended after it."""
    yield running
    opa.fault = opa.entrypoint = None
    opa.start()
    running.until_served()


@pytest.mark.parametrize("question", [ROUTE, BOTH, LIST])
@pytest.mark.parametrize("row", ROWS)
def test_no_decision_is_a_503_that_is_counted_and_logged(
    house: Doubted, opa: ScriptedOpa, row: str, question: str
) -> None:
    fault, reason = ROWS[row]
    before = house.unavailable(reason)
    for _ in range(TRIES):
        opa.fault, opa.entrypoint = fault, ENTRYPOINTS[question]
        check_refused(house, house.ask(question))
        if opa.entrypoint is None:
            check_unready(house)
        opa.fault = None
        house.until_served()
        if house.unavailable(reason) > before:
            return
    raise AssertionError(f"never counted as {reason}")


@pytest.mark.parametrize("question", [ROUTE, BOTH])
def test_an_opa_that_is_down_is_a_503(house: Doubted, opa: ScriptedOpa, question: str) -> None:
    before = house.unavailable("unreachable", "closed")
    opa.stop()
    check_refused(house, house.ask(question))
    check_unready(house)
    opa.start()
    house.until_served()
    assert house.unavailable("unreachable", "closed") > before


def test_a_refusal_with_obligations_is_no_refusal(house: Doubted, opa: ScriptedOpa) -> None:
    opa.fault = in_decisions(effect="deny", obligations=[{"id": "redact"}])
    check_refused(house, house.ask(ROUTE))
    opa.fault = in_decisions(effect="deny")
    assert house.decided(lambda: house.ask(ROUTE)).status == 403


def test_a_dead_opa_is_not_asked_by_every_request(house: Doubted, opa: ScriptedOpa) -> None:
    breaker, openings = house.unavailable("breaker"), house.metric("ostiary_opa_breaker_openings_total")
    opa.fault = slow
    for _ in range(FAILURES_TO_OPEN):
        check_refused(house, house.ask(ROUTE))
    asked, refused = len(opa.heads), 40
    for _ in range(refused):
        check_refused(house, house.ask(ROUTE))
    trials = len(opa.heads) - asked
    assert trials < refused / 2
    opa.fault = None
    house.until_served()
    assert house.unavailable("breaker") - breaker >= refused - trials
    assert house.metric("ostiary_opa_breaker_openings_total") > openings
    assert house.metric("ostiary_opa_breaker_open") == 0


def test_one_odd_answer_does_not_open_the_breaker(house: Doubted, opa: ScriptedOpa) -> None:
    before = house.unavailable("breaker")
    opa.fault = sending(reply(b"{}"))
    for _ in range(2 * FAILURES_TO_OPEN):
        check_refused(house, house.ask(ROUTE))
    opa.fault = None
    house.until_served()
    assert house.unavailable("breaker") == before


def test_what_was_undecided_is_counted_by_kind(house: Doubted, opa: ScriptedOpa) -> None:
    def undecided(kind: str) -> float:
        page = measured(house.address)
        return page.value("ostiary_decisions_total", kind=kind, effect="unavailable")

    before = {kind: undecided(kind) for kind in ("route", "resource", "list")}
    opa.fault = sending(reply(b"{}"))
    check_refused(house, house.ask(BOTH))
    opa.fault = None
    assert {kind: undecided(kind) - before[kind] for kind in before} == {"route": 1, "resource": 1, "list": 0}


def test_a_stream_without_a_decision_does_not_begin(house: Doubted, opa: ScriptedOpa) -> None:
    opa.fault = in_decisions(obligations=[{"id": "redact"}])
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    check_refused(house, house.address.post("/v1/chat/completions", body))
