"""What becomes of a line that is not answered, and the tokens of one that is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from json import dumps, loads
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policy.vocabulary import Principal
from server.api.batches import lines
from server.api.batches.acting_callers import ActingCaller
from server.api.batches.batch import batch_object, counted, new_body
from server.api.batches.body import CreateBatch
from server.api.batches.lines import HEAVY, LINES, MOST_TRIES, Again, LineTurns, Outcome, RunningLine
from server.api.batches.parts import Line
from server.api.batches.usage import NOTHING, Usage, sum_of, usage_of
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom, Turn
from server.http.acting import ACTING, Acting
from server.inference.answers.model_name import SMALL
from server.storage.database.database import DatabaseUnavailable
from server.storage.records.record import Draft


class Caller:
    """One caller, as it is known."""

    def acting(self, *, is_paid: bool) -> Acting:
        """Return what makes a request the caller's."""
        return Acting(Principal("ann", "issuer"), "", is_paid=is_paid)


class Application:
    """Refuses each request for the next of some reasons, as the guards of the server would."""

    def __init__(self, *reasons: Exception | None) -> None:
        self._reasons = [*reasons]

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        """Answer a request."""
        acting, reason = scope[ACTING], self._reasons.pop(0)
        acting.has_entered, acting.fault = reason is not NOT_ENTERED, reason
        await send({"type": "http.response.start", "status": 503 if reason else 429, "headers": []})
        await send({"type": "http.response.body", "body": b'{"error":{"code":null}}'})


NOT_ENTERED = RuntimeError()
AWAY = PolicyUnavailable(Failure.DEADLINE, "away")


def outcomes(app: Application, count: int) -> list[Outcome]:
    """What one line comes to, again and again."""

    async def run() -> list[Outcome]:
        turns, again, found = LineTurns(16, None), Again(is_paid=False), list[Outcome]()
        for _ in range(count):
            line = RunningLine(0, Line("a", 0, 2, streams=False), b"{}", await turns.take(2), again)
            found.append(await line.run(app, "/v1/chat/completions", cast(ActingCaller, Caller())))
            line.turn.end()
            again = found[-1].again or again
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("fault", [AWAY, DatabaseUnavailable("away"), NOT_ENTERED])
def test_what_the_server_could_not_do_is_no_try_of_a_provider(fault: Exception) -> None:
    busy = [None] * MOST_TRIES
    found = outcomes(Application(*[fault] * 7, *busy), 7 + MOST_TRIES)
    assert [each.result is not None for each in found] == [False] * (6 + MOST_TRIES) + [True]
    assert found[6].hold > 0
    assert found[7].again is not None
    assert (found[6].again or Again(is_paid=False)).tries == 0
    assert found[7].again.tries == 1


def test_faults_between_do_not_begin_the_count_of_tries_anew() -> None:
    found = outcomes(Application(*[None, AWAY] * (MOST_TRIES - 1), None), 2 * MOST_TRIES - 1)
    assert [each.result is not None for each in found] == [False] * (2 * MOST_TRIES - 2) + [True]


CHAT = {
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
RESPONSE = {
    "input_tokens": 7,
    "output_tokens": 5,
    "total_tokens": 12,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens_details": {"reasoning_tokens": 2},
}


@pytest.mark.parametrize("size", [0, SMALL])
@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (CHAT, Usage(7, 3, 5, 2, 12)),
        (RESPONSE, Usage(7, 3, 5, 2, 12)),
        ({"prompt_tokens": 7, "total_tokens": 7}, Usage(7, 0, 0, 0, 7)),
        (
            {**CHAT, "prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": None},
            Usage(7, 0, 5, 0, 12),
        ),
        ({**CHAT, "total_tokens": -1}, NOTHING),
        ({**CHAT, "total_tokens": 10**12}, NOTHING),
        ({**CHAT, "total_tokens": True}, NOTHING),
        ({**CHAT, "prompt_tokens": "7"}, Usage(0, 0, 5, 2, 12)),
        (None, NOTHING),
        ([12], NOTHING),
    ],
)
def test_the_tokens_of_an_answer_are_those_of_its_own_usage(usage: Any, told: Usage, size: int) -> None:
    inner = {"usage": {"total_tokens": 5, "prompt_tokens": 5}}
    answer = {"choices": [inner, "x" * size], "text": '"usage":{"total_tokens":4}', "usage": usage, "last": inner}
    assert usage_of(dumps(answer).encode()) == told


@pytest.mark.parametrize("answer", [b"", b"[]", b"null", b"{", b"[" * 5000, b"x" * (SMALL + 1)])
def test_what_tells_of_no_tokens_counts_none(answer: bytes) -> None:
    assert usage_of(answer) == NOTHING


TEXTS = st.sampled_from(
    ["usage", "a", '"usage"', '\\"usage":{"total_tokens":9}}', ',"usage":{"total_tokens":9}}', "}", "\\"]
)
COUNTS = st.fixed_dictionaries({"total_tokens": st.integers(0, 9)})
VALUES = st.recursive(
    TEXTS | COUNTS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@example([("usage", {"total_tokens": 3}), ("a", {"usage": {"total_tokens": 4}})], None, "")
@given(st.lists(st.tuples(TEXTS, VALUES), max_size=4), st.sampled_from([None, 1]), st.sampled_from(["", " ", "\n"]))
def test_tokens_are_read_from_the_end_of_an_answer_as_from_all_of_it(
    members: list[tuple[str, Any]], indent: int | None, behind: str
) -> None:
    # A name may come twice, and then its last value counts.
    written = ",".join(f"{dumps(name)}:{dumps(value, indent=indent)}" for name, value in members)
    answer = f"{{{written}}}{behind}".encode()
    usage = loads(answer).get("usage")
    total = usage.get("total_tokens", 0) if isinstance(usage, dict) else 0
    assert usage_of(answer).total == (total if isinstance(total, int) else 0)


def test_of_a_long_answer_the_end_alone_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[int]()

    def counting(text: bytes) -> Any:
        read.append(len(text))
        return loads(text)

    monkeypatch.setattr("server.api.batches.usage.loads", counting)
    answer = {"choices": ["x" * SMALL], "usage": CHAT, "system_fingerprint": None}
    for size in (SMALL, 2 * SMALL):
        assert usage_of(dumps({**answer, "choices": ["x" * (size - 1000)]}).encode()) == Usage(7, 3, 5, 2, 12)
    assert max(read) < 1000


def test_tokens_are_added_part_by_part() -> None:
    assert sum_of([]) == NOTHING
    assert sum_of([Usage(1, 2, 3, 4, 5), Usage(10, 20, 30, 40, 50)]) == Usage(11, 22, 33, 44, 55)


def test_a_batch_of_an_older_server_tells_of_the_tokens_since() -> None:
    body = new_body(CreateBatch("/v1/chat/completions", "file-1", {}, None))
    del body["usage"]
    record = Draft("batch_1", body).owned_by(None)
    assert batch_object(record)["usage"] == NOTHING.shown
    assert counted(record, 1, 0, Usage(2, 1, 3, 0, 5))["usage"] == [2, 1, 3, 0, 5]


def test_a_caller_has_one_first_line_and_large_ones_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINES", replace(LINES, seconds=0.001))

    async def run() -> None:
        turns = LineTurns(16, None)

        async def taken(name: str, size: int) -> Turn | None:
            CURRENT.set(("test", name))
            with suppress(NoRoom):
                return await turns.take(size)
            return None

        async def has_one(name: str, size: int = HEAVY) -> bool:
            return await asyncio.create_task(taken(name, size)) is not None

        # Two callers have all the lines of batches.
        assert [await has_one(name) for name in ("a", "b") for _ in range(17)].count(False) == 2
        assert [await has_one(f"large-{number}", HEAVY + 1) for number in range(17)].count(True) == 16
        assert await has_one("c")
        assert not await has_one("c")
        assert not await has_one("large-0")
        assert turns.used == 32 + 16 + 1

    asyncio.run(run())
