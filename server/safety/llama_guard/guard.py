"""`inline::llama-guard`: a model that is served here judges texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.fairness.threads import in_thread
from server.inference.provider import Task
from server.safety.categories import of_guard
from server.safety.images import Image
from server.safety.llama_guard.conversations import conversations
from server.safety.llama_guard.prompts import LIKELY, MOST_TOKENS, messages, prompt
from server.safety.llama_guard.verdicts import judgement
from server.safety.shield import SAFE, Direction, Judges, Said, Verdict

_SHORT: Final = {"temperature": 0, "max_tokens": MOST_TOKENS}
_SEEING: Final = frozenset({"llama-guard-3-vision", "llama-guard-4"})
_BESIDE: Final = 4_000
_NO_TEXT: Final = "an image"

_QUICK: Final = 32 * 1024
"""Characters of texts that are made ready at once, without a thread."""


class LlamaGuard:
    """Asks `model`, which is of the version `taxonomy`; categories with `excluded` codes pass.

    It is asked for chats, or where `writes_prompts` for completions of prompts that are written here.
    """

    def __init__(self, model: str, taxonomy: str, excluded: frozenset[str], *, writes_prompts: bool) -> None:
        self._model = model
        self._taxonomy = taxonomy
        self._excluded = excluded
        self._task = Task.TEXT if writes_prompts else Task.CHAT
        self.reads_images = taxonomy in _SEEING and not writes_prompts

    async def check(self, said: Sequence[Said], direction: Direction, judges: Judges) -> Verdict:
        """Return the verdict on a conversation: the first that flags it, or else that it is safe."""
        images = [each.image for each in said if each.image is not None] if direction is Direction.INPUT else []
        said = [each for each in said if each.image is None]
        score: float | None = None
        quick = sum(len(each.text) for each in said) <= _QUICK
        made = conversations(said, direction) if quick else await in_thread(conversations, said, direction)
        asked = [*map(self._members, made), *(self._seen(image, made) for image in images)]
        for members in asked:
            verdict = await self._judged(members, judges)
            if verdict.flagged:
                return verdict
            score = verdict.score if score is None else max(score, verdict.score or 0.0)
        return Verdict(flagged=False, score=score)

    def _seen(self, image: Image, made: Sequence[Sequence[Said]]) -> dict[str, Any]:
        """Return the body of the request about an image, with what the user has said last; texts are judged besides."""
        last = made[-1][-1].text[-_BESIDE:] if made else _NO_TEXT
        parts = [{"type": "image_url", "image_url": {"url": image.url}}, {"type": "text", "text": last}]
        return self._chat([{"role": "user", "content": parts}])

    async def _judged(self, members: dict[str, Any], judges: Judges) -> Verdict:
        found = judgement(await judges.ask(self._model, self._task, members), self._task)
        if not found.unsafe:
            return SAFE if found.score is None else Verdict(flagged=False, score=found.score)
        kept = [code for code in found.codes if code not in self._excluded]
        # Something that is no code may be a category that isn't excluded.
        if found.codes and not kept and not found.says_more:
            return Verdict(flagged=False, score=found.score)
        findings = tuple(of_guard(self._taxonomy, code, found.score) for code in kept)
        return Verdict(flagged=True, findings=findings, score=found.score)

    def _members(self, conversation: Sequence[Said]) -> dict[str, Any]:
        """Return the body of the request, but for its model."""
        if self._task is Task.TEXT:
            return {"prompt": prompt(conversation, self._taxonomy), **_SHORT, "logprobs": LIKELY}
        return self._chat(messages(conversation, self._taxonomy))

    def _chat(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        return {"messages": messages, **_SHORT, "logprobs": True, "top_logprobs": LIKELY}
