"""Refusals that one caller causes by the thousand: they are counted, bounded, and none is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from policy.vocabulary import Route
from server.authz.contract.answer import read_answer
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import Question
from server.authz.decision_log import refusals
from server.authz.decision_log.limits import MOST_COUNTS, MOST_TEXT, WHOLE_ALL, WHOLE_EACH
from server.authz.decision_log.record import Counted
from server.authz.decision_log.refusals import Refusals, counted_limit, counted_list, counted_of
from server.fairness.caller import CURRENT
from server.quota.admission import Limited
from tests.support.broken_opa import ALICE, answer, decision
from tests.support.log_lines import NOBODY, REFUSED, deny, question, valid
from tests.support.patience import PATIENCE

MODELS = Route("GET", "/v1/models")


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
            async with asyncio.timeout(PATIENCE):
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
        async with asyncio.timeout(PATIENCE):
            while len(log.lines) < 2:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)

    assert [record["count"] for record in counting(scenario)] == [1, 10]


def test_a_server_that_ends_says_how_many_it_could_not_write(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(counts: Refusals, log: Lines) -> None:
        await refuse(counts, deny(), WHOLE_EACH + 8)
        log.is_down = True

    counting(scenario)
    assert "7 refusals that were counted are not in the decision log" in caplog.text


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
