"""Events of OPA's own decision log: while that can't be written, and those that are long."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import re
import signal
import threading
import time
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Final

import pytest
import uvloop

from server.authz.contract.errors import PolicyUnavailable
from server.authz.contract.question import encode
from server.authz.decision_log import log as decision_log
from server.authz.decision_log.journal import Journal
from server.authz.decision_log.log import DecisionLog
from server.authz.decision_log.sink import Beginning
from server.authz.opa import process as opa_process
from server.authz.opa.control_plane import ControlPlane
from server.authz.opa.log import LONGEST_EVENT, event
from server.authz.opa.process import OpaProcess
from server.authz.opa.runtime_directory import RuntimeDirectory
from server.authz.opa.transport import OpaTransport, UnixAddress
from server.authz.pdp import PolicyDecisionPoint
from server.authz.readiness import CANARY, AuthenticationMode, ReadinessProbe
from tests.support.opa_server import write_bundle
from tests.support.patience import PATIENCE

EVENT: Final = '{"msg":"Decision Log"}'
LATER: Final = 3.0
"""Seconds after which the sink works in any case, so that a loop which does not turn ends."""


class Closed:
    """A pipe without a reader, until there is one."""

    def __init__(self) -> None:
        self.is_read = threading.Event()
        self.taken = b""

    def append(self, lines: bytes, start: int, begin: Beginning) -> int:
        if not self.is_read.is_set():
            raise OSError(errno.EPIPE, "broken pipe")
        self.taken += lines[start:]
        return len(lines)

    def sync(self) -> None:
        pass

    def free_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        pass


def opa(directory: Path, events: DecisionLog) -> OpaProcess:
    """An OPA that is not started."""
    address = UnixAddress(directory / "opa.sock")
    pdp = PolicyDecisionPoint(OpaTransport(address), None)
    probe = ReadinessProbe(pdp, ControlPlane(address), AuthenticationMode.CONFIGURED)
    return OpaProcess(directory / "opa", directory / "bundle", RuntimeDirectory.claim(directory / "run"), probe, events)


def test_events_that_can_not_be_written_stop_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_log, "PATIENCE_SECONDS", 0.05)

    async def main() -> None:
        sink = Closed()
        log = DecisionLog(sink, Journal.in_memory())
        process = opa(tmp_path, log)
        await log.write(['{"first":1}'])
        await asyncio.sleep(0.2)
        assert log.fault is not None
        reader = threading.Timer(LATER, sink.is_read.set)
        reader.start()
        stream = asyncio.StreamReader()
        stream.feed_data(f"{EVENT}\n".encode())
        stream.feed_eof()
        relay = asyncio.create_task(process._relay_lines(stream))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not sink.is_read.is_set(), "the loop has turned while the event waited"
        assert not relay.done()
        reader.cancel()
        sink.is_read.set()
        async with asyncio.timeout(PATIENCE):
            await relay
        await log.close()
        assert sink.taken.decode().splitlines() == ['{"first":1}', EVENT]
        await process.stop()

    asyncio.run(main())


def test_a_long_event_is_cut_and_holds_up_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        sink = Closed()
        sink.is_read.set()
        log = DecisionLog(sink, Journal.in_memory())
        process = opa(tmp_path, log)
        stream = asyncio.StreamReader()
        long = EVENT[:-1] + ',"x":"' + LONGEST_EVENT // 3 * "\u00e9" + '"}'
        stream.feed_data(f"{long}\n{EVENT}\n".encode())
        stream.feed_eof()
        async with asyncio.timeout(PATIENCE):
            await process._relay_lines(stream)
        await log.close()
        first, second = sink.taken.decode().splitlines()
        assert len(first) == LONGEST_EVENT and first.startswith(EVENT[:-1])
        assert second == EVENT
        await process.stop()

    asyncio.run(main())


def test_an_event_is_escaped_as_one_character_after_the_other_would_be() -> None:
    chosen = random.Random(4)  # noqa: S311 - a repeatable choice of texts
    pieces = ["\\", '"', "\0", "n", "u0", "\u00e9", "\U0001f600", "\x7f", "\t", " ", '\\"', "\\\\", "\ufffd"]
    for _ in range(5_000):
        text = EVENT + "".join(chosen.choices(pieces, k=chosen.randrange(12)))
        wanted = re.sub(r"[^ -~]", lambda found: encode_basestring_ascii(found[0])[1:-1], text.strip())
        assert event(text.encode()) == wanted


@pytest.mark.alone
def test_to_escape_a_long_event_takes_no_time_that_others_notice() -> None:
    line = (EVENT + LONGEST_EVENT * "\x7f").encode()
    began = time.thread_time()
    assert event(line) is not None
    assert time.thread_time() - began < 0.04


def test_a_crash_leaves_no_reader_of_events_behind(
    tmp_path: Path, opa_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_log, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(opa_process, "_STOP_SECONDS", 0.2)

    async def main() -> None:
        sink = Closed()
        log = DecisionLog(sink, Journal.in_memory())
        directory = RuntimeDirectory.claim(tmp_path / "run")
        address = UnixAddress(directory.socket)
        transport, control = OpaTransport(address), ControlPlane(address)
        probe = ReadinessProbe(PolicyDecisionPoint(transport, "r1"), control, AuthenticationMode.CONFIGURED)
        process = OpaProcess(opa_binary, write_bundle(tmp_path / "bundle.tar.gz"), directory, probe, log)
        try:
            await process.start()
            relay, pid = process._relay, process.pid
            assert relay is not None and pid is not None
            with pytest.raises(PolicyUnavailable):  # OPA waits for its log
                while True:
                    await transport.exchange(encode(CANARY))
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                while process.restarts == 0:  # noqa: ASYNC110 - it has no event to wait for
                    await asyncio.sleep(0.02)
            assert relay.done()
        finally:
            sink.is_read.set()
            await process.stop()
            transport.close()
            await control.close()
            await log.close()

    uvloop.run(main())
