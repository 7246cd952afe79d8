"""W3C Trace Context: how a request's place in a trace comes in, is checked, and goes on to OPA and to providers."""

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
    """A place in a trace: the span that what is done next belongs to.

    `trace_id` and `span_id` are 32 and 16 lower-case hexadecimal digits, not all of them zero; `flags` is a number from
    0 to 3; `state` is a `tracestate` or empty; `request_id` is ours and travels beside them.
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
        """What is sent to a provider."""
        headers = {"traceparent": self.traceparent, "x-request-id": self.request_id}
        return headers | {"tracestate": self.state} if self.state else headers

    @property
    def line(self) -> bytes:
        """What is sent to OPA: one header line, of hexadecimal digits alone."""
        return b"traceparent: %b\r\n" % self.traceparent.encode("ascii")


CURRENT: Final[ContextVar[TraceContext | None]] = ContextVar("ostiary_trace", default=None)
"""Where the running request is in its trace; None where it belongs to none."""


def outgoing_headers() -> dict[str, str]:
    """The headers that carry the running request's trace on; none where it belongs to none."""
    trace = CURRENT.get()
    return {} if trace is None else trace.headers


def read_trace(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> TraceContext | None:
    """The trace that a request belongs to by its headers, or None if it names none.

    One that is malformed, or named twice, is none: no text of a client goes on unless it is certainly well-formed. A
    malformed `tracestate` is dropped alone.
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
    """Version `ff` is none; only later versions than `00` may go on after the flags; no id is all zeros."""
    return (
        version != b"ff" and (version != b"00" or more is None) and bool(trace_id.strip(b"0") and span_id.strip(b"0"))
    )


def _state(raw: bytes) -> str:
    """`raw` if every member of it is well-formed, else nothing: a wrong `tracestate` does not spoil its trace."""
    if not raw or len(raw) > MAX_STATE or not raw.isascii():
        return ""
    members = [member for part in raw.decode("ascii").split(",") if (member := part.strip(" \t"))]
    keys = [found[1] for member in members if (found := _MEMBER.fullmatch(member))]
    if len(keys) != len(members) or len(set(keys)) != len(keys) or len(keys) > MAX_MEMBERS:
        return ""
    return ",".join(members)
