"""W3C Trace Context: parsed from a request, validated, and passed on to OPA and providers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

MAX_STATE: Final = 512
"""Characters of a `tracestate`; a longer one is dropped, as the recommendation allows."""

MAX_MEMBERS: Final = 32
"""Members of a `tracestate`."""

SAMPLED: Final = 0x01

_KNOWN_FLAGS: Final = 0x03  # sampled, and random trace id
_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KEY: Final = r"[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
_VALUE: Final = r"[ -+\--<>-~]{0,255}[!-+\--<>-~]"
_MEMBER: Final = re.compile(rf"({_KEY})={_VALUE}")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A position in a trace: the parent of the next spans.

    `trace_id` and `span_id` are 32 and 16 lower-case hexadecimal digits, not all of them zero; `flags` is a number from
    0 to 3; `state` is a `tracestate` or empty; `request_id` is the server's own.
    """

    trace_id: str
    span_id: str
    flags: int
    state: str
    request_id: str

    @property
    def traceparent(self) -> str:
        """The header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    @property
    def headers(self) -> dict[str, str]:
        """The headers for a provider."""
        headers = {"traceparent": self.traceparent, "x-request-id": self.request_id}
        return headers | {"tracestate": self.state} if self.state else headers

    @property
    def line(self) -> bytes:
        """One header line for OPA, of hexadecimal digits only."""
        return b"traceparent: %b\r\n" % self.traceparent.encode("ascii")


CURRENT: Final[ContextVar[TraceContext | None]] = ContextVar("ostiary_trace", default=None)
"""The current request's position in its trace; None outside a trace."""


def outgoing_headers() -> dict[str, str]:
    """Return the headers that continue the current request's trace; none outside a trace."""
    trace = CURRENT.get()
    return {} if trace is None else trace.headers


def read_trace(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> TraceContext | None:
    """Return the trace of a request by its headers; None if it has none.

    A malformed or repeated `traceparent` counts as none, since no text of a client is passed on unless it is
    well-formed. A malformed `tracestate` is dropped without the rest.
    """
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    found = _PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    if found is None or not _is_valid(*found.groups()):
        return None
    _, trace_id, span_id, flags, _ = found.groups()
    return TraceContext(
        trace_id.decode(), span_id.decode(), int(flags, 16) & _KNOWN_FLAGS, _state(b",".join(states)), request_id
    )


def _is_valid(version: bytes, trace_id: bytes, span_id: bytes, _flags: bytes, more: bytes | None) -> bool:
    """Return whether the parts are valid: version `ff` isn't, only versions after `00` may have more parts, no id is
    zero.
    """
    return (
        version != b"ff" and (version != b"00" or more is None) and bool(trace_id.strip(b"0") and span_id.strip(b"0"))
    )


def _state(raw: bytes) -> str:
    """Return `raw` if every member is well-formed, else an empty text: a malformed `tracestate` does not invalidate its
    trace.
    """
    if not raw or len(raw) > MAX_STATE or not raw.isascii():
        return ""
    members = [member for part in raw.decode("ascii").split(",") if (member := part.strip(" \t"))]
    keys = [found[1] for member in members if (found := _MEMBER.fullmatch(member))]
    if len(keys) != len(members) or len(set(keys)) != len(keys) or len(keys) > MAX_MEMBERS:
        return ""
    return ",".join(members)
