"""The errors of the API, in OpenAI's envelope."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from json import dumps
from math import ceil
from typing import Final

from starlette.responses import Response

from server.inference.provider import Fault, ProviderFailed

_KINDS: Final = {429: "rate_limit_error"}
_SOON: Final = {"Retry-After": "1", "x-should-retry": "true"}


class ApiError(Exception):
    """An answer other than success.

    `param` is the JSON path of what is wrong in the body (`messages[0].role`), `code` a name that programs can compare.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = headers

    @property
    def body(self) -> bytes:
        """The envelope as JSON, all four keys present."""
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return dumps({"error": error}, separators=(",", ":")).encode()

    def response(self) -> Response:
        """Return the whole answer."""
        return Response(self.body, self.status, self.headers, "application/json")


class ClientGone(Exception):
    """The client has closed the connection, so no answer is sent."""


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """Return the 400 of a body that is wrong at `param`."""
    return ApiError(HTTPStatus.BAD_REQUEST, message, code=code, param=param)


def model_not_found(name: str) -> ApiError:
    """Return the 404 of a missing model and of one that the caller may not read: the same bytes for both."""
    message = f"the model `{name}` does not exist, or you have no access to it"
    return ApiError(HTTPStatus.NOT_FOUND, message, code="model_not_found", param="model")


def not_found(identity: str) -> ApiError:
    """Return the 404 of a missing record and of one that the caller may not read: the same bytes for both."""
    return ApiError(HTTPStatus.NOT_FOUND, f"there is no `{identity}`, or you have no access to it", code="not_found")


def access_denied(decision_id: str, path: str = "") -> ApiError:
    """Return the 403 of a refusal: it names the decision, so that an operator can explain it, and never the rule.

    `path` is that of the request where its route is refused.
    """
    message = f"the policy does not allow this request; to learn why, quote decision `{decision_id}`"
    message += of_beginning(path)
    return ApiError(HTTPStatus.FORBIDDEN, message, code="insufficient_permissions")


def of_beginning(path: str) -> str:
    """Return the end of a sentence about a path that begins as none of this server's does; else an empty text.

    It is for clients with a wrong base URL, and tells no path that exists from others that begin in the same way.
    """
    if path.startswith("/v1/v1/"):
        return "; the path has `/v1` twice"
    if path.startswith("/v1/") or path in ("", "/metrics"):
        return ""
    return "; the paths of this API begin with `/v1/`"


def unauthenticated(decision_id: str) -> ApiError:
    """Return the 401 of a refusal of a caller without a token, where a token could have led to another decision."""
    message = f"send `Authorization: Bearer <token>`; decision `{decision_id}` refused this request without one"
    return ApiError(HTTPStatus.UNAUTHORIZED, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def internal(request_id: str) -> ApiError:
    """Return the 500 of a fault of ours, about which the caller learns only what to quote."""
    sentence = f"the server failed to answer; to have it looked into, quote request `{request_id}`"
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, sentence, code="server_error")


def provider_error(failure: ProviderFailed) -> ApiError:
    """Return 400 for what the caller can mend, 429 for what it can wait for, 503 for a provider that is not asked for
    a while, and 502 for the rest.
    """
    match failure.fault:
        case Fault.REQUEST:
            return invalid(failure.message, failure.param, failure.code)
        case Fault.BUSY:
            headers = _wait(failure.retry_after)
            if failure.code == "insufficient_quota":
                # Waiting does not fill an account.
                headers["x-should-retry"] = "false"
            return ApiError(429, failure.message, code=failure.code, headers=headers)
        case Fault.PAUSED:
            headers = _wait(failure.retry_after) | {"x-should-retry": "true"}
            return ApiError(503, failure.message, code="provider_unavailable", headers=headers)
        case Fault.PROVIDER:
            headers = {"x-should-retry": "false"} if failure.hopeless else _wait(failure.retry_after)
            return ApiError(502, failure.message, code=failure.code, headers=headers)


def _wait(seconds: float | None) -> dict[str, str]:
    """Return the headers that tell when to ask again: whole seconds, and milliseconds for clients that know them."""
    if seconds is None:
        return {}
    headers = {"Retry-After": str(ceil(seconds))}
    return headers if seconds == int(seconds) else headers | {"retry-after-ms": str(ceil(seconds * 1000))}
