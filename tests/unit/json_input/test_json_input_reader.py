"""Reading large bodies beside the server: the same answers, limits for everything, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom, Share
from server.json_input import reader, worker
from server.json_input.reader import INCOMING, LARGE, READS, Reader
from server.json_input.strict import InvalidJson, Why, parse_json
from tests.support import body_checks

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[3]
SMALL = b'{"a":1,"b":2}'
LARGE_ONE = b'{"a":1,"b":"' + b"x" * LARGE + b'"}'
MEGABYTES = 10 * 1024 * 1024


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@asynccontextmanager
async def opened() -> AsyncIterator[Reader]:
    made = Reader()
    try:
        yield made
    finally:
        await made.close()


def refusal_of(raw: bytes, look: reader.BodyCheck) -> InvalidJson:
    async def read() -> None:
        async with opened() as made:
            await made.look(raw, look)

    with pytest.raises(InvalidJson) as refusal:
        run(read())
    return refusal.value


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def wait_until_gone(pid: int) -> None:
    expires = time.monotonic() + 30
    while is_running(pid):
        assert time.monotonic() < expires, "the reading process is still there"
        time.sleep(0.02)


def test_a_small_body_is_read_here_and_a_large_one_elsewhere() -> None:
    async def read() -> tuple[int, int, int]:
        async with opened() as made:
            small = await made.look(SMALL, body_checks.count)
            first = await made.look(LARGE_ONE, body_checks.count)
            second = await made.look(LARGE_ONE, body_checks.count)
        assert (small["members"], first["members"], second["members"]) == (2, 2, 2)
        return small["pid"], first["pid"], second["pid"]

    small, first, second = run(read())
    assert small == os.getpid() != first == second
    wait_until_gone(first)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1' + b" " * LARGE,
        b'{"a":"\xff' + b"x" * LARGE + b'"}',
        b'{"a":[' + b"[" * LARGE,
        b'{"a":NaN,"b":"' + b"x" * LARGE + b'"}',
        b'{"a":"\\ud800' + b"x" * LARGE + b'"}',
        b'{"x":1,"x":"' + b"x" * LARGE + b'"}',
        b'{"a":' + b"1" * LARGE + b"}",
        b"[" + b"1," * LARGE + b"1]",
    ],
)
def test_what_is_refused_is_refused_in_the_same_words_wherever_it_is_read(raw: bytes) -> None:
    beside = refusal_of(raw, body_checks.count)
    with pytest.raises(InvalidJson) as here:
        parse_json(raw)
    assert (beside.message, beside.why) == (here.value.message, here.value.why)


@pytest.mark.parametrize("raw", [SMALL, LARGE_ONE])
def test_a_look_refuses_with_its_place_and_code(raw: bytes) -> None:
    refusal = refusal_of(raw, body_checks.complain)
    assert (refusal.message, refusal.param, refusal.code) == ("`a` is wrong", "a[0]", "invalid_value")


def test_a_reading_process_sees_nothing_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")

    async def read() -> Any:
        async with opened() as made:
            return await made.look(LARGE_ONE, body_checks.surroundings)

    found = run(read())
    assert "OPENAI_API_KEY" not in found["environment"]
    assert found["folder"] == "/"


def test_a_body_of_too_many_values_is_refused_and_the_next_one_is_read() -> None:
    async def read() -> Any:
        async with opened() as made:
            deep = b'{"":' * 50 + b"1" + b"}" * 50 + b","
            hostile = b'{"a":[' + deep * (MEGABYTES // len(deep)) + '"😀"]}'.encode()
            with pytest.raises(InvalidJson) as refusal:
                await made.look(hostile, body_checks.count)
            return refusal.value.why, await made.look(LARGE_ONE, body_checks.count)

    why, found = run(read())
    assert why is Why.TOO_COMPLEX
    assert found["members"] == 2


@pytest.mark.parametrize("look", [body_checks.die, body_checks.fail, body_checks.babble])
def test_a_process_that_fails_costs_one_body_and_is_replaced(look: reader.BodyCheck) -> None:
    async def read() -> Any:
        async with opened() as made:
            with pytest.raises(InvalidJson) as refusal:
                await made.look(LARGE_ONE, look)
            return refusal.value, await made.look(LARGE_ONE, body_checks.count)

    refusal, found = run(read())
    assert refusal.why is Why.BUSY
    assert "canary" not in refusal.message
    assert found["members"] == 2


def test_a_process_that_was_killed_while_it_waited_costs_nothing() -> None:
    async def read() -> tuple[Any, Any]:
        async with opened() as made:
            first = await made.look(LARGE_ONE, body_checks.count)
            os.kill(first["pid"], signal.SIGKILL)
            await asyncio.to_thread(wait_until_gone, first["pid"])
            await asyncio.sleep(0.1)  # the event loop learns of it with its next turns
            return first, await made.look(LARGE_ONE, body_checks.count)

    first, second = run(read())
    assert first["pid"] != second["pid"]


def test_a_body_that_takes_too_long_is_given_up_and_its_process_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "READ_SECONDS", 0.5)
    assert refusal_of(LARGE_ONE, body_checks.linger).why is Why.BUSY


async def linger(made: Reader, caller: str) -> Any:
    CURRENT.set((caller,))
    return await made.look(LARGE_ONE, body_checks.linger)


def test_a_reader_that_is_given_up_ends_its_process_and_lets_the_next_one_in() -> None:
    async def read() -> Any:
        async with opened() as made:
            stuck = [asyncio.create_task(linger(made, f"{number}")) for number in range(READS.capacity)]
            await asyncio.sleep(0.2)
            assert made.turns.used == READS.capacity
            for task in stuck:
                task.cancel()
            await asyncio.wait(stuck)
            assert all(task.cancelled() for task in stuck)
            return await made.look(LARGE_ONE, body_checks.count)

    assert run(read())["members"] == 2


def test_a_callers_bodies_wait_for_each_other_and_for_no_others() -> None:
    async def read() -> Any:
        async with opened() as made:
            greedy = [asyncio.create_task(linger(made, "greedy")) for _ in range(8)]
            await asyncio.sleep(0)
            found = await made.look(LARGE_ONE, body_checks.count)
            for task in greedy:
                task.cancel()
            await asyncio.wait(greedy)
            assert (made.turns.used, made.turns.waiting, len(made.turns._holders)) == (0, 0, 0)
            return found

    assert run(read())["members"] == 2


def test_only_so_many_wait_and_small_bodies_never_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "READS", Share("large bodies", 2, 1, waiting=8, waiting_each=4, seconds=20.0))

    async def read() -> Any:
        async with opened() as made:
            waiting = [asyncio.create_task(linger(made, "greedy")) for _ in range(5)]
            await asyncio.sleep(0)
            with pytest.raises(NoRoom) as refusal:
                await linger(made, "greedy")
            CURRENT.set(("modest",))
            small = await made.look(SMALL, body_checks.count)
            large = await made.look(LARGE_ONE, body_checks.count)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            return refusal.value.of_caller, small["members"], large["members"]

    assert run(read()) == (True, 2, 2)


def test_many_bodies_at_once_are_each_answered_for_themselves() -> None:
    async def read() -> list[Any]:
        bodies = [
            b'{"x":"' + b"x" * LARGE + b'",' + b",".join(b'"%d":1' % n for n in range(count)) + b"}"
            for count in range(1, 21)
        ]
        async with opened() as made:
            return await asyncio.gather(*(made.look(raw, body_checks.count) for raw in bodies))

    found = run(read())
    assert [answer["members"] for answer in found] == list(range(2, 22))
    assert len({answer["pid"] for answer in found}) <= READS.each


@pytest.mark.parametrize(("workers", "each"), [(1, 80), (2, 40), (3, 26.666), (4, 20), (64, 20)])
def test_workers_divide_the_bytes_that_a_caller_has_on_their_way(workers: int, each: float) -> None:
    share = Reader(workers).room.shares.share
    assert share.each == pytest.approx(each * 1024 * 1024, rel=0.001)
    assert share.capacity == INCOMING.capacity


def test_a_killed_server_leaves_no_reading_process_behind() -> None:
    code = (
        "import asyncio; from server.json_input.reader import Reader; from tests.support import body_checks\n"
        "async def main():\n"
        "    made = Reader()\n"
        f"    raw = b'{{\"a\":\"' + b'x' * {LARGE} + b'\"}}'\n"
        "    print((await made.look(raw, body_checks.count))['pid'], flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert is_running(pid)
        server.kill()
    wait_until_gone(pid)


def test_what_a_reading_process_imports_is_the_standard_library_and_little_of_ours() -> None:
    code = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "import server.json_input.worker, server.api.chat.body, server.inference.providers.echo\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(ROOT)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # Of `policy` the vocabulary alone, by the shares of callers.
    assert set(said.split()) <= {"__main__", "policy", "server"}


def test_the_limit_of_memory_is_one_that_an_honest_body_does_not_meet() -> None:
    numbers = b'{"a":[' + b"0.125," * (MEGABYTES // 6 - 10) + b"1]}"

    async def read() -> Any:
        async with opened() as made:
            return await made.look(numbers, body_checks.count)

    assert len(numbers) < MEGABYTES < worker.MEMORY
    assert run(read())["members"] == 1
