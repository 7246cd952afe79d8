"""Deliberate mistakes in the tools of responses, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

FILE_SEARCH = "server/api/responses/server_tools/file_search.py"
OFFERING = "server/api/responses/server_tools/offering.py"
REGISTRY = "server/api/tools/registry.py"
ROUNDS = "server/api/responses/server_tools/rounds.py"
SERVERS = "server/api/responses/mcp/servers.py"
STATE = "server/api/responses/state.py"
TOOLS = "server/api/tools/routes.py"

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
    Mistake("a refused search is offered", FILE_SEARCH, "if not self.may_call:", "if self.may_call is None:"),
    Mistake("a search is decided once", FILE_SEARCH, "await self.searches.permit(self.gate)", "pass"),
    Mistake("a group of the configuration goes over HTTP", REGISTRY, "if name in self._configured:", "if not name:"),
    Mistake("a caller registers any host", REGISTRY, 'reach.checked(endpoint["uri"])', 'str(endpoint["uri"])'),
    Mistake(
        "a spelling of an address dodges a group",
        SERVERS,
        "if self._groups is not None and self._groups.is",
        "if self._groups is None and self._groups.is",
    ),
    Mistake(
        "what a tool returns is shown unchecked",
        ROUNDS,
        "in await self._shields.all_passed(kept):",
        "in kept:",
    ),
    Mistake(
        "a list of tools is shown unchecked",
        ROUNDS,
        "await self._shields.passed(outcome)) for",
        "outcome) for",
    ),
    Mistake(
        "a model is asked after a shield has stopped a call",
        ROUNDS,
        "                self._is_over = True\n                yield [*self._shields.refusal()]",
        "                yield [*self._shields.refusal()]",
    ),
    Mistake(
        "names of members are not checked",
        "server/api/responses/server_tools/outcome_texts.py",
        "    yield from _names(values)\n",
        "",
    ),
    Mistake(
        "errors of tools are our own words",
        "server/api/responses/mcp/tool.py",
        "is_ours=error is None",
        "is_ours=True",
    ),
    Mistake(
        "a tool that is not chosen is called",
        ROUNDS,
        "if not self._chosen(tool, is_first=self._answers <= 1):",
        "if not self._chosen:",
    ),
    Mistake(
        "a tool that is not chosen asks for an approval",
        "server/api/responses/mcp/tool.py",
        "barred._is_permitted, barred._refusal = False, sentence",
        "barred._refusal = sentence",
    ),
    Mistake(
        "every tool of a group is shown",
        TOOLS,
        "if resource.names[0] in names:",
        "if resource.names or names:",
    ),
)
