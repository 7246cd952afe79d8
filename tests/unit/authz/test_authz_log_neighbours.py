"""What one caller can do to the decision log of all: counts, shares of its queue, and lines of bounded length."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from policy.vocabulary import Action, Anonymous, Origin, Principal, Resource, Route
from server.authz.contract.answer import read_answer
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import Question
from server.authz.decision_log import log as decision_log
from server.authz.decision_log import refusals
from server.authz.decision_log.journal import HALF
from server.authz.decision_log.limits import LINES, MOST_COUNTS, MOST_TEXT, WHOLE_ALL, WHOLE_EACH
from server.authz.decision_log.log import DecisionLog
from server.authz.decision_log.record import Counted, lines_of, lines_of_reads
from server.authz.decision_log.refusals import Refusals, counted_limit, counted_list, counted_of
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.quota.admission import Limited
from tests.support.broken_opa import ALICE, answer, decision

SCHEMA = Path(__file__).parents[3] / "docs" / "operate" / "decision-log.schema.json"
VALIDATOR = Draft202012Validator(json.loads(SCHEMA.read_text()))
NOBODY = Anonymous()
MODELS = Route("GET", "/v1/models")
REFUSED = {"effect": "deny"}


def valid(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The lines, each of which the schema describes."""
    records = [json.loads(line) for line in lines]
    for record in records:
        VALIDATOR.validate(record)
    return records


def deny(route: str = "/v1/models") -> Counted:
    """A refusal of a route."""
    return Counted("deny", Route("GET", route), "r1", "route_policy[0]", "config.yaml:3")


class Lines:
    """A log that keeps its lines in memory."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.is_down = False

    async def write(self, lines: Iterable[str]) -> None:
        if self.is_down:
            raise PolicyUnavailable(Failure.DECISION_LOG, "the decision log can't be written")
        self.lines += lines


def counting(scenario: Callable[[Refusals, Lines], Any]) -> list[dict[str, Any]]:
    """The lines that the scenario leaves."""
    log = Lines()

    async def run() -> None:
        counts = Refusals(log.write)
        await scenario(counts, log)
        await counts.close()

    asyncio.run(run())
    return valid(log.lines)


async def refuse(counts: Refusals, counted: Counted, times: int = 1) -> int:
    """How many of so many refusals have a line of their own."""
    whole = 0
    for _ in range(times):
        if counts.is_whole(counted):
            whole += 1
        else:
            await counts.count(counted)
    return whole


def test_beyond_the_rate_refusals_are_counted_and_none_is_lost() -> None:
    async def scenario(counts: Refusals, log: Lines) -> None:
        assert await refuse(counts, deny(), WHOLE_EACH + 5000) == WHOLE_EACH
        assert len(log.lines) == 1, "that counting begins is written at once"

    first, rest = counting(scenario)
    assert (first["kind"], first["route"], first["effect"], first["count"]) == ("refusals", "GET /v1/models", "deny", 1)
    assert (first["rule"], first["source"], first["revision"]) == ("route_policy[0]", "config.yaml:3", "r1")
    assert (rest["count"], rest["principal"]) == (4999, None)
    assert rest["since"] <= rest["time"]


def test_the_counts_are_written_when_the_window_ends_and_a_new_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "WINDOW_SECONDS", 0.1)

    async def scenario(counts: Refusals, log: Lines) -> None:
        for window in (1, 2):
            assert await refuse(counts, deny(), WHOLE_EACH + 11) == WHOLE_EACH
            async with asyncio.timeout(10):
                while len(log.lines) < 2 * window:  # noqa: ASYNC110 - the end of the window is what is waited for
                    await asyncio.sleep(0.01)

    assert [record["count"] for record in counting(scenario)] == [1, 10, 1, 10]


def test_each_address_has_its_own_lines_and_all_together_have_a_bound() -> None:
    async def scenario(counts: Refusals, _log: Lines) -> None:
        whole = 0
        for number in range(3 * WHOLE_ALL // WHOLE_EACH):
            CURRENT.set(("address", f"192.0.2.{number}"))
            found = await refuse(counts, deny(), 2 * WHOLE_EACH)
            assert found in (0, WHOLE_EACH)
            whole += found
        assert whole == WHOLE_ALL

    records = counting(scenario)
    assert sum(record["count"] for record in records) == 6 * WHOLE_ALL - WHOLE_ALL


def test_made_up_paths_make_no_more_counts_than_there_may_be() -> None:
    async def scenario(counts: Refusals, _log: Lines) -> None:
        for number in range(WHOLE_EACH + 3000):
            await refuse(counts, deny(f"/v1/{number}/" + "x" * 2000))

    records = counting(scenario)
    assert sum(record["count"] for record in records) == 3000
    assert len(records) <= MOST_COUNTS + 2
    assert records[-1]["route"] == "* /*"
    assert max(len(json.dumps(record)) for record in records) < 2 * MOST_TEXT


def test_counts_that_can_not_be_written_are_kept_and_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "WINDOW_SECONDS", 0.05)

    async def scenario(counts: Refusals, log: Lines) -> None:
        await refuse(counts, deny(), WHOLE_EACH + 11)
        log.is_down = True
        await asyncio.sleep(0.2)
        with pytest.raises(PolicyUnavailable):
            await counts.count(deny("/v1/other"))
        log.is_down = False
        async with asyncio.timeout(10):
            while len(log.lines) < 2:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)

    assert [record["count"] for record in counting(scenario)] == [1, 10]


def test_a_server_that_ends_says_how_many_it_could_not_write(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(counts: Refusals, log: Lines) -> None:
        await refuse(counts, deny(), WHOLE_EACH + 8)
        log.is_down = True

    counting(scenario)
    assert "7 refusals that were counted are not in the decision log" in caplog.text


def question(principal: Principal | Anonymous, path: str | None = "/v1/models", name: str | None = None) -> Question:
    """A question about a route, a model, or both."""
    route = None if path is None else Route("GET", path)
    if name is None:
        return Question(principal, route)
    return Question(principal, route, Action.READ, Resource("model", (name,), None, Origin.CONFIG))


def judged(asked: Question, **parts: Any) -> Counted | None:
    """What the answer to the question is counted as."""
    return counted_of(asked, read_answer(answer(**parts), asked))


def test_refusals_of_callers_without_a_token_are_counted_and_uses_never_are() -> None:
    permit, refusal = decision(), decision(**REFUSED)
    refused = judged(question(NOBODY), route=refusal)
    assert refused is not None
    assert (refused.effect, refused.asked) == ("deny", MODELS)
    of_model = judged(question(NOBODY, None, "m"), resource=refusal)
    assert of_model is not None
    assert (of_model.effect, of_model.asked) == ("deny", ("read", "model"))
    assert judged(question(NOBODY), route=permit) is None
    assert judged(question(NOBODY, None, "m"), resource=permit) is None
    assert judged(question(NOBODY, "/v1/models", "m"), route=permit, resource=permit) is None
    probe = judged(question(NOBODY, "/v1/health"), route=permit)
    assert probe is not None
    assert valid([probe.line("2026-01-01T00:00:00.000Z", 3)])[0]["kind"] == "probes"
    for one in (question(ALICE), question(ALICE, None, "m"), question(ALICE, "/v1/health")):
        assert counted_of(one, "opa can't be reached") is None
    assert judged(question(ALICE), route=refusal) is None
    silent = counted_of(question(NOBODY, None, "m"), "opa can't be reached")
    assert silent is not None
    assert valid([silent.line("2026-01-01T00:00:00.000Z", 3)])[0]["effect"] == "unavailable"
    assert counted_list(ALICE, "read", "model") is None
    assert counted_list(NOBODY, "read", "model") == Counted("unavailable", ("read", "model"), None)


def test_a_limit_that_stops_a_caller_by_the_thousand_names_both() -> None:
    counted = counted_limit(ALICE, MODELS, "r1", Limited("server.quota.limits[0].max_requests", 1, 1, "used up"))
    assert len({counted, counted_limit(ALICE, MODELS, "r1", Limited(str(counted.limit), 1, 1, "used up"))}) == 1
    (record,) = valid([counted.line("2026-01-01T00:00:00.000Z", 1000)])
    assert (record["principal"], record["issuer"], record["limit"]) == (
        ALICE.id,
        ALICE.issuer,
        "server.quota.limits[0].max_requests",
    )
    assert (record["effect"], record["count"]) == ("limited", 1000)


def test_resources_that_are_read_together_share_a_line_and_each_is_named() -> None:
    asked = [question(ALICE, None, f"m{number}") for number in range(100)]
    answers = [
        read_answer(answer(resource=decision(**(REFUSED if number % 10 == 3 else {}))), one)
        for number, one in enumerate(asked)
    ]
    lines = [*lines_of_reads("req_1", ["d1"] * 100, asked, answers, 1.0)]
    permitted, denied = valid(lines)
    assert (permitted["kind"], permitted["effect"], len(permitted["resources"])) == ("resources", "permit", 90)
    assert denied["resources"] == [f"model::m{number}" for number in range(3, 100, 10)]
    assert sum(map(len, lines)) < 5000
    by_id = valid(lines_of_reads("req_1", ["d1", "d2"] * 50, asked, answers, 1.0))
    assert [(line["decision_id"], line["effect"], len(line["resources"])) for line in by_id] == [
        ("d1", "permit", 50),
        ("d2", "permit", 40),
        ("d2", "deny", 10),
    ]
    (alone,) = valid(lines_of_reads("req_1", ["d1"], asked[:1], answers[:1], 1.0))
    assert (alone["kind"], alone["resource"]) == ("resource", "model::m0")
    (silent,) = valid(lines_of_reads("req_1", ["d1"] * 100, asked, "opa can't be reached", 1.0))
    assert (silent["effect"], len(silent["resources"])) == ("unavailable", 100)


@pytest.mark.parametrize("character", ["x", "\u00fc", "\U0001f600"])
def test_long_paths_and_names_leave_short_lines(character: str) -> None:
    asked = question(NOBODY, "/v1/" + character * 5000, character * 100_000)
    answered = read_answer(answer(route=decision(), resource=decision(**REFUSED)), asked)
    lines = [*lines_of("req_1", "d1", asked, answered, 1.0)]
    assert max(map(len, lines)) < 1000 + 12 * MOST_TEXT
    route, resource = valid(lines)
    assert route["route"].endswith("...(5008 characters)")
    assert resource["resource"].startswith(f"model::{character}")
    assert resource["resource"].endswith("...(100007 characters)")


@pytest.mark.alone
def test_a_caller_that_writes_much_delays_no_line_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def slow(descriptor: int, data: memoryview) -> int:
        time.sleep(0.3)
        return write(descriptor, data)

    async def scenario() -> None:
        log = DecisionLog.to_file(tmp_path / "log")
        monkeypatch.setattr(os, "write", slow)
        line = "{" + "x" * 9_998 + "}"

        async def greedy() -> None:
            CURRENT.set(("principal", "issuer", "greedy"))
            for _ in range(60):
                await log.write([line])

        flood = [asyncio.create_task(greedy()) for _ in range(10)]
        CURRENT.set(("principal", "issuer", "modest"))
        waits = []
        for _ in range(10):
            await asyncio.sleep(0.05)
            began = time.monotonic()
            await log.write(["{}"])
            waits.append(time.monotonic() - began)
        assert sum(wait < 0.05 for wait in waits) >= 9, waits
        assert not all(task.done() for task in flood)
        monkeypatch.setattr(os, "write", write)
        await asyncio.gather(*flood)
        await log.close()

    asyncio.run(scenario())
    assert len((tmp_path / "log").read_text().splitlines()) == 610


def test_what_waits_of_one_caller_is_bounded_and_refused_as_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_log, "LINES", replace(LINES, waiting_each=2))
    write, go_on = os.write, threading.Event()

    def blocked(descriptor: int, data: memoryview) -> int:
        assert go_on.wait(20)
        return write(descriptor, data)

    async def scenario() -> None:
        log = DecisionLog.to_file(tmp_path / "log")
        monkeypatch.setattr(os, "write", blocked)
        CURRENT.set(("principal", "issuer", "greedy"))
        line = "x" * (LINES.each // 4 - 1)
        for _ in range(4):
            await log.write([line])
        waiting = [asyncio.create_task(log.write([line])) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(NoRoom) as refused:
            await log.write([line])
        assert refused.value.of_caller
        CURRENT.set(("principal", "issuer", "modest"))
        await log.write(["{}"])
        go_on.set()
        await asyncio.gather(*waiting)
        await log.close()

    asyncio.run(scenario())
    assert len((tmp_path / "log").read_text().splitlines()) == 7


def test_all_lines_that_may_wait_fit_one_half_of_the_journal() -> None:
    assert LINES.capacity <= HALF - 40, "the head of a half takes 40 bytes"
