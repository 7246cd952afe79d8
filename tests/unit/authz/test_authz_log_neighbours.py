"""The cost of one caller to others in the decision log: short lines, and a bounded part of the journal."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from server.authz.contract.answer import read_answer
from server.authz.decision_log import log as decision_log
from server.authz.decision_log.journal import HALF
from server.authz.decision_log.limits import LINES, MOST_TEXT
from server.authz.decision_log.log import DecisionLog
from server.authz.decision_log.record import lines_of, lines_of_reads
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from tests.support.broken_opa import ALICE, answer, decision
from tests.support.log_lines import NOBODY, REFUSED, question, valid
from tests.support.patience import PATIENCE


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
        assert go_on.wait(PATIENCE)
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
