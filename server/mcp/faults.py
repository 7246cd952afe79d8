"""Failures of exchanges with servers of tools, in words for the caller who named the server."""

from __future__ import annotations

from typing import Final

from server.json_input.strict import Json


class McpFailed(Exception):
    """Raised if an exchange comes to nothing; the message is a sentence for the caller."""

    def told(self) -> Json:
        """Return the error as a `mcp_call` has it."""
        return {"type": "http_error", "code": 0, "message": str(self)}


class HttpFailed(McpFailed):
    """The server answered with a status that is no success."""

    def __init__(self, status: int) -> None:
        super().__init__(_REASONS.get(status, f"the server of the tools answered with status {status}"))
        self.status = status

    def told(self) -> Json:
        """Return the error as a `mcp_call` has it."""
        return {"type": "http_error", "code": self.status, "message": str(self)}


class SessionLost(HttpFailed):
    """The server does not know the session any more."""


class ProtocolFailed(McpFailed):
    """The server answered with an error of JSON-RPC."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"the server of the tools answered with an error: {message}")
        self.code = code
        self.said = message

    def told(self) -> Json:
        """Return the error as a `mcp_call` has it."""
        return {"type": "mcp_protocol_error", "code": self.code, "message": self.said}


_ELSEWHERE: Final = "the server of the tools points to another address, which is not followed"
_REASONS: Final = {
    401: "the server of the tools asks for another `authorization`",
    403: "the server of the tools refuses this `authorization`",
    404: "the server of the tools has nothing at this address, or has forgotten the session",
    429: "the server of the tools takes no more requests for now",
    **dict.fromkeys((301, 302, 303, 307, 308), _ELSEWHERE),
}
"""Statuses that say more than their number."""
