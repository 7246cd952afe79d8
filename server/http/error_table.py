"""The table of error answers: one row for each exception that a request can raise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from server.authn import AuthenticationFailed, IdentityUnavailable
from server.authz.contract.errors import PolicyUnavailable
from server.authz.permit import AccessDenied
from server.http.errors import _SOON, ApiError, ClientGone, access_denied, internal, not_found
from server.http.even_times import Ended, EvenTimes
from server.http.request_state import state_of
from server.quota.admission import TooManyAtOnce
from server.quota.counters import CountersUnavailable
from server.quota.quota import QuotaExceeded
from server.storage.blobs.store import BlobMissing, BlobsFull, BlobsUnavailable
from server.storage.database.database import AlreadyThere, DatabaseUnavailable, InDoubt, ParentGone
from server.storage.records.guarded import Contended, NotFound
from server.telemetry.faults import log_fault

_log: Final = logging.getLogger("ostiary.api")


def error_of(error: Exception, request_id: str) -> ApiError:
    """What the caller is told about `error`; one that nobody expected is logged here and told nothing about."""
    for kind in type(error).__mro__:
        told = _TOLD.get(kind)
        if told is not None:
            return told(error, request_id)
    log_fault(_log, f"{request_id}: the request failed", error)
    return internal(request_id)


def _policy_unavailable(error: PolicyUnavailable, request_id: str) -> ApiError:
    _log.warning("%s: no decision could be had: %s", request_id, error.reason)
    sentence = "the policy engine gave no decision, so nothing is allowed; try again"
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, code="policy_unavailable", headers=_SOON)


def _bad_token(error: AuthenticationFailed, _request_id: str) -> ApiError:
    challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return ApiError(HTTPStatus.UNAUTHORIZED, str(error), code="invalid_api_key", headers=challenge)


def _identity_unavailable(error: IdentityUnavailable, _request_id: str) -> ApiError:
    wait = _SOON | {"Retry-After": str(error.seconds)}
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), code="identity_unavailable", headers=wait)


def _quota_exceeded(error: QuotaExceeded, _request_id: str) -> ApiError:
    wait = {"Retry-After": str(error.standing.resets_in), "x-should-retry": "false"}
    return ApiError(HTTPStatus.TOO_MANY_REQUESTS, str(error), code="insufficient_quota", headers=wait)


def _too_many_at_once(_error: TooManyAtOnce, _request_id: str) -> ApiError:
    sentence = "too many of your requests are under way; wait until one of them is answered"
    return ApiError(HTTPStatus.TOO_MANY_REQUESTS, sentence, code="rate_limit_exceeded", headers=_SOON)


def _quota_unavailable(error: CountersUnavailable, request_id: str) -> ApiError:
    _log.warning("%s: nothing could be counted: %s", request_id, error)
    sentence = "the quota can't be counted now, so nothing is allowed; try again"
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, code="quota_unavailable", headers=_SOON)


def _storage_unavailable(error: DatabaseUnavailable, request_id: str) -> ApiError:
    _log.warning("%s: %s", request_id, error)
    if isinstance(error, InDoubt):
        # A client that tries again by itself might do twice what was done.
        sentence = "the records were lost touch with, and it isn't known whether this was done; look, then try again"
        wait = _SOON | {"x-should-retry": "false"}
        return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, code="storage_unavailable", headers=wait)
    sentence = "the records can't be reached now, and nothing was changed; try again"
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, code="storage_unavailable", headers=_SOON)


def _blobs_unavailable(error: BlobsUnavailable, request_id: str) -> ApiError:
    _log.warning("%s: %s", request_id, error)
    sentence = "the bytes of files can't be kept or fetched now, and nothing was changed; try again"
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, code="storage_unavailable", headers=_SOON)


def _blobs_full(error: BlobsFull, request_id: str) -> ApiError:
    _log.error("%s: %s", request_id, error)
    sentence = "there is no room for this file, and nothing of it was kept"
    return ApiError(HTTPStatus.INSUFFICIENT_STORAGE, sentence, code="storage_full", headers={"x-should-retry": "false"})


def _blob_missing(error: BlobMissing, request_id: str) -> ApiError:
    _log.error("%s: %s", request_id, error)
    return internal(request_id)


def _conflict(_error: Exception, _request_id: str) -> ApiError:
    sentence = "another request has made or changed this at the same time; read it again"
    return ApiError(HTTPStatus.CONFLICT, sentence, code="conflict", headers={"x-should-retry": "false"})


_TOLD: Final[Mapping[type, Callable[[Any, str], ApiError]]] = {
    ApiError: lambda error, _request_id: error,
    AccessDenied: lambda error, _request_id: access_denied(error),
    NotFound: lambda error, _request_id: not_found(error.identity),
    AlreadyThere: _conflict,
    Contended: _conflict,
    ParentGone: _conflict,
    PolicyUnavailable: _policy_unavailable,
    AuthenticationFailed: _bad_token,
    IdentityUnavailable: _identity_unavailable,
    QuotaExceeded: _quota_exceeded,
    TooManyAtOnce: _too_many_at_once,
    CountersUnavailable: _quota_unavailable,
    DatabaseUnavailable: _storage_unavailable,
    BlobsUnavailable: _blobs_unavailable,
    BlobsFull: _blobs_full,
    BlobMissing: _blob_missing,
}
"""What callers are told about each kind of failure; a kind stands for those derived from it."""


async def last_resort(request: Request, error: Exception) -> Response:
    """The answer to a fault in the guards themselves."""
    request_id = state_of(request.scope).request_id
    response = error_of(error, request_id).response()
    response.headers["x-request-id"] = request_id
    return response


async def routing_error(request: Request, error: Exception) -> Response:
    """The router's own errors: no such path, or not with this method."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(_methods(request)))
        sentence = f"`{request.method}` is not a method of this path; use {allowed}"
        return ApiError(error.status_code, sentence, headers={"Allow": allowed}).response()
    if error.status_code == HTTPStatus.NOT_FOUND:
        return ApiError(error.status_code, f"there is nothing at `{request.scope['path']}`").response()
    return ApiError(error.status_code, error.detail, headers=error.headers).response()


def _methods(request: Request) -> set[str]:
    """Every method of a path; each route knows only its own."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in routes for method in route.methods}


class Envelopes:
    """Turns what is raised behind it into an envelope, as long as no byte of an answer has been sent.

    That something is not there is said after an even time, since it may be there for others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._times = EvenTimes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and answer for it if that raises."""
        ended = Ended(receive)
        try:
            await self.app(scope, ended, send)
        except ClientGone:
            return
        except Exception as error:
            if scope["type"] != "http" or state_of(scope).status:
                raise
            response = error_of(error, state_of(scope).request_id).response()
            if response.status_code == HTTPStatus.NOT_FOUND:
                await self._times.wait(ended.at)
            await response(scope, receive, send)
