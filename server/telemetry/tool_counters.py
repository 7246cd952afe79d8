"""Metrics of the tools that this server runs: how their calls ended."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter

_KINDS: Final = {"file_search_call": "file_search", "mcp_call": "mcp", "mcp_approval_request": "approval"}
_ENDS: Final = ("completed", "failed", "too_slow", "left")


class ToolCounters:
    """Counts calls by kind and by end. Neither names a server or a tool, which callers choose."""

    def __init__(self, registry: CollectorRegistry) -> None:
        calls = Counter(
            "ostiary_tool_calls",
            "Calls of tools by this server for responses, by kind and by end.",
            ["kind", "outcome"],
            registry=registry,
        )
        self._calls = {(kind, end): calls.labels(shown, end) for kind, shown in _KINDS.items() for end in _ENDS}

    def called(self, kind: str, end: str) -> None:
        """Count a call, by the type of its item; one without an item, such as of a refused approval, is none."""
        counter = self._calls.get((kind, end))
        if counter is not None:
            counter.inc()
