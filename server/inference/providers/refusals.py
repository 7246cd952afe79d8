"""Translation of a provider's refusals into failures for the caller, without a word of the provider's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from json import loads
from typing import Any, Final

from server.inference.provider import Fault, ProviderFailed

_REQUEST_AT_FAULT: Final = frozenset({400, 413, 422})

_CODES: Final = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "context_length_exceeded",
        "insufficient_quota",
        "invalid_type",
        "invalid_value",
        "missing_required_parameter",
        "rate_limit_exceeded",
        "string_above_max_length",
        "unknown_parameter",
        "unsupported_parameter",
        "unsupported_value",
    }
)
"""The codes that a provider may pass on to the caller."""

_PARAM: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}(?:\.[A-Za-z0-9_]{1,40}|\[[0-9]{1,6}\]){0,10}")
_SECONDS: Final = re.compile(r"[0-9]{1,4}")


def provider_refusal(provider_id: str, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailed:
    """Return the failure for an answer with a status other than 200."""
    if status in _REQUEST_AT_FAULT:
        code, param = _code_and_param(body)
        sentence = f"the provider `{provider_id}` refused the request as invalid"
        return ProviderFailed(Fault.REQUEST, sentence, code=code, param=param)
    if status == 429:
        wait = headers.get("Retry-After", "")
        return ProviderFailed(
            Fault.BUSY,
            f"the provider `{provider_id}` takes no more requests now",
            code=_code_and_param(body)[0] or "rate_limit_exceeded",
            retry_after=int(wait) if _SECONDS.fullmatch(wait) else None,
        )
    return broken(provider_id, f"answered with status {status}", spent=False)


def broken(provider_id: str, did: str, *, spent: bool = True) -> ProviderFailed:
    """Return a failure that the caller can do nothing about."""
    return ProviderFailed(Fault.PROVIDER, f"the provider `{provider_id}` {did}", code="server_error", spent=spent)


def _code_and_param(body: bytes) -> tuple[str | None, str | None]:
    try:
        document = loads(body)
    except (ValueError, RecursionError):
        return None, None
    error: Any = document.get("error", document) if type(document) is dict else None
    if type(error) is not dict:
        return None, None
    code, param, message = error.get("code"), error.get("param"), error.get("message")
    # vLLM and llama.cpp send no code for it.
    if type(message) is str and ("maximum context length" in message or "exceeds the available context" in message):
        code = "context_length_exceeded"
    return (
        code if type(code) is str and code in _CODES else None,
        param if type(param) is str and _PARAM.fullmatch(param) else None,
    )
