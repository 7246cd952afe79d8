"""The forms of error answers: OpenAI's, and Anthropic's on the routes that Anthropic's clients call."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from json import dumps
from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from server.http.errors import ApiError
from server.http.request_state import state_of

_MESSAGES: Final = "/v1/messages"
_MODELS: Final = "/v1/models"
_READING: Final = ("GET", "HEAD")
_VERSION: Final = b"anthropic-version"

_KINDS: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
}
"""Anthropic's names of errors; others are `invalid_request_error` below 500, and `api_error` from there."""


def is_anthropics(scope: Scope) -> bool:
    """Return whether a client of Anthropic's makes a request: at a path that no other calls, or as one that asks for
    models and says its version.
    """
    path: str = scope["path"]
    if not path.startswith((_MESSAGES, _MODELS)):
        return False
    if path.rstrip("/") == _MESSAGES or path.startswith(f"{_MESSAGES}/"):
        return True
    is_of_models = path.rstrip("/") == _MODELS or path.startswith(f"{_MODELS}/")
    return is_of_models and scope["method"] in _READING and any(name == _VERSION for name, _ in scope["headers"])


def error_response(error: ApiError, scope: Scope) -> Response:
    """Return the whole answer to a request, in the form that clients of its path read."""
    if not is_anthropics(scope):
        return error.response()
    body = anthropic_body(error, state_of(scope).request_id)
    return Response(body, error.status, error.headers, "application/json")


def anthropic_body(error: ApiError, request_id: str) -> bytes:
    """Return Anthropic's envelope as JSON."""
    usual = "invalid_request_error" if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else "api_error"
    shown = {"type": _KINDS.get(error.status, usual), "message": error.message}
    return dumps({"type": "error", "error": shown, "request_id": request_id}, separators=(",", ":")).encode()
