"""The baseline server: Starlette, a JWT check and a pass-through, without a policy engine.

`python -m bench.bare JWKS UPSTREAM_PORT [remember]` prints its address. It has no edge guard, no limits, no decisions,
no log and no request ids. Tokens are checked by the same library as the server's, on each request, or with `remember`
once, as the server does.
"""

from __future__ import annotations

import hashlib
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from json import loads
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvicorn
from jose import JWTError, jwk, jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bench.policies import CLOSED_PATH, FAST, HIDDEN
from bench.tokens import ALGORITHM, AUDIENCE, ISSUER
from bench.upstream import OPEN, PACED, VECTORS

_MAX_CACHED: Final = 10_000
_HIDDEN: Final = HIDDEN.encode()


class _Refused(Exception):
    """Raised for a request that is answered with 401."""


class _Tokens:
    """Checks tokens."""

    def __init__(self, jwks: bytes, *, remember: bool) -> None:
        self._remember = remember
        self._key = jwk.construct(loads(jwks)["keys"][0], ALGORITHM)
        self._verified: OrderedDict[bytes, dict[str, Any]] = OrderedDict()

    def claims(self, request: Request) -> dict[str, Any]:
        """Return the claims of the request's token."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise _Refused
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None and time.time() < known["exp"]:
            self._verified.move_to_end(digest)
            return known
        try:
            claims: dict[str, Any] = jwt.decode(token, self._key, ALGORITHM, audience=AUDIENCE, issuer=ISSUER)
        except JWTError:
            raise _Refused from None
        if self._remember:
            self._verified[digest] = claims
        if len(self._verified) > _MAX_CACHED:
            self._verified.popitem(last=False)
        return claims


class _Bare:
    """The handlers."""

    session: aiohttp.ClientSession

    def __init__(self, tokens: _Tokens, upstream: str) -> None:
        self._tokens = tokens
        self._upstream = upstream

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, auto_decompress=False) as self.session:
            yield

    async def health(self, request: Request) -> Response:
        self._tokens.claims(request)
        return JSONResponse({"status": "OK"})

    async def models(self, request: Request) -> Response:
        self._tokens.claims(request)
        return JSONResponse({"object": "list", "data": _MODELS})

    async def closed(self, request: Request) -> Response:
        self._tokens.claims(request)
        return JSONResponse(_error("forbidden"), 403)

    async def anything(self, request: Request) -> Response:
        """Answer any other request shortly, once its body has been read."""
        self._tokens.claims(request)
        async for _ in request.stream():
            pass
        return JSONResponse({"object": "bare", "data": [], "has_more": False})

    async def relayed(self, request: Request) -> Response:
        """Pass a request to a model on to the upstream."""
        self._tokens.claims(request)
        body = await request.body()
        if _HIDDEN in body:
            return JSONResponse(_error("not found"), 404)
        headers = {"content-type": "application/json"}
        answer = await self.session.post(self._upstream + request.scope["path"], data=body, headers=headers)
        if answer.content_type == "text/event-stream":
            return _Relayed(answer)
        return Response(await answer.read(), media_type="application/json")


class _Relayed(StreamingResponse):
    """A stream of the upstream, whose connection is closed when the client leaves: left open, it would keep the
    upstream at work while other servers are measured.
    """

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        super().__init__(answer.content.iter_any(), media_type="text/event-stream")
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.close()


async def _refuse(request: Request, error: Exception) -> Response:
    return JSONResponse(_error("unauthorized"), 401, {"WWW-Authenticate": "Bearer"})


def _error(code: str) -> dict[str, Any]:
    return {"error": {"message": code, "type": "invalid_request_error", "param": None, "code": code}}


_MODELS: Final = [
    {
        "id": f"bench/{name}",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "bench",
        "custom_metadata": {"provider_id": "bench", "model_type": "llm"},
    }
    for name in (FAST, PACED, OPEN, VECTORS, "tiny")
]


def _app(bare: _Bare) -> Starlette:
    return Starlette(
        routes=[
            Route("/v1/chat/completions", bare.relayed, methods=["POST"]),
            Route("/v1/embeddings", bare.relayed, methods=["POST"]),
            Route("/v1/health", bare.health),
            Route("/v1/models", bare.models),
            Route(CLOSED_PATH, bare.closed),
            Route("/{path:path}", bare.anything, methods=["GET", "POST", "PUT", "DELETE"]),
        ],
        exception_handlers={_Refused: _refuse},
        lifespan=bare.lifespan,
    )


def main() -> None:
    """Serve until ended."""
    tokens = _Tokens(Path(sys.argv[1]).read_bytes(), remember=sys.argv[3:] == ["remember"])
    app = _app(_Bare(tokens, f"http://127.0.0.1:{sys.argv[2]}"))
    config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", access_log=False, log_level="warning")
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        sys.stdout.write(f"serves on 127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
