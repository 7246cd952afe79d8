"""The state of a dependency: what its use and its probes say of it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from server.fairness.caller import CURRENT, SERVER, Caller
from server.telemetry import dependencies
from server.telemetry.dependencies import Dependencies, Dependency, State, cause_of
from tests.support.patience import PATIENCE


class Probe:
    """Answers what it is told to; counts how often it is asked, and waits for `go_on`."""

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason
        self.asked = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self) -> str | None:
        """The answer."""
        self.asked += 1
        await self.go_on.wait()
        return self.reason


def test_the_last_use_decides_and_tells_since_when() -> None:
    found = Dependency("database")
    assert (found.finding.state, found.finding.since) == (State.UNKNOWN, None)
    found.worked()
    well = found.finding
    assert (well.state, well.reason) == (State.OK, None)
    found.worked()
    assert found.finding is well
    found.failed("one")
    down = found.finding
    assert (down.state, down.reason) == (State.DOWN, "one")
    found.failed("another")
    assert (found.finding.state, found.finding.reason) == (State.DOWN, "another")
    assert found.finding.since == down.since
    assert found.failures == 2
    found.worked()
    assert found.finding.state is State.OK


def test_what_fails_now_and_then_is_degraded_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(dependencies.time, "monotonic", lambda: now)
    found = Dependency("provider:far", hold=5.0)
    found.worked()
    found.failed("it failed")
    since = found.finding.since
    now = 104.0
    found.worked()
    assert (found.finding.state, found.finding.reason, found.finding.since) == (State.DEGRADED, "it failed", since)
    now = 105.0
    found.worked()
    assert (found.finding.state, found.finding.reason) == (State.OK, None)


def test_a_fault_of_the_request_is_none_of_the_dependency() -> None:
    found = Dependency("database")
    with pytest.raises(ValueError, match="ours"), found.used(OSError):
        raise ValueError("ours")
    assert found.finding.state is State.OK
    with pytest.raises(ConnectionResetError), found.used(OSError):
        raise ConnectionResetError(104, "Connection reset by peer 10.0.0.1")
    assert found.finding.reason == "it can't be used: Connection reset by peer"


def test_a_use_that_is_cut_short_says_nothing() -> None:
    found = Dependency("database")
    with pytest.raises(asyncio.CancelledError), found.used(OSError):
        raise asyncio.CancelledError
    assert (found.finding.state, found.failures) == (State.UNKNOWN, 0)


def test_who_asks_together_asks_once() -> None:
    async def main() -> None:
        probe = Probe("it is away")
        found = Dependency("provider:far", probe, on_timer=False)
        answers = await asyncio.gather(*(found.found() for _ in range(50)))
        assert {each.state for each in answers} == {State.DOWN}
        assert probe.asked == 1
        await found.found()
        assert probe.asked == 1

    asyncio.run(main())


def test_a_probe_uses_the_share_of_the_server_whoever_asks() -> None:
    async def main() -> None:
        callers: list[Caller] = []

        async def probe() -> None:
            callers.append(CURRENT.get())

        dependency = Dependency("database")
        dependency.probe = probe
        CURRENT.set(("address", "192.0.2.1"))
        assert (await dependency.found()).state is State.OK
        assert callers == [SERVER]
        assert CURRENT.get() == ("address", "192.0.2.1")

    asyncio.run(main())


def test_a_known_state_is_told_at_once_and_asked_for_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        probe = Probe()
        found = Dependency("provider:far", probe, on_timer=False, every=0.0)
        found.worked()
        probe.go_on.clear()
        async with asyncio.timeout(PATIENCE):
            assert (await found.found()).state is State.OK
            assert (await found.found()).state is State.OK
        assert probe.asked <= 1
        probe.go_on.set()
        assert found.looking is not None
        await found.looking
        assert probe.asked == 1

    asyncio.run(main())


def test_a_probe_that_hangs_ends_and_one_that_was_used_meanwhile_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "PROBE_SECONDS", 0.05)

    async def main() -> None:
        probe = Probe()
        probe.go_on.clear()
        found = Dependency("database", probe)
        await found.look()
        assert (found.finding.state, found.finding.reason) == (State.DOWN, "it does not answer")
        looking = found.look()
        await asyncio.sleep(0.01)
        found.worked()
        await looking
        assert found.finding.state is State.OK

    asyncio.run(main())


def test_a_report_does_not_wait_for_a_slow_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "PATIENCE_SECONDS", 0.05)

    async def main() -> None:
        probe, all_of_them = Probe(), Dependencies()
        probe.go_on.clear()
        found = all_of_them.add(Dependency("database", probe))
        async with asyncio.timeout(PATIENCE), all_of_them.watching():
            await all_of_them.look()
        assert found.finding.state is State.UNKNOWN

    asyncio.run(main())


def test_the_end_of_an_outage_is_noticed_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dependencies, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(dependencies, "RETRY_SECONDS", 0.01)

    async def main() -> None:
        probe, all_of_them = Probe("it is away"), Dependencies()
        found = all_of_them.add(Dependency("provider:far", probe, on_timer=False, every=60.0))
        async with asyncio.timeout(PATIENCE), all_of_them.watching():
            await asyncio.sleep(0.05)
            assert probe.asked == 0
            found.failed("it failed")
            while probe.asked < 3:  # noqa: ASYNC110 - the probe is what the timer calls
                await asyncio.sleep(0.01)
            probe.reason = None
            while found.finding.state is not State.OK:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.01)
        asked = probe.asked
        await asyncio.sleep(0.05)
        assert probe.asked == asked

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "provider:far is down: it failed",
        "provider:far works again",
    ]


def test_causes_name_no_address() -> None:
    assert cause_of(ConnectionRefusedError(111, "Connect call failed ('10.0.0.1', 5432)")) == "Connection refused"
    assert cause_of(ValueError("postgresql://user:secret@host")) == "ValueError"
