"""Translation of a provider's refusals into failures for the caller, without a word of the provider's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from json import loads
from typing import Any, Final

from server.inference.provider import Fault, Kind, ProviderFailed, Task
from server.inference.providers.overflow import tells_of_overflow
from server.inference.providers.retry_hints import seconds_to_wait

MOST_QUOTED: Final = 200
"""Characters of a provider's own message that may go to the log."""

_MOST_DETAILS: Final = 8

_REQUEST_AT_FAULT: Final = frozenset({400, 413, 422})
_HOPELESS: Final = frozenset({401, 402, 403, 404, 405, 410, 501, 505})
"""Statuses that the same request would have again: the provider's key, account or address is wrong."""

_MAY_OVERFLOW: Final = _REQUEST_AT_FAULT | {500}
"""Statuses of a prompt that is too long; some servers fail at it."""

_BUSY_CODES: Final = frozenset({"rate_limit_exceeded", "insufficient_quota"})

_CODES: Final = _BUSY_CODES | {
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "invalid_type",
    "invalid_value",
    "missing_required_parameter",
    "string_above_max_length",
    "unknown_parameter",
    "unsupported_parameter",
    "unsupported_value",
}
"""The codes that a provider may pass on to the caller."""

_KINDS_OF_REQUESTS: Final = frozenset({"invalid_request_error", "BadRequestError", "exceed_context_size_error"})
_KINDS_OF_HASTE: Final = frozenset({"rate_limit_error", "RateLimitError", "insufficient_quota"})

_PARAM: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}(?:\.[A-Za-z0-9_]{1,40}|\[[0-9]{1,6}\]){0,10}")
_ODD: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class ProviderError:
    """An error as a provider tells it: codes and places that are known, and words for the log alone."""

    code: str | None = None
    param: str | None = None
    status: int | None = None
    kind: str | None = None
    message: str = ""
    error: Mapping[str, Any] | None = None

    @property
    def quoted(self) -> str:
        """The beginning of the provider's own message, on one line."""
        return _ODD.sub(" ", self.message).strip()[:MOST_QUOTED]

    @property
    def is_about_model(self) -> bool:
        """True if the error is about the model, and not about the path."""
        return self.names("model") or self.kind == "model_not_found"

    def names(self, member: str) -> bool:
        """Return whether the error is about a member of the body."""
        return self.param == member or member in self.message


def refusal_of(provider_id: str, status: int, headers: Mapping[str, str], told: ProviderError) -> ProviderFailed:
    """Return the failure for a refusal with this status."""
    wait = seconds_to_wait(headers, told.error)
    if status in _REQUEST_AT_FAULT or (status in _MAY_OVERFLOW and told.code == "context_length_exceeded"):
        return _invalid(provider_id, told)
    if status == 429:
        return _busy(provider_id, told, wait)
    return ProviderFailed(
        Fault.PROVIDER,
        f"the provider `{provider_id}` answered with status {status}",
        code="server_error",
        retry_after=wait,
        kind=Kind.STATUS,
        status=status,
        hopeless=status in _HOPELESS or 300 <= status < 400,
        said=told.quoted,
    )


def refusal_in_answer(provider_id: str, document: Mapping[str, Any], *, begun: bool) -> ProviderFailed:
    """Return the failure for an error in the place of an answer, or in a stream, which has `begun` or not.

    A refusal costs nothing, wherever it comes; after any other error the provider may have worked.
    """
    told = told_in(document)
    status = told.status
    if told.code in _BUSY_CODES or told.kind in _KINDS_OF_HASTE or status == 429:
        return _busy(provider_id, told, seconds_to_wait({}, told.error))
    if told.code is not None or told.kind in _KINDS_OF_REQUESTS or status in _REQUEST_AT_FAULT:
        return _invalid(provider_id, told)
    return ProviderFailed(
        Fault.PROVIDER,
        f"the provider `{provider_id}` reported an error {'in the middle' if begun else 'in the place'} of its answer",
        code="server_error",
        spent=True,
        kind=Kind.TOLD,
        status=status,
        hopeless=status in _HOPELESS,
        said=told.quoted,
    )


def broken(provider_id: str, did: str, *, spent: bool = True, kind: Kind = Kind.BROKEN) -> ProviderFailed:
    """Return a failure that the caller can do nothing about; where it is not `spent`, nothing was sent either."""
    sentence = f"the provider `{provider_id}` {did}"
    return ProviderFailed(Fault.PROVIDER, sentence, code="server_error", spent=spent, unsent=not spent, kind=kind)


def not_served(provider_id: str, task: Task) -> ProviderFailed:
    """Return the failure for a task that the provider has no path for."""
    does_not = {Task.EMBEDDING: "makes no embeddings", Task.TEXT: "does not complete texts"}[task]
    sentence = f"the provider `{provider_id}` {does_not}"
    return ProviderFailed(Fault.REQUEST, sentence, code="invalid_value", param="model", kind=Kind.STATUS)


def _invalid(provider_id: str, told: ProviderError) -> ProviderFailed:
    sentence = f"the provider `{provider_id}` refused the request as invalid"
    if told.code == "context_length_exceeded":
        # Clients look for these words.
        sentence = f"the provider `{provider_id}` refused the request: this model's maximum context length is exceeded"
    return ProviderFailed(
        Fault.REQUEST,
        sentence,
        code=told.code,
        param=told.param,
        kind=Kind.REFUSED,
        status=told.status,
        said=told.quoted,
    )


def _busy(provider_id: str, told: ProviderError, wait: float | None) -> ProviderFailed:
    return ProviderFailed(
        Fault.BUSY,
        f"the provider `{provider_id}` takes no more requests now",
        code=told.code or "rate_limit_exceeded",
        retry_after=wait,
        kind=Kind.BUSY,
        status=429,
        said=told.quoted,
    )


def told_by(body: bytes) -> ProviderError:
    """Return what the body of a refusal tells; nothing if it can't be read."""
    try:
        document = loads(body)
    except (ValueError, RecursionError):
        return ProviderError()
    # Gemini puts its error into a list.
    if type(document) is list and len(document) == 1:
        [document] = document
    return told_in(document) if type(document) is dict else ProviderError()


def told_in(document: Mapping[str, Any]) -> ProviderError:
    """Return what a document tells of an error."""
    error: Any = document.get("error", document)
    if type(error) is str:
        error = {"message": error}
    if type(error) is not dict:
        return ProviderError()
    code, param, message, kind = error.get("code"), error.get("param"), error.get("message"), error.get("type")
    words = message if type(message) is str else _details(document.get("detail"))
    numbers = (code, error.get("status"), error.get("status_code"), document.get("status_code"))
    told = code if type(code) is str and code in _CODES else None
    if told is None and type(kind) is str and kind in _CODES:
        told = kind
    # Few providers send the code for it.
    if tells_of_overflow(words) and told not in _BUSY_CODES:
        told = "context_length_exceeded"
    return ProviderError(
        told,
        param if type(param) is str and _PARAM.fullmatch(param) else None,
        next((number for number in map(_status, numbers) if number is not None), None),
        kind if type(kind) is str else None,
        words,
        error,
    )


def _details(detail: Any) -> str:
    """Return the words of a validation error as FastAPI tells it: a text, or a list of places and messages."""
    if type(detail) is str:
        return detail
    entries = [entry for entry in detail[:_MOST_DETAILS] if type(entry) is dict] if type(detail) is list else []
    return "; ".join(f"{entry.get('loc')}: {entry.get('msg')}" for entry in entries)


def _status(given: Any) -> int | None:
    if type(given) is str and given.isascii() and given.isdigit() and len(given) == 3:
        given = int(given)
    return given if type(given) is int and 400 <= given < 600 else None
