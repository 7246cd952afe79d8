"""The decision log: one whole line for every decision, or no decision."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import stat
import threading
from pathlib import Path

import pytest
from authz_peers import ALICE, BOTH, READ, answer, decision
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.vocabulary import Action, Anonymous, Principal, Resource, Route
from server.authz import decision_log
from server.authz.answer import read_answer
from server.authz.decision_log import DecisionLog
from server.authz.decision_record import lines_of
from server.authz.errors import Failure, PolicyUnavailable
from server.authz.question import Question

ANSWER = read_answer(answer(route=decision(rule="route_policy[1]"), resource=decision(effect="deny")), BOTH)


def test_a_question_about_route_and_resource_makes_two_lines_with_one_decision_id() -> None:
    route, resource = [json.loads(line) for line in lines_of("req_1", "d1", BOTH, ANSWER, 1.23456)]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", route.pop("time"))
    resource.pop("time")
    shared = {
        "request_id": "req_1",
        "decision_id": "d1",
        "revision": "r1",
        "principal": "alice",
        "issuer": "https://issuer.example",
        "source": "config.yaml:41",
        "description": None,
        "reason": "the rule permits it",
        "milliseconds": 1.235,
    }
    assert route == shared | {"route": "GET /v1/models", "effect": "permit", "rule": "route_policy[1]"}
    assert resource == shared | {
        "action": "read",
        "resource": "model::ollama/llama",
        "effect": "deny",
        "rule": "access_policy[0]",
    }


def test_a_question_without_an_answer_is_logged_as_unavailable() -> None:
    question = Question(Anonymous(), action=Action.CREATE, resource=Resource("prompt", ()))
    (line,) = lines_of("req_1", "d1", question, "opa can't be reached", 250)
    record = json.loads(line)
    assert (record["effect"], record["reason"]) == ("unavailable", "opa can't be reached")
    assert (record["principal"], record["issuer"], record["revision"], record["rule"]) == (None, None, None, None)
    assert (record["action"], record["resource"]) == ("create", "prompt::")


@settings(deadline=None)  # how long an example takes is the machine's affair
@given(st.text(max_size=50), st.text(max_size=50), st.text(max_size=50))
def test_no_value_can_end_a_line_or_move_a_cursor(principal: str, name: str, path: str) -> None:
    question = Question(
        Principal(principal + "\n\x1b[2J\x7f\u2028"), Route("GET", path), Action.READ, Resource("model", (name,))
    )
    for line in lines_of("req\r\n", "d", question, ANSWER, 0):
        assert line.isascii()
        assert line.isprintable()
        assert json.loads(line)["principal"] == principal + "\n\x1b[2J\x7f\u2028"


def test_attributes_stay_out_of_the_log() -> None:
    (line,) = lines_of("req_1", "d1", READ, read_answer(answer(resource=decision()), READ), 0)
    assert "developer" in dict(ALICE.attributes)["roles"]
    assert "developer" not in line


def test_lines_reach_the_file_in_order_and_only_its_owner_may_read_them(tmp_path: Path) -> None:
    path = tmp_path / "var" / "log" / "decisions.jsonl"

    async def main() -> None:
        log = DecisionLog.to_file(path)
        for number in range(5000):
            await log.write(str(number))
        await log.flush()
        assert path.read_text().splitlines() == [str(number) for number in range(5000)]
        await log.write("last")
        await log.close()
        await log.close()

    asyncio.run(main())
    assert path.read_text().splitlines()[-1] == "last"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_writing_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writing, go_on = threading.Event(), threading.Event()
    write = os.write

    def slow(descriptor: int, data: memoryview) -> int:
        writing.set()
        assert go_on.wait(20)
        return write(descriptor, data)

    async def main() -> None:
        log = DecisionLog.to_file(tmp_path / "log")
        monkeypatch.setattr(os, "write", slow)
        await log.write("first")
        await asyncio.to_thread(writing.wait, 20)
        await log.write("second")
        go_on.set()
        await log.close()

    asyncio.run(main())
    assert (tmp_path / "log").read_text() == "first\nsecond\n"


def test_a_full_queue_makes_the_next_decision_wait_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    write = os.write

    def blocked(descriptor: int, data: memoryview) -> int:
        assert go_on.wait(20)
        return write(descriptor, data)

    async def main() -> None:
        log = DecisionLog.to_file(tmp_path / "log", max_lines=10)
        monkeypatch.setattr(os, "write", blocked)

        async def fill() -> None:
            for number in range(200):
                await log.write(str(number))

        filling = asyncio.create_task(fill())
        done, _ = await asyncio.wait([filling], timeout=0.1)
        assert not done
        go_on.set()
        await filling
        await log.close()

    asyncio.run(main())
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(200)]


def test_a_disk_that_stays_full_ends_decisions_and_one_that_recovers_gets_every_line_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = True
    write = os.write

    def partly(descriptor: int, data: memoryview) -> int:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:3])

    async def main() -> None:
        nonlocal full
        monkeypatch.setattr(decision_log, "PATIENCE_SECONDS", 0.2)
        log = DecisionLog.to_file(tmp_path / "log", max_lines=10)
        monkeypatch.setattr(os, "write", partly)
        accepted = []
        with pytest.raises(PolicyUnavailable) as caught:
            for number in range(1000):
                await log.write(f"line {number}")
                accepted.append(f"line {number}")
        assert caught.value.failure is Failure.DECISION_LOG
        assert len(accepted) < 1000
        full = False
        monkeypatch.setattr(decision_log, "PATIENCE_SECONDS", 20)
        await log.flush()
        assert (tmp_path / "log").read_text().splitlines() == accepted
        await log.close()

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        f"the decision log can't be written: {os.strerror(errno.ENOSPC)}"
    ]


def test_closing_with_a_dead_sink_says_how_much_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def dead(descriptor: int, data: memoryview) -> int:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    async def main() -> None:
        log = DecisionLog.to_file(tmp_path / "log")
        monkeypatch.setattr(os, "write", dead)
        for number in range(3):
            await log.write(str(number))
        await log.close()
        with pytest.raises(PolicyUnavailable):
            await log.write("too late")

    asyncio.run(main())
    assert caplog.records[-1].getMessage() == "3 lines of the decision log could not be written"


def test_a_line_that_a_killed_server_left_torn_does_not_spoil_the_next(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('whole\n{"time":"2026')

    async def main() -> None:
        log = DecisionLog.to_file(tmp_path / "log")
        await log.write("next")
        await log.close()

    asyncio.run(main())
    assert (tmp_path / "log").read_text() == 'whole\n{"time":"2026\nnext\n'


def test_standard_output_is_a_sink_and_stays_open(capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        log = DecisionLog.to_stdout()
        await log.write("a line")
        await log.close()

    asyncio.run(main())
    os.write(1, b"still open\n")
    assert capfd.readouterr().out == "a line\nstill open\n"
