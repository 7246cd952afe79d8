"""Limits of tools that a response calls, and of the servers that have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.api.responses.mcp import checks as mcp_checks
from server.api.responses.mcp import kind as mcp_kind
from server.api.responses.mcp import tool as mcp_tool
from server.api.responses.server_tools import file_search, file_search_body
from server.api.responses.server_tools import rounds as response_rounds
from server.api.tools import routes as tools
from server.cli.limits.row import Limit
from server.mcp import memory as mcp_memory
from server.mcp import messages as mcp_messages
from server.mcp import programs as mcp_programs
from server.mcp import session as mcp_session
from server.mcp import sessions as mcp_sessions
from server.mcp import transport as mcp_transport
from server.mcp import wire as mcp_wire
from server.net import outbound
from server.storage import approvals

CONSTANTS: Final[dict[str, Any]] = {
    "approvals": approvals,
    "file_search": file_search,
    "file_search_body": file_search_body,
    "mcp_checks": mcp_checks,
    "mcp_kind": mcp_kind,
    "mcp_messages": mcp_messages,
    "mcp_memory": mcp_memory,
    "mcp_programs": mcp_programs,
    "mcp_session": mcp_session,
    "mcp_sessions": mcp_sessions,
    "mcp_tool": mcp_tool,
    "mcp_transport": mcp_transport,
    "mcp_wire": mcp_wire,
    "outbound": outbound,
    "response_rounds": response_rounds,
    "tools": tools,
}
"""Modules by the names that rows give them."""

CALLS: Final[Sequence[Limit]] = (
    Limit(
        "answers of the model in one response, calls of one response at once, time of a call",
        "{response_rounds.MOST_ROUNDS}, {response_rounds.AT_ONCE}, {response_rounds.CALL_SECONDS:seconds}",
        "calls in the last answer are left out; later calls wait; the call fails",
    ),
    Limit(
        "results of tools that a model is told: of one call, of all calls of a response",
        "{response_rounds.MOST_TOLD:bytes}, {response_rounds.MOST_TOLD_IN_ALL:bytes}",
        "the rest is left out, and the model is told so",
    ),
    Limit(
        "servers of tools of one response, their tools, one of them, its name",
        "{mcp_kind.MOST_SERVERS}; {mcp_messages.MOST_TOOLS} of a server on {mcp_session.MOST_PAGES} pages; "
        "{mcp_messages.MOST_LISTED:bytes} of a server and {mcp_kind.MOST_LISTED:bytes} of all; "
        "{mcp_messages.LONGEST_TOOL} characters",
        "400; the server's tools are not listed, and its item says why",
    ),
    Limit(
        "headers that a server of tools is sent, and its address",
        "{mcp_checks.MOST_HEADERS} of {mcp_checks.MOST_HEADER_BYTES:bytes}, {mcp_checks.LONGEST_URL} characters",
        "400",
    ),
    Limit(
        "a message of a server of tools; events and bytes of one stream, and questions of the server in it",
        "{mcp_wire.MOST_MESSAGE:bytes}; {mcp_transport.MOST_EVENTS}, {mcp_transport.MOST_FLOW:bytes}, "
        "{mcp_transport.MOST_ASKED}",
        "the call fails",
    ),
    Limit(
        "brackets, commas and texts in the arguments of one call of a tool of a server, which are JSON",
        "{mcp_tool.MOST_SIGNS}",
        "the call fails",
    ),
    Limit(
        "what a server of tools calls the next page of its list; the address that an older one has messages sent to",
        "{mcp_messages.LONGEST_CURSOR}, {outbound.LONGEST_URL} characters",
        "its tools are not listed",
    ),
    Limit("text of a result of a server of tools", "{mcp_messages.MOST_TOLD:bytes}", "the rest is cut, and it says so"),
    Limit(
        "time to look up a server of tools, to connect, to greet it, to list its tools, to call one",
        "{outbound.RESOLVE_SECONDS:seconds}, {mcp_wire.CONNECT_SECONDS:seconds}, "
        "{mcp_session.GREETING_SECONDS:seconds}, {mcp_session.LIST_SECONDS:seconds}, "
        "{mcp_session.CALL_SECONDS:seconds}",
        "the listing or the call fails",
    ),
    Limit(
        "time for which a session with a server of tools is kept, and for which a list of tools counts in its history",
        "{mcp_sessions.KEPT_SECONDS:seconds}, {mcp_session.LISTED_SECONDS:seconds}",
        "it is opened, and they are listed, anew",
    ),
    Limit(
        "time that a program of tools has to end by itself",
        "{mcp_programs.GRACE_SECONDS:seconds}",
        "it is killed, with all that it has started",
    ),
    Limit(
        "memory of each process of a program of tools, where the configuration has no `max_memory`",
        "{mcp_programs.MOST_MEMORY:bytes}",
        "the process gets no more, and the call may fail",
    ),
    Limit(
        "memory of all programs of tools together without `server.max_program_memory`, and the time "
        "between two looks at it",
        "the machine's divided by {mcp_memory.SHARE_OF_MACHINE}, {mcp_memory.LOOK_SECONDS:seconds}",
        "programs without a call under way end, and else the largest of the caller with most, whose calls fail",
    ),
    Limit(
        "calls of one principal that wait for an approval, their time, and answers in one request",
        "{approvals.MOST_WAITING}, {approvals.LIFETIME:seconds}, {mcp_checks.MOST_APPROVALS}",
        "the oldest ones can't be approved any more; 400",
    ),
    Limit(
        "vector stores of one tool `file_search`, arguments of a call, text that one call gives a model",
        "{file_search_body.MOST_STORES}, {file_search_body.LONGEST_ARGUMENTS} characters, "
        "{file_search.MOST_TEXT:bytes}",
        "400; the call fails; the best results are given",
    ),
)
"""Rows about the calls of tools in a response."""

GROUPS: Final[Sequence[Limit]] = (
    Limit(
        "tool groups whose tools one list shows, and whose servers it asks at the same time",
        "{tools.MOST_GROUPS}, {tools.AT_ONCE}",
        "400, unless `toolgroup_id` names one",
    ),
)
"""Rows about tool groups."""
