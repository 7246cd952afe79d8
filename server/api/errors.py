"""Every error leaves the server in OpenAI's envelope, whatever raised it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from json import dumps
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.authn import AuthenticationFailed, IdentityUnavailable
from server.authz.errors import AccessDenied, PolicyUnavailable
from server.requests import call_of

_log: Final = logging.getLogger("ostiary.api")

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
        """The whole answer."""
        return Response(self.body, self.status, self.headers, "application/json")


class ClientGone(Exception):
    """The client has closed the connection: nobody is left to answer."""


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """The request's body is wrong at `param`."""
    return ApiError(HTTPStatus.BAD_REQUEST, message, code=code, param=param)


def model_not_found(name: str) -> ApiError:
    """What a missing model and one that the caller may not read have in common: this, to the byte."""
    message = f"the model `{name}` does not exist, or you have no access to it"
    return ApiError(HTTPStatus.NOT_FOUND, message, code="model_not_found", param="model")


def forbidden(denied: AccessDenied) -> ApiError:
    """A refusal that may be known: it names the decision, so that an operator can explain it, and never the rule."""
    message = f"the policy does not allow this request; to learn why, quote decision `{denied.decision_id}`"
    return ApiError(HTTPStatus.FORBIDDEN, message, code="insufficient_permissions")


def unauthenticated(denied: AccessDenied) -> ApiError:
    """The same for a caller without a token, where a token could have made the difference."""
    message = f"send `Authorization: Bearer <token>`; decision `{denied.decision_id}` refused this request without one"
    return ApiError(HTTPStatus.UNAUTHORIZED, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def answer(error: Exception, request_id: str) -> ApiError:
    """What the caller is told about `error`; one that nobody expected is logged here and told nothing about."""
    match error:
        case ApiError():
            return error
        case AccessDenied():
            return forbidden(error)
        case PolicyUnavailable():
            _log.warning("%s: no decision could be had: %s", request_id, error.reason)
            sentence = "the policy engine gave no decision, so nothing is allowed; try again"
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, code="policy_unavailable", headers=_SOON)
        case AuthenticationFailed():
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            return ApiError(HTTPStatus.UNAUTHORIZED, str(error), code="invalid_api_key", headers=challenge)
        case IdentityUnavailable():
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), code="identity_unavailable", headers=_SOON)
        case _:
            _log.error("%s: the request failed", request_id, exc_info=error)
            return internal(request_id)


async def last_resort(request: Request, error: Exception) -> Response:
    """The answer to a fault in the guards themselves."""
    request_id = call_of(request.scope).request_id
    response = answer(error, request_id).response()
    response.headers["x-request-id"] = request_id
    return response


def internal(request_id: str) -> ApiError:
    """A fault of ours, about which the caller learns only what to quote."""
    sentence = f"the server failed to answer; to have it looked into, quote request `{request_id}`"
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, sentence, code="server_error")


async def routing_error(request: Request, error: Exception) -> Response:
    """The router's own errors: no such path, or not with this method."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        sentence = f"`{request.method}` is not a method of this path; use {allowed}"
        return ApiError(error.status_code, sentence, headers={"Allow": allowed}).response()
    if error.status_code == HTTPStatus.NOT_FOUND:
        return ApiError(error.status_code, f"there is nothing at `{request.scope['path']}`").response()
    return ApiError(error.status_code, error.detail, headers=error.headers).response()


class Envelopes:
    """Turns what is raised behind it into an envelope, as long as no byte of an answer has been sent."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and answer for it if that raises."""
        started = False

        async def send_watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_watched)
        except ClientGone:
            return
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            response = answer(error, call_of(scope).request_id).response()
            await response(scope, receive, send)
