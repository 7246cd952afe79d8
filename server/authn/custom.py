"""The provider `custom`: tokens that an endpoint of the operator judges."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from json import JSONEncoder
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn.attributes import MAX_VALUE_LENGTH, MAX_VALUES, spelled
from server.authn.authenticator import AuthenticationFailed
from server.authn.caching import Validated
from server.authn.elsewhere import says_elsewhere
from server.authn.strict_json import is_plain, read_object
from server.authn.token_rules import is_name
from server.net.http_client import ServiceClient, ServiceFailed

_SECRET_HEADERS: Final = frozenset(
    {b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"api-key", b"x-goog-api-key"}
)
_REFUSALS: Final = frozenset({400, 401, 403, 404, 422})
_encode: Final = JSONEncoder(separators=(",", ":")).encode


class CustomValidator:
    """Sends the endpoint a token, and the path, query and plain headers that it came with; never method or body.

    The endpoint answers 200 with `principal` and `attributes`, or with `access_attributes`, both lists of texts by
    name. Without a principal, the caller gets a name derived from the token by the function `name`; without attributes,
    that name is its namespace. A refusal is 400, 401, 403, 404 or 422, or an answer that only refers to a claim.
    """

    service: Final = "the authentication endpoint"

    def __init__(self, endpoint: str, name: Callable[[str], str], context: ssl.SSLContext) -> None:
        self._endpoint = endpoint
        self._name = name
        self._exchange = ServiceClient(context)

    async def validate(self, token: str, request: Scope) -> Validated:
        """Return the caller that the endpoint names; raise only `AuthenticationFailed` or `ServiceFailed`."""
        question = _encode({"api_key": token, "request": _described(request)}).encode()
        reply = await self._exchange.send("POST", self._endpoint, {"content-type": "application/json"}, question)
        if reply.status in _REFUSALS:
            raise AuthenticationFailed("the authentication endpoint does not accept the token")
        if reply.status != 200:
            raise ServiceFailed(f"the answer's status was {reply.status}")
        return Validated(self._principal(reply.content, token))

    async def close(self) -> None:
        """Close every connection."""
        await self._exchange.close()

    def _principal(self, content: bytes, token: str) -> Principal:
        try:
            answer = read_object(content)
        except ValueError:
            raise ServiceFailed("the answer is not a JSON object") from None
        given = answer.get("attributes")
        given = answer.get("access_attributes") if given is None else given
        if says_elsewhere(answer) or (isinstance(given, dict) and says_elsewhere(given)):
            raise AuthenticationFailed(
                "the authentication endpoint says that some of the caller's claims are in another place"
            )
        found = answer.get("principal")
        if found is not None and not is_name(found):
            raise ServiceFailed("the answer's `principal` is not the name of a principal")
        attributes = _attributes(given)
        name = self._name(token)
        return Principal(found or name, self._endpoint, attributes or {"namespaces": (name,)})


def _described(request: Scope) -> dict[str, Any]:
    headers: dict[str, str] = {}
    for name, value in request["headers"]:
        if name not in _SECRET_HEADERS:
            text, key = value.decode("latin-1"), name.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
    query = request["query_string"].decode("latin-1")
    return {"path": request["path"], "headers": headers, "params": parse_qs(query, keep_blank_values=True)}


def _attributes(given: object) -> Mapping[str, tuple[str, ...]]:
    """Return the attributes of an answer; numbers and booleans in a list become their JSON spelling.

    A text where a list is expected is refused, so that it isn't read as a list of letters.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ServiceFailed("the answer's attributes are not an object of lists")
    found: dict[str, tuple[str, ...]] = {}
    for name, values in given.items():
        if values is None or values == []:
            continue
        texts: list[Any] = [spelled(value) for value in values] if isinstance(values, list) else [None]
        if not all(is_plain(text, MAX_VALUE_LENGTH) for text in texts):
            raise ServiceFailed("the answer has an attribute that is not a list of plain texts")
        if not is_plain(name, MAX_VALUE_LENGTH):
            raise ServiceFailed("the answer has an attribute without a plain name")
        found[name] = tuple(dict.fromkeys(texts))
    if sum(map(len, found.values())) > MAX_VALUES:
        raise ServiceFailed(f"the answer has more than {MAX_VALUES} attribute values")
    return found
