"""Completions of texts, asked as chats with one message: the Converse API has nothing else for them."""

from __future__ import annotations

from typing import Final

from server.inference.providers.bedrock.parts import NotConverse
from server.json_input.strict import Json

_NOT_OF_CHATS: Final = frozenset({"prompt", "suffix", "echo", "best_of", "logprobs", "n_predict"})


def chat_of(body: Json) -> Json:
    """Return the body of a chat that asks for what a completion's body asks for; raises NotConverse."""
    prompt = body.get("prompt")
    if type(prompt) is list and len(prompt) == 1:
        [prompt] = prompt
    if type(prompt) is list and type(prompt[0]) is str:
        raise NotConverse("has several texts that are too large together; send them in a request each", "prompt")
    if type(prompt) is list:
        raise NotConverse("must be a text, since token ids are those of another tokenizer", "prompt")
    if type(prompt) is not str or not prompt.strip():
        raise NotConverse("must be a text that is not blank", "prompt", "invalid_value")
    if body.get("suffix"):
        raise NotConverse("has no place here; leave it out", "suffix")
    if body.get("echo"):
        raise NotConverse("can't be had here; leave it out", "echo")
    if body.get("best_of") not in (None, 1):
        raise NotConverse("must be 1", "best_of")
    shared = {name: value for name, value in body.items() if name not in _NOT_OF_CHATS}
    return {**shared, "messages": [{"role": "user", "content": prompt}]}
