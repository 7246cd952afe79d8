"""Tokens that an endpoint of the operator's own judges: a real server."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn import AuthenticationFailed, IdentityUnavailable
from server.authn.caching import CachingAuthenticator
from server.authn.custom import CustomValidator
from server.authn.pseudonyms import PseudonymKeyUnusable, kept_key, pseudonym
from server.net.tls import client_context
from tests.support.identity_services import service

KEY = b"k" * 32
REQUEST: Scope = {
    "method": "POST",
    "path": "/v1/chat/completions",
    "query_string": b"key=value&key=other&empty=",
    "headers": [
        (b"content-type", b"application/json"),
        (b"user-agent", b"curl/7.64.1"),
        (b"authorization", b"Bearer secret-token"),
        (b"cookie", b"session=secret"),
        (b"proxy-authorization", b"Basic secret"),
        (b"x-api-key", b"secret"),
        (b"accept", b"text/html"),
        (b"accept", b"*/*"),
    ],
}
PRINTED = {
    "access_attributes": {
        "roles": ["admin", "user"],
        "teams": ["ml-team", "nlp-team"],
        "projects": ["llama-3", "project-x"],
        "namespaces": ["research"],
    },
    "message": "Authentication successful",
}


def identify(url: str, *tokens: str, seconds: float = 60, request: Scope = REQUEST) -> list[Principal]:
    async def all_of_them() -> list[Principal]:
        identity = CachingAuthenticator(
            CustomValidator(url, partial(pseudonym, KEY), client_context(None, verify=True)), seconds
        )
        try:
            return [await identity.authenticate(token, request) for token in tokens or ("secret-token",)]
        finally:
            await identity.close()

    return asyncio.run(all_of_them())


def test_c18_the_endpoint_gets_the_request_as_printed_and_its_printed_answer_works() -> None:
    with service(lambda asked: (200, PRINTED)) as endpoint:
        (principal,) = identify(f"{endpoint.url}/validate")
        (asked,) = endpoint.asked
        assert (asked.method, asked.target) == ("POST", "/validate")
        assert json.loads(asked.body) == {
            "api_key": "secret-token",
            "request": {
                "path": "/v1/chat/completions",
                "headers": {
                    "content-type": "application/json",
                    "user-agent": "curl/7.64.1",
                    "accept": "text/html, */*",
                },
                "params": {"key": ["value", "other"], "empty": [""]},
            },
        }
        assert "authorization" not in asked.headers and "cookie" not in asked.headers
        assert principal.attributes == {
            "roles": ("admin", "user"),
            "teams": ("ml-team", "nlp-team"),
            "projects": ("llama-3", "project-x"),
            "namespaces": ("research",),
        }
        assert principal.id == pseudonym(KEY, "secret-token")
        assert principal.issuer == f"{endpoint.url}/validate"


def test_c18_a_named_principal_with_attributes_is_taken_as_it_is() -> None:
    answer = {"principal": "user-1", "attributes": {"roles": ["admin", "admin"], "teams": [], "projects": None}}
    with service(lambda asked: (200, answer)) as endpoint:
        (principal,) = identify(endpoint.url)
        assert principal == Principal("user-1", endpoint.url, {"roles": ("admin",)})


@pytest.mark.parametrize("answer", [{}, {"message": "fine"}, {"access_attributes": None}, {"access_attributes": {}}])
def test_c18_without_attributes_a_keyed_hash_of_the_token_is_the_namespace(answer: object) -> None:
    with service(lambda asked: (200, answer)) as endpoint:
        first, other = identify(endpoint.url, "token-a", "token-b")
        assert first.attributes == {"namespaces": (pseudonym(KEY, "token-a"),)}
        assert first.id != other.id
        assert first.attributes != other.attributes
        assert "token-a" not in repr(first).replace(pseudonym(KEY, "token-a"), "")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_a_refusal(status: int) -> None:
    with (
        service(lambda asked: (status, {"message": "no"})) as endpoint,
        pytest.raises(AuthenticationFailed, match="does not accept the token"),
    ):
        identify(endpoint.url)


@pytest.mark.parametrize(
    "reply",
    [
        (500, {}),
        (503, {}),
        (429, {}),
        (302, b""),
        (204, b""),
        (200, b"<html>welcome</html>"),
        (200, b""),
        (200, []),
        (200, {"access_attributes": {"roles": "admin"}}),
        (200, {"access_attributes": ["admin"]}),
        (200, {"access_attributes": "admin"}),
        (200, {"attributes": {"roles": [None]}}),
        (200, {"attributes": {"roles": [["a"]]}}),
        (200, {"attributes": {"roles": [{"name": "a"}]}}),
        (200, {"attributes": {"roles": 5}}),
        (200, b'{"attributes": {"roles": [NaN]}}'),
        (200, b'{"attributes": {"roles": [1e400]}}'),
        (200, {"attributes": {"roles": ["a\nb"]}}),
        (200, {"attributes": {"": ["a"]}}),
        (200, {"attributes": {"roles": [str(number) for number in range(1001)]}}),
        (200, {"principal": "", "attributes": {}}),
        (200, {"principal": ["user-1"]}),
        (200, b'{"principal": "a", "principal": "b"}'),
    ],
)
def test_an_answer_that_can_be_read_in_two_ways_is_no_answer(reply: tuple[int, Any]) -> None:
    with service(lambda asked: reply) as endpoint:
        with pytest.raises(IdentityUnavailable) as failure:
            identify(endpoint.url)
        assert "secret" not in str(failure.value)


def test_numbers_and_booleans_in_a_list_are_spelled_as_in_json() -> None:
    with service(lambda asked: (200, {"principal": "a", "attributes": {"projects": [1, 2.5, True]}})) as endpoint:
        (principal,) = identify(endpoint.url)
        assert principal.attributes == {"projects": ("1", "2.5", "true")}


@pytest.mark.parametrize(
    "mark", [{"_claim_names": {"teams": "s"}}, {"_claim_names": [1]}, {"_claim_sources": {"s": 1}}]
)
@pytest.mark.parametrize("form", ["attributes", "access_attributes"])
def test_an_answer_that_says_its_claims_are_elsewhere_refuses_the_token(form: str, mark: dict[str, Any]) -> None:
    given: dict[str, Any] = {"roles": ["developer"]}
    for answer in ({form: given, **mark}, {form: {**given, **mark}}, {form: given, "hasgroups": True}):
        with (
            service(lambda asked, answer=answer: (200, answer)) as endpoint,
            pytest.raises(AuthenticationFailed, match="in another place"),
        ):
            identify(endpoint.url)


def test_a_name_for_a_token_outlives_a_restart_and_is_no_other_tokens(tmp_path: Path) -> None:
    first = kept_key(tmp_path / "home")
    assert kept_key(tmp_path / "home") == first
    assert kept_key(tmp_path / "elsewhere") != first
    assert (tmp_path / "home" / "pseudonym-key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "home" / "pseudonym-key").chmod(0o644)
    with pytest.raises(PseudonymKeyUnusable, match="for its owner alone"):
        kept_key(tmp_path / "home")
    (tmp_path / "file").touch()
    with pytest.raises(PseudonymKeyUnusable, match="can't be used"):
        kept_key(tmp_path / "file")
