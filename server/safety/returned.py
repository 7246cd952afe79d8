"""Texts that a tool has returned: they go through shields before the caller is shown them or the model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps, loads
from typing import Any, Final

from server.fairness.threads import in_thread
from server.inference.provider import ChatRequest
from server.safety.checks import Checks, Guard, Stopped
from server.safety.shield import Direction

_QUICK: Final = 32 * 1024
"""Characters that are written and read as JSON on the event loop."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """What a shield has stopped: the sentence for the caller, and the results of its moderation if it asks for any."""

    message: str
    moderation: dict[str, Any] | None


class ReturnedTexts:
    """Checks what tools return for one request by the shields of `guard` that act on its input."""

    def __init__(self, guard: Guard | None) -> None:
        self._guard = guard

    @property
    def are_checked(self) -> bool:
        """True if a shield acts on them; raises ShieldUnavailable for one that is gone."""
        guard = self._guard
        return guard is not None and any(Direction.INPUT not in each.only_tells for each in guard.shields())

    async def passed(self, texts: Sequence[str]) -> Sequence[str] | Withheld:
        """Return the texts as they may go on, in their order.

        Raises ShieldUnavailable, TextTooLong and NoRoom.
        """
        if self._guard is None:
            return texts
        size = sum(map(len, texts))
        shields = [shield for shield in self._guard.shields() if Direction.INPUT not in shield.only_tells]
        checks = Checks(self._guard, shields)
        # They are read like those of a chat, in which they would stand.
        payload = await in_thread(_chat_of, texts) if size > _QUICK else _chat_of(texts)
        given = await checks.given(ChatRequest("", payload))
        if isinstance(given, Stopped):
            return Withheld(given.message, checks.told)
        if given.request.payload is payload:
            return texts
        masked = given.request.payload
        return await in_thread(_texts_of, masked) if size > _QUICK else _texts_of(masked)


def _chat_of(texts: Sequence[str]) -> bytes:
    return dumps({"messages": [{"role": "tool", "content": text} for text in texts]}).encode()


def _texts_of(chat: bytes) -> list[str]:
    return [message["content"] for message in loads(chat)["messages"]]
