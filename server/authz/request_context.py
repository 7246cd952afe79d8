"""The request that decisions are for."""

from __future__ import annotations

from dataclasses import dataclass

from policy.vocabulary import Anonymous, Principal


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The request that decisions are for: its id, and the caller as authenticated.

    `response_id` is that of the response that a request makes, where it makes one.
    """

    request_id: str
    principal: Principal | Anonymous
    response_id: str | None = None

    def named_in(self, line: str) -> str:
        """Return a line of the log with the id of the response."""
        return line if self.response_id is None else f'{line[:-1]},"response_id":"{self.response_id}"}}'
