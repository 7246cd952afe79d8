"""Lines under way: what is written down of them, and what they hold until then."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from policy.vocabulary import Principal
from server.api.batches.acting_callers import ActingCaller
from server.api.batches.journal import Journal
from server.api.batches.lines import Again, LineTurns, RunningLine
from server.api.batches.parts import Line
from server.api.batches.queue import Progress
from server.api.batches.remaining import Remaining
from server.api.batches.results import Result
from server.api.batches.under_way import UnderWay
from server.http.acting import Acting


class Written:
    """Keeps what is written down: the places of results, and those of lines that may have been spent on."""

    def __init__(self) -> None:
        self.all: list[tuple[list[int], list[int]]] = []
        self.again: list[int] = []

    async def write(self, results: Sequence[Result], begun: Mapping[int, str], again: Any, _following: int) -> int:
        """Note them; all results are written at once."""
        await asyncio.sleep(0)
        self.again = [place for place, *_ in again]
        self.all.append(([result.place for result in results], sorted(begun)))
        return len(results)


class Caller:
    """One caller, as it is known."""

    def acting(self, *, is_paid: bool) -> Acting:
        """Return what makes a request the caller's."""
        return Acting(Principal("ann", "issuer"), "", is_paid=is_paid)


class Application:
    """Answers with a text once it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.text = b"{}"

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        """Answer a request."""
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.text})


def lines_of(app: Application, written: Written) -> UnderWay:
    left = Remaining(Progress(next=2), 2)
    caller, journal = cast(ActingCaller, Caller()), cast(Journal, written)
    return UnderWay(app, "/v1/chat/completions", caller, journal, left, asyncio.Event())


async def line(turns: LineTurns, place: int) -> RunningLine:
    return RunningLine(place, Line(str(place), 0, 2, streams=False), b"{}", await turns.take(2), Again(is_paid=False))


def test_a_line_that_ends_as_others_are_written_has_one_result() -> None:
    async def run() -> None:
        app, written, turns = Application(), Written(), LineTurns(16, None)
        lines = lines_of(app, written)
        lines.results.append(Result(0, "0", is_error=False, text=b"{}\n"))
        await lines.write([await line(turns, 1)])
        lines.results.append(Result(0, "0", is_error=False, text=b"{}\n"))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(app.may_answer.set)
        await app.may_answer.wait()  # the line has its answer, and it is not told yet that it has ended
        await lines.write([])
        for results, under_way in written.all:
            # What is stored as under way becomes an error where the server is killed then.
            assert not {*results} & {*under_way}
        assert written.all[-1] == ([1], [])

    asyncio.run(run())


def test_a_line_that_is_not_begun_after_all_is_not_noted_as_begun() -> None:
    async def run() -> None:
        written, turns = Written(), LineTurns(16, None)
        lines = lines_of(Application(), written)
        writing = asyncio.create_task(lines.write([await line(turns, 1)]))
        await asyncio.sleep(0)
        writing.cancel()  # as when the server stops
        await asyncio.wait([writing])
        assert written.all == [([], [1])]
        await lines.leave()
        assert (written.all[-1], written.again, turns.used) == (([], []), [1], 0)

    asyncio.run(run())
