"""CORS: the web pages of other origins that may call, and the headers that tell browsers so."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.errors import ApiError
from server.net.linear_pattern import LinearPattern

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@,\\A-Z]+")
_LONGEST_ORIGIN: Final = 320
"""Characters: a scheme, a name of 253 and a port are fewer."""

_REMEMBERED: Final = 1024
_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_SAFELISTED: Final = ("Accept", "Accept-Language", "Content-Language", "Content-Type")
_OF_SDKS: Final = re.compile(
    r"user-agent|openai-(organization|project|beta)|x-stainless-[a-z0-9-]{1,64}"
    r"|anthropic-(version|beta|dangerous-direct-browser-access)"
)
"""Request headers that OpenAI's and Anthropic's clients send by themselves. This server reads none of them, so no list
of `allow_headers` has to name them."""

_ASKS: Final = "Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """The origins that may call from a browser, with which methods and headers; `max_age` is in seconds."""

    allow_origins: Collection[str]
    allow_origin_regex: str | None
    allow_methods: Collection[str]
    allow_headers: Collection[str]
    allow_credentials: bool
    expose_headers: Collection[str]
    max_age: int

    @classmethod
    def localhost(cls) -> Self:
        """Return the rules for pages from this machine, at any port, with the headers that OpenAI's client reads."""
        return cls(
            allow_origins=(),
            allow_origin_regex=r"https?://localhost(:[0-9]{1,5})?",
            allow_methods=("*",),
            allow_headers=("*",),
            allow_credentials=False,
            expose_headers=("x-request-id", "openai-processing-ms", "retry-after", "x-should-retry"),
            max_age=600,
        )


class Cors:
    """Says what a policy means for one request.

    Its refusals are for the browser to enforce: this server does what any other client asks.
    """

    def __init__(self, policy: CorsPolicy) -> None:
        self._origins = frozenset(policy.allow_origins)
        self._anybody = "*" in policy.allow_origins
        pattern = policy.allow_origin_regex
        matches = None if pattern is None else LinearPattern(pattern).fullmatch
        self._matches = None if matches is None else lru_cache(_REMEMBERED)(matches)
        self._methods = _METHODS if "*" in policy.allow_methods else tuple(policy.allow_methods)
        self._any_header = "*" in policy.allow_headers
        self._headers = sorted({*_SAFELISTED, *policy.allow_headers})
        self._known = frozenset(map(str.lower, self._headers))
        self._max_age = policy.max_age
        # A cache must not give one origin what another one was told.
        self._vary = {} if self._anybody else {"Vary": "Origin"}
        self._shown: dict[str, str] = {}
        if policy.allow_credentials and not self._anybody:
            self._shown["Access-Control-Allow-Credentials"] = "true"
        if policy.expose_headers:
            self._shown["Access-Control-Expose-Headers"] = ", ".join(policy.expose_headers)

    def allows(self, origin: str) -> bool:
        """Tell if pages of that origin may call; a text that no browser sends is no origin, whatever a pattern says."""
        if self._anybody:
            return True
        if len(origin) > _LONGEST_ORIGIN or _ORIGIN.fullmatch(origin) is None:
            return False
        return origin in self._origins or (self._matches is not None and self._matches(origin))

    def headers(self, origins: Sequence[str]) -> dict[str, str]:
        """Return the headers that an answer carries, whatever it says, to a request with these `Origin` headers.

        A request with two of them comes from no page.
        """
        if len(origins) != 1 or not self.allows(origins[0]):
            return self._vary
        allowed = "*" if self._anybody else origins[0]
        return {**self._vary, **self._shown, "Access-Control-Allow-Origin": allowed}

    def preflight(self, asked: Headers) -> Response:
        """Allow what a page wants to send, or refuse it with 400."""
        wanted = [name.strip().lower() for name in asked.get("access-control-request-headers", "").split(",")]
        unknown = [name for name in filter(None, wanted) if name not in self._known]
        of_sdks = sorted({name for name in unknown if _OF_SDKS.fullmatch(name)})
        refused = [
            *([] if len(asked.getlist("origin")) == 1 and self.allows(asked["origin"]) else ["origin"]),
            *([] if asked["access-control-request-method"] in self._methods else ["method"]),
            *([] if self._any_header or len({*unknown}) == len(of_sdks) else ["headers"]),
            *(["private-network"] if "access-control-request-private-network" in asked else []),
        ]
        allowed = asked.get("access-control-request-headers") if self._any_header else None
        headers = {
            "Vary": _ASKS,
            "Access-Control-Allow-Methods": ", ".join(self._methods),
            "Access-Control-Allow-Headers": allowed or ", ".join([*self._headers, *of_sdks]),
            "Access-Control-Max-Age": str(self._max_age),
        }
        if refused:
            sentence = f"this server allows no such cross-origin request: {', '.join(refused)}"
            return ApiError(400, sentence, headers=headers).response()
        return PlainTextResponse("OK", headers=headers)


class CorsHeaders:
    """Puts the headers of `Cors` on every answer, so that a page can read its answers, errors above all."""

    def __init__(self, app: ASGIApp, cors: Cors) -> None:
        self.app = app
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        told = self._cors.headers(Headers(scope=scope).getlist("origin"))

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in told.items():
                    if name == "Vary":
                        headers.add_vary_header(value)
                    else:
                        headers[name] = value
            await send(message)

        await self.app(scope, receive, send_told)


class Preflights:
    """Answers preflights, so that they need no token and raise no question about authorization."""

    def __init__(self, app: ASGIApp, cors: Cors) -> None:
        self.app = app
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, and pass on any other request."""
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            headers = Headers(scope=scope)
            if "origin" in headers and "access-control-request-method" in headers:
                await self._cors.preflight(headers)(scope, receive, send)
                return
        await self.app(scope, receive, send)
