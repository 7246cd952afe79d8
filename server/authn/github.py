"""The provider `github_token`: personal access tokens and OAuth tokens of GitHub or a GitHub Enterprise server."""

from __future__ import annotations

import ssl
from typing import Any, Final

from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn.attributes import MAX_VALUES, ClaimsMapping
from server.authn.authenticator import AuthenticationFailed
from server.authn.caching import Validated
from server.authn.strict_json import read_list, read_object
from server.authn.token_rules import is_name
from server.net.http_client import ServiceClient, ServiceFailed, ServiceReply

ORGANIZATIONS: Final = "organizations"
"""The claim that holds the logins of the user's organizations; they are asked for only where it is mapped."""

_PAGE: Final = 100
_HEADERS: Final = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}


class GitHubValidator:
    """Asks GitHub for the user of a token.

    The principal is the user's `login`, its issuer the API's address; the claims are the members that `GET /user`
    answers, and `organizations`. A token without the right to read organizations is refused where they are mapped. For
    some kinds of tokens GitHub returns an empty list instead, so no `forbid` should depend on organizations.
    """

    service: Final = "GitHub"

    def __init__(self, api_base_url: str, mapping: ClaimsMapping, context: ssl.SSLContext) -> None:
        self._url = api_base_url
        self._mapping = mapping
        self._exchange = ServiceClient(context)

    async def validate(self, token: str, request: Scope) -> Validated:
        """Return the user of the token; raise only `AuthenticationFailed` or `ServiceFailed`."""
        reply = await self._get("/user", token)
        if reply.status in (401, 403):
            raise AuthenticationFailed("GitHub does not accept the token")
        user = _user(_content(reply))
        login = user.get("login")
        if not is_name(login):
            raise ServiceFailed("the answer is not a GitHub user")
        if ORGANIZATIONS in self._mapping.pairs:
            user[ORGANIZATIONS] = await self._organizations(token)
        return Validated(Principal(login, self._url, self._mapping.attributes(user)))

    async def close(self) -> None:
        """Close every connection."""
        await self._exchange.close()

    async def _organizations(self, token: str) -> list[str]:
        found: list[str] = []
        for page in range(1, 2 + MAX_VALUES // _PAGE):
            reply = await self._get(f"/user/orgs?per_page={_PAGE}&page={page}", token)
            if reply.status in (403, 404):
                raise AuthenticationFailed(
                    "GitHub doesn't show the token its user's organizations; give it the scope `read:org`"
                )
            listed = _logins(_content(reply))
            found += listed
            if len(listed) < _PAGE:
                return found
        raise AuthenticationFailed(f"the token's user has more than {MAX_VALUES} organizations")

    async def _get(self, path: str, token: str) -> ServiceReply:
        reply = await self._exchange.send("GET", self._url + path, _HEADERS | {"authorization": f"Bearer {token}"})
        if reply.status == 429 or (reply.status == 403 and _is_about_the_rate(reply)):
            raise ServiceFailed("the limit of requests is reached")
        return reply


def _is_about_the_rate(reply: ServiceReply) -> bool:
    """Return whether a 403 is about GitHub's rate limit, and not about the token."""
    if reply.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in reply.headers:
        return True
    # The secondary limit may come without any header.
    return b"rate limit" in reply.content.lower()


def _content(reply: ServiceReply) -> bytes:
    if reply.status != 200:
        raise ServiceFailed(f"the answer's status was {reply.status}")
    return reply.content


def _user(content: bytes) -> dict[str, Any]:
    try:
        return read_object(content)
    except ValueError:
        raise ServiceFailed("the answer is not a GitHub user") from None


def _logins(content: bytes) -> list[str]:
    try:
        logins = [organization["login"] for organization in read_list(content)]
    except (ValueError, TypeError, KeyError):
        logins = [None]
    if not all(is_name(login) for login in logins):
        raise ServiceFailed("the answer is not a list of organizations")
    return logins
