"""Guardrails of Bedrock, which read the texts of a chat and of its answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from server.inference.providers.bedrock.parts import NotConverse
from server.json_input.strict import Json

REFUSAL: Final = "a guardrail or a filter of the provider ended this answer"
"""The text of an answer's `refusal` where one of them did."""

_READ_PICTURES: Final = frozenset({"png", "jpeg"})
_UNREAD: Final = "is not read by the guardrail that is in force here"


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One version of a guardrail. What it doesn't read is refused, unless `lets_unread_pass`."""

    identifier: str
    version: str
    lets_unread_pass: bool = False

    def guard(self, request: Json, *, streamed: bool) -> None:
        """Add the guardrail to a request of the Converse API; raises NotConverse for a part that it doesn't read."""
        if not self.lets_unread_pass:
            for param in _unread(request):
                raise NotConverse(_UNREAD, param)
        config = {"guardrailIdentifier": self.identifier, "guardrailVersion": self.version, "trace": "disabled"}
        if streamed:
            # Bedrock's other way sends a text first, and reads it afterwards.
            config["streamProcessingMode"] = "sync"
        request["guardrailConfig"] = config
        if "system" in request:
            # Of system texts it reads those alone that are marked; of messages it reads all, as long as none is.
            request["system"] = [{"guardContent": {"text": {"text": block["text"]}}} for block in request["system"]]


def _unread(request: Json) -> Iterator[str]:
    """Yield the members of a chat's body that hold something that no guardrail reads."""
    if "toolConfig" in request:
        yield "tools"
    if "outputConfig" in request:
        yield "response_format"
    if not all(_is_read(block) for turn in request["messages"] for block in turn["content"]):
        yield "messages"


def _is_read(block: Json) -> bool:
    match block:
        case {"text": str()}:
            return True
        case {"image": {"format": str(form)}}:
            return form in _READ_PICTURES
    return False
