"""The table of error answers: one row for each exception that a request can raise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from server.authn import AuthenticationFailed, IdentityUnavailable
from server.authz.contract.errors import PolicyUnavailable
from server.authz.permit import AccessDenied, RouteDenied
from server.background.faults import log_fault
from server.fairness.places import leave_place
from server.fairness.shares import RETRY_SECONDS, NoRoom
from server.http.error_shapes import error_response
from server.http.errors import (
    _SOON,
    ApiError,
    ClientGone,
    access_denied,
    internal,
    invalid,
    not_found,
    of_beginning,
    unauthenticated,
)
from server.http.even_times import Ended, EvenTimes
from server.http.request_state import state_of
from server.inference.attachments import NotSent
from server.quota.admission import TooManyAtOnce
from server.quota.counters import CountersUnavailable
from server.quota.quota import QuotaExceeded
from server.quota.storage_limit import StorageExceeded
from server.safety.checks import NotRead, TextStopped
from server.safety.running import ShieldUnavailable, TextTooLong
from server.storage.blobs.store import BlobMissing, BlobsFull, BlobsUnavailable
from server.storage.database.database import AlreadyThere, DatabaseUnavailable, InDoubt, Overlong, ParentGone
from server.storage.records.guarded import Contended, NotFound
from server.storage.records.list_steps import ListTooLong
from server.storage.vectors.index import IndexUnavailable

_log: Final = logging.getLogger("ostiary.api")


def error_of(error: Exception, request_id: str) -> ApiError:
    """Return what the caller is told about `error`; an exception without a row is logged, and told as a fault of ours.

    A row stands for the subclasses of its exception too, unless they have their own.
    """
    for kind in type(error).__mro__:
        answer = _ANSWERS.get(kind)
        if answer is not None:
            return answer(error, request_id)
    log_fault(_log, f"{request_id}: the request failed", error)
    return internal(request_id)


@dataclass(frozen=True, slots=True)
class _Row:
    """One answer that does not depend on the exception's values.

    The caller reads `sentence`, or the exception's own text where it is None. With a `level`, `logged` is logged with
    the request's id and the exception's text.
    """

    status: HTTPStatus
    code: str
    sentence: str | None
    headers: Mapping[str, str]
    level: int | None = None
    logged: str = "%s: %s"

    def __call__(self, error: Exception, request_id: str) -> ApiError:
        if self.level is not None:
            _log.log(self.level, self.logged, request_id, error)
        sentence = str(error) if self.sentence is None else self.sentence
        return ApiError(self.status, sentence, code=self.code, headers=self.headers)


def _route_denied(error: RouteDenied, _request_id: str) -> ApiError:
    return unauthenticated(error.decision_id) if error.token_missing else access_denied(error.decision_id, error.path)


def _identity_unavailable(error: IdentityUnavailable, _request_id: str) -> ApiError:
    wait = _SOON | {"Retry-After": str(error.seconds)}
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), code="identity_unavailable", headers=wait)


def _quota_exceeded(error: QuotaExceeded, _request_id: str) -> ApiError:
    wait = {"Retry-After": str(error.standing.resets_in)} | _NO_RETRY
    return ApiError(HTTPStatus.TOO_MANY_REQUESTS, str(error), code="insufficient_quota", headers=wait)


def _no_room(error: NoRoom, _request_id: str) -> ApiError:
    wait = _SOON | {"Retry-After": str(RETRY_SECONDS)}
    if error.of_caller:
        return ApiError(HTTPStatus.TOO_MANY_REQUESTS, str(error), code="rate_limit_exceeded", headers=wait)
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), code="server_busy", headers=wait)


def _index_unavailable(error: IndexUnavailable, request_id: str) -> ApiError:
    if not error.starting:
        _log.warning("%s: %s", request_id, error)
    code = "starting" if error.starting else "storage_unavailable"
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), code=code, headers=_SOON)


def _blob_missing(error: BlobMissing, request_id: str) -> ApiError:
    _log.error("%s: %s", request_id, error)
    return internal(request_id)


def _not_sent(error: NotSent, request_id: str) -> ApiError:
    return error_of(error.reason, request_id)


_NO_RETRY: Final = {"x-should-retry": "false"}

_CONFLICT: Final = _Row(
    HTTPStatus.CONFLICT,
    "conflict",
    "another request has made or changed this at the same time; read it again",
    _NO_RETRY,
)

_ANSWERS: Final[Mapping[type, Callable[[Any, str], ApiError]]] = {
    ApiError: lambda error, _request_id: error,
    AccessDenied: lambda error, _request_id: access_denied(error.decision_id),
    RouteDenied: _route_denied,
    NotFound: lambda error, _request_id: not_found(error.identity),
    AlreadyThere: _CONFLICT,
    Contended: _CONFLICT,
    ParentGone: _CONFLICT,
    PolicyUnavailable: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "policy_unavailable",
        "the policy engine gave no decision, so nothing is allowed; try again",
        _SOON,
        logging.WARNING,
        "%s: no decision could be had: %s",
    ),
    AuthenticationFailed: _Row(
        HTTPStatus.UNAUTHORIZED, "invalid_api_key", None, {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    ),
    IdentityUnavailable: _identity_unavailable,
    QuotaExceeded: _quota_exceeded,
    NoRoom: _no_room,
    # Waiting makes no room.
    StorageExceeded: _Row(HTTPStatus.TOO_MANY_REQUESTS, "insufficient_quota", None, _NO_RETRY),
    TooManyAtOnce: _Row(
        HTTPStatus.TOO_MANY_REQUESTS,
        "rate_limit_exceeded",
        "too many of your requests are under way; wait until one of them is answered",
        _SOON,
    ),
    CountersUnavailable: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "quota_unavailable",
        "the quota can't be counted now, so nothing is allowed; try again",
        _SOON,
        logging.WARNING,
        "%s: nothing could be counted: %s",
    ),
    DatabaseUnavailable: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "storage_unavailable",
        "the records can't be reached now, and nothing was changed; try again",
        _SOON,
        logging.WARNING,
    ),
    # A client that tries again by itself might do twice what was done.
    InDoubt: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "storage_unavailable",
        "the records were lost touch with, and it isn't known whether this was done; look, then try again",
        _SOON | _NO_RETRY,
        logging.WARNING,
    ),
    Overlong: _Row(HTTPStatus.SERVICE_UNAVAILABLE, "list_too_slow", None, _SOON, logging.WARNING),
    # The same list would pass over the same records.
    ListTooLong: _Row(HTTPStatus.TOO_MANY_REQUESTS, "list_too_long", None, _NO_RETRY, logging.INFO),
    BlobsUnavailable: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "storage_unavailable",
        "the bytes of files can't be kept or fetched now, and nothing was changed; try again",
        _SOON,
        logging.WARNING,
    ),
    BlobsFull: _Row(
        HTTPStatus.INSUFFICIENT_STORAGE,
        "storage_full",
        "there is no room for this file, and nothing of it was kept",
        _NO_RETRY,
        logging.ERROR,
    ),
    BlobMissing: _blob_missing,
    IndexUnavailable: _index_unavailable,
    ShieldUnavailable: _Row(HTTPStatus.SERVICE_UNAVAILABLE, "shield_unavailable", None, _SOON),
    TextTooLong: _Row(HTTPStatus.BAD_REQUEST, "text_too_long", None, _NO_RETRY),
    TextStopped: _Row(HTTPStatus.BAD_REQUEST, "content_filter", None, _NO_RETRY),
    NotRead: lambda error, _request_id: invalid(str(error), error.param, "not_checked"),
    NotSent: _not_sent,
}
"""The answer to each kind of exception; a function where it depends on the exception's values."""


async def last_resort(request: Request, error: Exception) -> Response:
    """Answer a fault in the guards themselves."""
    request_id = state_of(request.scope).request_id
    response = error_response(error_of(error, request_id), request.scope)
    response.headers["x-request-id"] = request_id
    return response


async def routing_error(request: Request, error: Exception) -> Response:
    """Answer the router's own errors: no such path, or not with this method."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(_methods(request)))
        sentence = f"`{request.method}` is not a method of this path; use {allowed}"
        return error_response(ApiError(error.status_code, sentence, headers={"Allow": allowed}), request.scope)
    if error.status_code == HTTPStatus.NOT_FOUND:
        path = request.scope["path"]
        sentence = f"there is nothing at `{path}`{of_beginning(path)}"
        return error_response(ApiError(error.status_code, sentence), request.scope)
    return error_response(ApiError(error.status_code, error.detail, headers=error.headers), request.scope)


def _methods(request: Request) -> set[str]:
    """Return every method of a path; each route knows only its own."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in routes for method in route.methods}


class Envelopes:
    """Turns exceptions of the application into error answers, as long as no byte of an answer has been sent.

    A 404 is sent after an even time, since the object may exist for other callers.
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
            leave_place()
            response = error_response(error_of(error, state_of(scope).request_id), scope)
            if response.status_code == HTTPStatus.NOT_FOUND:
                await self._times.wait(ended.at)
            await response(scope, receive, send)
