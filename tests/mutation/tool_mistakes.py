"""Deliberate mistakes in the tools of responses, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

FILE_SEARCH = "server/api/responses/file_search.py"
OFFERING = "server/api/responses/offering.py"
ROUNDS = "server/api/responses/rounds.py"
STATE = "server/api/responses/state.py"

TOOL_MISTAKES = (
    Mistake(
        "a search may name any store",
        FILE_SEARCH,
        "await self._check(opening.gate, await self._store(opening.gate, identity, where))",
        "await self._stores.find(identity)",
    ),
    Mistake("each store has a limit of its own", FILE_SEARCH, "[: wanted.limit]", "[:]"),
    Mistake(
        "results are shown unasked", STATE, 'self.shows_results or "results" not in item', '"results" or "" in item'
    ),
    Mistake(
        "a response may call any number of tools",
        ROUNDS,
        "most = len(calls) if self._left is None else min(self._left, len(calls))",
        "most = len(calls)",
    ),
    Mistake("a model is asked without end", ROUNDS, " and self._answers < MOST_ROUNDS", ""),
    Mistake("a call that is cut off is made", ROUNDS, " and not is_cut and", " and"),
    Mistake("what was cut is cited", ROUNDS, "outcome = replace(outcome, sources=())", "outcome = replace(outcome)"),
    Mistake("all calls run at once", ROUNDS, "range(0, most, AT_ONCE)", "range(0, most, most or 1)"),
    Mistake("calls go on without the client", ROUNDS, "            task.cancel()\n", "            task.done()\n"),
    Mistake(
        "a tool that must be called is called for ever",
        OFFERING,
        'mode = _mode(body, choice, offered) if is_first else "auto"',
        "mode = _mode(body, choice, offered)",
    ),
)
