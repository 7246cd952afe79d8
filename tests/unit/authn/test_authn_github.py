"""Tokens that GitHub answers for: a real server with GitHub's wire format."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from policy.vocabulary import Principal
from server.authn import AuthenticationFailed, IdentityUnavailable
from server.authn.attributes import ClaimsMapping
from server.authn.caching import CachingAuthenticator
from server.authn.github import GitHubValidator
from server.net.tls import client_context
from tests.support.identity_services import Asked, service
from tests.support.token_issuers import ask

GOOD = "good-token"
MAPPING = {"login": "roles", "organizations": "teams"}
USER = {
    "login": "octocat",
    "id": 583231,
    "type": "User",
    "site_admin": False,
    "name": None,
    "email": "octocat@github.com",
    "plan": {"name": "pro"},
}


def github(asked: Asked) -> tuple[int, Any] | tuple[int, Any, dict[str, str]]:
    """GitHub with one user, who is in 150 organizations."""
    if asked.headers["authorization"] != "Bearer good-token":
        return 401, {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"}
    path, _, query = asked.target.removeprefix("/api/v3").partition("?")
    if path == "/user":
        return 200, USER
    page = int(query.rpartition("page=")[2])
    logins = [f"org-{number}" for number in range(150)][(page - 1) * 100 : page * 100]
    return 200, [{"login": login, "id": 1, "description": None} for login in logins]


def identify(url: str, token: str = GOOD, mapping: Mapping[str, str] = MAPPING) -> Principal:
    async def once() -> Principal:
        identity = CachingAuthenticator(
            GitHubValidator(url, ClaimsMapping(mapping), client_context(None, verify=True)), 60
        )
        try:
            return await ask(identity, token)
        finally:
            await identity.close()

    return asyncio.run(once())


@pytest.mark.parametrize("base", ["", "/api/v3"])
def test_c17_the_user_and_all_pages_of_organizations_come_from_the_api_also_of_an_enterprise_server(base: str) -> None:
    with service(github) as api:
        principal = identify(api.url + base)
        organizations = tuple(f"org-{number}" for number in range(150))
        assert principal == Principal("octocat", api.url + base, {"roles": ("octocat",), "teams": organizations})
        assert [asked.target for asked in api.asked] == [
            f"{base}/user",
            f"{base}/user/orgs?per_page=100&page=1",
            f"{base}/user/orgs?per_page=100&page=2",
        ]
        assert api.asked[0].headers["accept"] == "application/vnd.github+json"
        assert api.asked[0].headers["user-agent"] == "ostiary"


def test_organizations_are_asked_for_only_where_they_are_mapped() -> None:
    with service(github) as api:
        found = identify(api.url, mapping={"login": "roles", "id": "ids", "email": "emails", "name": "names"})
        assert found.attributes == {"roles": ("octocat",), "ids": ("583231",), "emails": ("octocat@github.com",)}
        assert len(api.asked) == 1


def test_a_token_that_github_refuses_is_refused() -> None:
    with service(github) as api, pytest.raises(AuthenticationFailed, match="GitHub does not accept the token"):
        identify(api.url, "bad-token")


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("page", [1, 2])
def test_a_token_that_may_not_see_all_organizations_is_refused_where_they_are_mapped(status: int, page: int) -> None:
    def closed(asked: Asked) -> tuple[int, Any] | tuple[int, Any, dict[str, str]]:
        return (status, {}) if asked.target.endswith(f"&page={page}") else github(asked)

    with service(closed) as api:
        with pytest.raises(AuthenticationFailed, match="give it the scope `read:org`"):
            identify(api.url)
        assert identify(api.url, mapping={"login": "roles"}).attributes == {"roles": ("octocat",)}


def test_every_member_of_the_user_can_be_mapped() -> None:
    with service(github) as api:
        mapping = {"site_admin": "admins", "id": "ids", "plan.name": "plans", "name": "names", "missing": "m"}
        assert identify(api.url, mapping=mapping).attributes == {
            "admins": ("false",),
            "ids": ("583231",),
            "plans": ("pro",),
        }
        with pytest.raises(AuthenticationFailed, match="`plan` is neither a text nor a list"):
            identify(api.url, mapping={"plan": "plans"})


@pytest.mark.parametrize("mark", [{"_claim_names": {"login": "s"}}, {"_claim_names": []}, {"_claim_sources": {"s": 1}}])
def test_a_user_whose_claims_are_elsewhere_is_refused(mark: dict[str, Any]) -> None:
    with (
        service(lambda asked: (200, USER | mark) if asked.target == "/user" else github(asked)) as api,
        pytest.raises(AuthenticationFailed, match="in another place"),
    ):
        identify(api.url)


@pytest.mark.parametrize(
    ("reply"),
    [
        (403, {}, {"x-ratelimit-remaining": "0"}),
        (403, {}, {"retry-after": "60"}),
        (403, {"message": "You have exceeded a secondary rate limit. Please wait."}, {"x-ratelimit-remaining": "9"}),
        (429, {}, {}),
        (500, {}, {}),
        (404, {}, {}),
        (301, b"", {"location": "https://example.com/user"}),
        (200, b"<html>", {}),
        (200, [], {}),
        (200, {"id": 5}, {}),
        (200, {"login": "a\x00b"}, {}),
    ],
)
def test_an_answer_that_says_nothing_of_the_token_is_no_answer(reply: tuple[int, Any, dict[str, str]]) -> None:
    with service(lambda asked: reply) as api, pytest.raises(IdentityUnavailable):
        identify(api.url)


@pytest.mark.parametrize("listed", [{}, [5], [{"login": 5}], [{}], b"<html>"])
def test_a_list_of_organizations_that_is_none_identifies_no_caller(listed: object) -> None:
    with (
        service(lambda asked: (200, USER) if asked.target == "/user" else (200, listed)) as api,
        pytest.raises((IdentityUnavailable, AuthenticationFailed)),
    ):
        identify(api.url)


def test_a_user_with_endless_organizations_is_refused_and_not_half_known() -> None:
    page = [{"login": f"org-{number}"} for number in range(100)]
    with service(lambda asked: (200, USER) if asked.target == "/user" else (200, page)) as api:
        with pytest.raises(AuthenticationFailed, match="more than 1000 organizations"):
            identify(api.url)
        assert len(api.asked) == 12
