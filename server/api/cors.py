"""Which web pages of other origins may call."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Self

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from server.api.errors import ApiError

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@,\\A-Z]+")


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """Who may call from a browser, how, and what its scripts may read; `max_age` is in seconds."""

    allow_origins: Collection[str]
    allow_origin_regex: str | None
    allow_methods: Collection[str]
    allow_headers: Collection[str]
    allow_credentials: bool
    expose_headers: Collection[str]
    max_age: int

    @classmethod
    def localhost(cls) -> Self:
        """Pages from this machine, at any port, with the headers that OpenAI's client reads."""
        return cls(
            allow_origins=(),
            allow_origin_regex=r"https?://localhost(:[0-9]{1,5})?",
            allow_methods=("*",),
            allow_headers=("*",),
            allow_credentials=False,
            expose_headers=("x-request-id", "openai-processing-ms", "retry-after", "x-should-retry"),
            max_age=600,
        )


class Cors(CORSMiddleware):
    """Starlette's, which answers preflights itself, so that they need no token; its refusals get our envelope."""

    def __init__(self, app: ASGIApp, policy: CorsPolicy) -> None:
        super().__init__(
            app,
            allow_origins=policy.allow_origins,
            allow_origin_regex=policy.allow_origin_regex,
            allow_methods=policy.allow_methods,
            allow_headers=policy.allow_headers,
            allow_credentials=policy.allow_credentials,
            expose_headers=policy.expose_headers,
            max_age=policy.max_age,
        )

    def is_allowed_origin(self, origin: str) -> bool:
        """Whether pages of that origin may call; what no browser sends is nobody's, whatever a pattern lets through."""
        return (self.allow_all_origins or _ORIGIN.fullmatch(origin) is not None) and super().is_allowed_origin(origin)

    def preflight_response(self, request_headers: Headers) -> Response:
        """Allow, or refuse with 400."""
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        reason = bytes(response.body).decode().removeprefix("Disallowed CORS ")
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        refusal = ApiError(400, f"this server allows no such cross-origin request: {reason}", headers=headers)
        return refusal.response()
