"""`remote::bedrock`: guardrails of Amazon Bedrock, asked by ApplyGuardrail."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json import dumps, loads
from typing import Any, Final, Protocol
from urllib.parse import quote

import aiohttp
from yarl import URL

from server.inference.provider import HealthStatus, ProviderHealth
from server.inference.providers.connections import cut
from server.inference.providers.credentials import Credentials
from server.inference.providers.http_provider import HttpProvider, Limits
from server.safety.categories import of_filter
from server.safety.images import Image
from server.safety.shield import (
    SAFE,
    Direction,
    Finding,
    Judges,
    Said,
    ShieldFailed,
    TooMuchText,
    Verdict,
    answer_in,
)

PIECE: Final = 10_000
"""Characters of one text block of a request."""

OVERLAP: Final = 200
"""Characters that two blocks of a long text share, so that nothing is cut in two unseen."""

MOST_CHARACTERS: Final = 20_000
"""Characters of one request; by default a guardrail takes 25,000."""

MOST_SOURCES: Final = 100_000
"""Characters of the texts that an answer is compared with, in each request about it."""

LONGEST_QUESTION: Final = 1_000
"""Characters of the question that an answer is compared with."""

MOST_GROUNDED: Final = 5_000
"""Characters of an answer that is compared with its sources in one request."""

MOST_REQUESTS: Final = 16
"""Requests of one check."""

MOST_ANSWER: Final = 1024 * 1024
"""Bytes of one answer."""

_SUCCESS: Final = 200
_HARMLESS: Final = frozenset({"NONE"})
_MASKED: Final = "ANONYMIZED"
_UNTOLD: Final = Finding("INTERVENED", own="intervened")
_SILENT: Final = frozenset({"invocationMetrics", "appliedGuardrailDetails"})
"""Members of an assessment that are no policies."""

_LISTS: Final = {
    "topicPolicy": ("topics", "topic"),
    "contentPolicy": ("filters", ""),
    "contextualGroundingPolicy": ("filters", ""),
}
_INNER: Final = {
    "wordPolicy": {"customWords": "word", "managedWordLists": ""},
    "sensitiveInformationPolicy": {"piiEntities": "", "regexes": "regex"},
}


class Applying(Protocol):
    """Applies guardrails."""

    async def apply(self, identifier: str, version: str, body: Mapping[str, Any]) -> Any:
        """Return the answer of ApplyGuardrail as JSON; raises ShieldFailed and ProviderFailed."""
        ...


class GuardrailService(HttpProvider):
    """The guardrails of one account and region, under `endpoint`."""

    def __init__(
        self, provider_id: str, endpoint: str, credentials: Credentials, tls: ssl.SSLContext | None, limits: Limits
    ) -> None:
        super().__init__(provider_id, tls, limits)
        self._endpoint = endpoint
        self._credentials = credentials

    async def apply(self, identifier: str, version: str, body: Mapping[str, Any]) -> Any:
        """Return the answer of ApplyGuardrail as JSON."""
        # The signature covers the path as it is sent.
        path = f"{self._endpoint}/guardrail/{quote(identifier, safe='')}/version/{version}/apply"
        url, raw = URL(path, encoded=True), dumps(body).encode()
        response = await self._posted(url, raw, await self._credentials.headers(str(url), raw))
        try:
            text = await _read(response)
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise ShieldFailed("the guardrail broke off its answer") from None
        finally:
            cut(response)
        if response.status != _SUCCESS:
            raise ShieldFailed(f"the guardrail answered with status {response.status}")
        try:
            return loads(text)
        except (ValueError, RecursionError):
            raise ShieldFailed("the guardrail answered with something other than JSON") from None

    async def health(self) -> ProviderHealth:
        """Return that nothing is known to be wrong: without a text there is nothing to ask for."""
        return ProviderHealth(HealthStatus.OK)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    held = bytearray()
    while data := await response.content.read(64 * 1024):
        held += data
        if len(held) > MOST_ANSWER:
            raise ShieldFailed(f"the guardrail answered with more than {MOST_ANSWER} bytes")
    return bytes(held)


@dataclass(frozen=True, slots=True)
class _Block:
    """A text block of a request: the place of its text among all, and whether it is all of it."""

    place: int
    text: str
    is_whole: bool


class BedrockGuardrail:
    """One version of a guardrail; answers are compared with their sources if `grounding`."""

    reads_images = True

    def __init__(self, service: Applying, identifier: str, version: str, *, grounding: bool = False) -> None:
        self._service = service
        self._identifier = identifier
        self._version = version
        self._grounding = grounding

    async def check(self, said: Sequence[Said], direction: Direction, judges: Judges) -> Verdict:
        """Return the verdict on the texts; on the output, on those of the answer. Some of them may come back masked."""
        images = [each.image for each in said if each.image is not None]
        said = [each for each in said if each.image is None]
        looked_at = said if direction is Direction.INPUT else answer_in(said)
        texts = [each.text for each in looked_at]
        source = "INPUT" if direction is Direction.INPUT else "OUTPUT"
        findings, masked = dict[Finding, None](), False
        if images and direction is Direction.INPUT:
            found = await self._seen(images)
            if found:
                return Verdict(flagged=True, findings=tuple(dict.fromkeys(found)))
        sources = _sources(said[: len(said) - len(texts)]) if self._grounding and source == "OUTPUT" else []
        for batch in _batches(texts, MOST_GROUNDED if sources else MOST_CHARACTERS):
            content = [*sources, *(_content(block.text, *(["guard_content"] if sources else [])) for block in batch)]
            body = {"source": source, "content": content, "outputScope": "INTERVENTIONS"}
            found, outputs = _read_answer(await self._service.apply(self._identifier, self._version, body))
            findings |= dict.fromkeys(found)
            if outputs is None:
                return Verdict(flagged=True, findings=tuple(findings))
            if outputs and not _put_back(texts, batch, outputs):
                # What was masked can't be told apart from what has to be blocked.
                return Verdict(flagged=True, findings=(*findings, _UNTOLD))
            masked = masked or bool(outputs)
        if not masked:
            return Verdict(flagged=False, findings=tuple(findings)) if findings else SAFE
        before = [each.text for each in said[: len(said) - len(texts)]]
        return Verdict(flagged=False, findings=tuple(findings), masked=(*before, *texts))

    async def _seen(self, images: Sequence[Image]) -> list[Finding]:
        """Return what the guardrail has against images; nothing for none. Raises ShieldFailed."""
        content = [{"image": {"format": image.format, "source": {"bytes": image.data}}} for image in images]
        body = {"source": "INPUT", "content": content, "outputScope": "INTERVENTIONS"}
        answer = await self._service.apply(self._identifier, self._version, body)
        found, outputs = _read_answer(answer)
        if outputs is None or outputs:
            return found
        _check_coverage(answer, len(images))
        return []


def _check_coverage(answer: Any, count: int) -> None:
    """Raise ShieldFailed unless a guardrail has looked at so many images; one that isn't told to passes over them."""
    coverage = answer.get("guardrailCoverage") if isinstance(answer, dict) else None
    images = coverage.get("images") if isinstance(coverage, dict) else None
    guarded = images.get("guarded") if isinstance(images, dict) else None
    if type(guarded) is not int or guarded < count:
        raise ShieldFailed("the guardrail does not look at images")


def _content(text: str, *qualifiers: str) -> dict[str, Any]:
    return {"text": {"text": text, "qualifiers": [*qualifiers]} if qualifiers else {"text": text}}


def _sources(before: Sequence[Said]) -> list[dict[str, Any]]:
    """Return the sources of an answer and its question, as a guardrail takes them; nothing if either is missing.

    Raises TooMuchText.
    """
    sources = [said.text for said in before if said.is_source and said.text.strip()]
    questions = [said.text for said in before if not (said.is_source or said.by_model) and said.text.strip()]
    if not sources or not questions:
        return []
    if sum(map(len, sources)) > MOST_SOURCES:
        raise TooMuchText(f"the sources of the answer have more than {MOST_SOURCES} characters")
    if len(questions[-1]) > LONGEST_QUESTION:
        raise TooMuchText(f"the question that the answer is compared with has more than {LONGEST_QUESTION} characters")
    return [*(_content(text, "grounding_source") for text in sources), _content(questions[-1], "query")]


def _batches(texts: Sequence[str], most: int) -> Iterator[list[_Block]]:
    """Yield the texts in requests of at most so many characters, empty ones left out; raise TooMuchText."""
    batch, size, made = list[_Block](), 0, 0
    for block in _blocks(texts, min(PIECE, most)):
        if batch and size + len(block.text) > most:
            made += 1
            if made == MOST_REQUESTS:
                raise TooMuchText(f"the texts are longer than a guardrail checks at once ({MOST_REQUESTS} requests)")
            yield batch
            batch, size = [], 0
        batch.append(block)
        size += len(block.text)
    if batch:
        yield batch


def _blocks(texts: Sequence[str], piece: int) -> Iterator[_Block]:
    for place, text in enumerate(texts):
        if text.strip():
            for start in range(0, max(1, len(text) - OVERLAP), piece - OVERLAP):
                yield _Block(place, text[start : start + piece], len(text) <= piece)


def _put_back(texts: list[str], batch: Sequence[_Block], outputs: Sequence[str]) -> bool:
    """Put masked texts into their places; return whether each has one."""
    if len(outputs) != len(batch):
        return False
    for block, output in zip(batch, outputs, strict=True):
        if block.is_whole:
            texts[block.place] = output
        elif output != block.text:
            return False
    return True


def _read_answer(answer: Any) -> tuple[list[Finding], list[str] | None]:
    """Return what a guardrail has found, and the texts with which it replaces those that it masks.

    The texts are None where it blocks, which is also the meaning of every answer that isn't understood as a whole.
    """
    action = answer.get("action") if isinstance(answer, dict) else None
    if action == "NONE":
        return [], []
    if action != "GUARDRAIL_INTERVENED":
        raise ShieldFailed("the guardrail answered with something other than a verdict")
    try:
        detected = [each for assessment in answer["assessments"] for each in _detected(assessment)]
        outputs = [str(output["text"]) for output in answer["outputs"]]
        findings = [finding for finding, does in detected if does not in _HARMLESS]
        actions = {does for _, does in detected} - _HARMLESS
    except (LookupError, TypeError, AttributeError):
        return [_UNTOLD], None
    return findings or [_UNTOLD], outputs if outputs and actions == {_MASKED} else None


def _detected(assessment: Mapping[str, Any]) -> Iterator[tuple[Finding, Any]]:
    """Yield what one assessment tells, each with the action that it leads to; never the text that matched."""
    for policy, told in assessment.items():
        if policy in _SILENT or not told:
            continue
        if policy in _LISTS:
            name, own = _LISTS[policy]
            for each in told[name]:
                yield _finding(each, own), each["action"]
        elif policy in _INNER:
            for name, own in _INNER[policy].items():
                for each in told.get(name) or ():
                    yield _finding(each, own), each["action"]
        else:
            yield _UNTOLD, None


def _finding(each: Mapping[str, Any], own: str) -> Finding:
    """Return the finding of an entry: by its type, or as `own`, since names may be a customer's secrets."""
    kind = each.get("type")
    if own or type(kind) is not str:
        return Finding(own or "other", own=own or "other")
    return of_filter(kind[:64], str(each.get("confidence", "")))
