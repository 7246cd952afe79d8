"""What callers are told about each kind of failure, by value: status, code, and whether trying again makes sense."""

from __future__ import annotations

from json import loads

import pytest

from policy.vocabulary import Decision, Verdict
from server.authn.authenticator import AuthenticationFailed, IdentityUnavailable
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.permit import AccessDenied, RouteDenied
from server.fairness.shares import NoRoom
from server.http.error_table import error_of
from server.quota.admission import TooManyAtOnce
from server.quota.counters import CountersUnavailable, Usage
from server.quota.quota import Limit, QuotaExceeded, Standing
from server.storage.blobs.store import BlobMissing, BlobsFull, BlobsUnavailable
from server.storage.database.database import AlreadyThere, DatabaseUnavailable, InDoubt, Overlong, ParentGone
from server.storage.records.guarded import Contended, NotFound
from server.storage.records.list_steps import ListTooLong

SECRET = "secret-canary"
SOON = {"retry-after": "1", "x-should-retry": "true"}
NEVER = {"x-should-retry": "false"}
DENIED = AccessDenied(Decision(Verdict.DENY, SECRET, SECRET, SECRET, SECRET, "r1"), "d1", of_route=False)
EXCEEDED = QuotaExceeded(Standing(SECRET, Limit(1), Usage(1, 0, 0), 42), of_tokens=False)

KINDS: list[tuple[Exception, int, str, str | None, dict[str, str]]] = [
    (DENIED, 403, "invalid_request_error", "insufficient_permissions", {}),
    (RouteDenied("d1", token_missing=False), 403, "invalid_request_error", "insufficient_permissions", {}),
    (
        RouteDenied("d1", token_missing=True),
        401,
        "invalid_request_error",
        "invalid_api_key",
        {"www-authenticate": "Bearer"},
    ),
    (NotFound("x"), 404, "invalid_request_error", "not_found", {}),
    (AlreadyThere(SECRET), 409, "invalid_request_error", "conflict", NEVER),
    (Contended(SECRET), 409, "invalid_request_error", "conflict", NEVER),
    (ParentGone(SECRET), 409, "invalid_request_error", "conflict", NEVER),
    (PolicyUnavailable(Failure.DEADLINE, SECRET), 503, "server_error", "policy_unavailable", SOON),
    (
        AuthenticationFailed("the token has expired"),
        401,
        "invalid_request_error",
        "invalid_api_key",
        {"www-authenticate": 'Bearer error="invalid_token"'},
    ),
    (IdentityUnavailable("later", 7), 503, "server_error", "identity_unavailable", SOON | {"retry-after": "7"}),
    (EXCEEDED, 429, "rate_limit_error", "insufficient_quota", NEVER | {"retry-after": "42"}),
    (NoRoom("lists of records", of_caller=True), 429, "rate_limit_error", "rate_limit_exceeded", SOON),
    (NoRoom("lists of records", of_caller=False), 503, "server_error", "server_busy", SOON),
    (TooManyAtOnce(3), 429, "rate_limit_error", "rate_limit_exceeded", SOON),
    (CountersUnavailable(SECRET), 503, "server_error", "quota_unavailable", SOON),
    (DatabaseUnavailable(SECRET), 503, "server_error", "storage_unavailable", SOON),
    (InDoubt(SECRET), 503, "server_error", "storage_unavailable", SOON | NEVER),
    (Overlong(), 503, "server_error", "list_too_slow", SOON),
    (ListTooLong(200_000), 429, "rate_limit_error", "list_too_long", NEVER),
    (BlobsUnavailable(SECRET), 503, "server_error", "storage_unavailable", SOON),
    (BlobsFull(SECRET), 507, "server_error", "storage_full", NEVER),
    (BlobMissing(SECRET), 500, "server_error", "server_error", {}),
    (RuntimeError(SECRET), 500, "server_error", "server_error", {}),
    (KeyError(SECRET), 500, "server_error", "server_error", {}),
]


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "headers"), KINDS, ids=[f"{type(kind[0]).__name__}-{kind[1]}" for kind in KINDS]
)
def test_each_kind_has_its_status_its_code_and_a_word_about_trying_again(
    error: Exception, status: int, kind: str, code: str | None, headers: dict[str, str]
) -> None:
    response = error_of(error, "req_1").response()
    said = loads(bytes(response.body))["error"]
    assert (response.status_code, said["type"], said["code"], said["param"]) == (status, kind, code, None)
    about = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    assert about == headers
    assert SECRET not in bytes(response.body).decode()


def test_a_fault_of_ours_says_what_to_quote_and_a_refusal_its_decision() -> None:
    assert "`req_1`" in error_of(RuntimeError(), "req_1").message
    assert "`d1`" in error_of(DENIED, "req_1").message


def test_a_change_in_doubt_is_not_said_to_have_changed_nothing() -> None:
    assert "nothing was changed" in error_of(DatabaseUnavailable(SECRET), "req_1").message
    assert "nothing was changed" not in error_of(InDoubt(SECRET), "req_1").message


def test_a_share_that_is_used_up_is_named() -> None:
    own, all_of_it = NoRoom("lists of records", of_caller=True), NoRoom("lists of records", of_caller=False)
    assert error_of(own, "req_1").message == "your share of lists of records is used up; try again in 1 s"
    assert error_of(all_of_it, "req_1").message == "the room for lists of records is used up; try again in 1 s"


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("/chat/completions", "; the paths of this API begin with `/v1/`"),
        ("/", "; the paths of this API begin with `/v1/`"),
        ("/v1/v1/models", "; the path has `/v1` twice"),
        ("/v1/chat/completion", "`d1`"),
        ("/v1/chat/completions", "`d1`"),
        ("/metrics", "`d1`"),
    ],
)
def test_a_wrong_base_url_is_told_by_the_path_alone(path: str, end: str) -> None:
    answer = error_of(RouteDenied("d1", token_missing=False, path=path), "req_1").response()
    assert loads(bytes(answer.body))["error"]["message"].endswith(end)
