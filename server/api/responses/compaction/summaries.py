"""Summaries of a conversation, which a model makes for a model that goes on with it."""

from __future__ import annotations

from json import dumps
from typing import Final

from server.api.responses.chunks import read_beside, read_whole
from server.api.responses.happenings import Said, Spent
from server.inference.provider import ChatModel, ChatRequest, Fault, Kind, ProviderFailed
from server.json_input.strict import Json

MOST_SUMMARY: Final = 256 * 1024
"""Bytes of a summary; of a longer one the beginning is kept."""

_WORDS: Final = (
    "Summarise the conversation above for a model that will go on with it and can't see it. Keep what was asked, what "
    "was decided and found out, names, numbers and paths to the letter, results of tools, and what is left to do. "
    "Answer with the summary alone."
)

TASK: Final = dumps({"type": "message", "role": "user", "content": [{"type": "input_text", "text": _WORDS}]}).encode()
"""The item behind a conversation that asks for its summary."""

_NOTHING: Final = "the model has made no summary"


async def summary_of(model: ChatModel, request: ChatRequest) -> tuple[str, Json | None]:
    """Return the text of a model's answer, and what it has cost; raises ProviderFailed where there is no text."""
    happenings = await read_beside(read_whole, b"".join(await model.complete(request)))
    text = "".join(each.text for each in happenings if isinstance(each, Said))
    if not text.strip():
        raise ProviderFailed(Fault.PROVIDER, _NOTHING, kind=Kind.BROKEN, spent=True)
    usage = next((each.usage for each in happenings if isinstance(each, Spent)), None)
    return text.encode("utf-8", "replace")[:MOST_SUMMARY].decode("utf-8", "ignore"), usage
