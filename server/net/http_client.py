"""The HTTP client for identity services: one request, one small answer, bounded in size and time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from server.net.log_filter import quieten_clients

MAX_BYTES: Final = 256 * 1024
TIMEOUT_SECONDS: Final = 5.0
MAX_CONNECTIONS: Final = 64


class ServiceFailed(Exception):
    """Raised if there is no complete answer; the message is for the operator's log and holds no secret."""


@dataclass(frozen=True, slots=True)
class ServiceReply:
    """An answer with any status; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class ServiceClient:
    """The connections to one service, kept alive, under the one TLS context given.

    It follows no redirects, keeps no cookies, and takes neither proxies nor passwords from the environment. Belongs to
    the event loop that first uses it.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        quieten_clients()
        self._client = httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - `send` limits the whole exchange
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
        )

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> ServiceReply:
        """Return the answer: at most 256 KB, within 5 seconds; raise only `ServiceFailed`."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._send(method, url, headers, content)
        except ServiceFailed:
            raise
        except TimeoutError:
            reason = f"no whole answer came within {TIMEOUT_SECONDS} seconds"
        except httpx.ConnectError as error:
            reason = f"the connection failed: {error}"
        except Exception as error:  # noqa: BLE001 - a broken peer shows itself in many kinds; their texts may quote headers
            reason = f"the exchange broke off ({type(error).__name__})"
        raise ServiceFailed(reason)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> ServiceReply:
        plain = {"accept": "application/json", **headers, "accept-encoding": "identity", "user-agent": "ostiary"}
        async with self._client.stream(method, url, headers=plain, content=content) as answer:
            self._client.cookies.clear()
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise ServiceFailed("the answer was compressed, though that wasn't asked for")
            received = bytearray()
            async for chunk in answer.aiter_raw():
                received += chunk
                if len(received) > MAX_BYTES:
                    raise ServiceFailed(f"the answer had more than {MAX_BYTES} bytes")
            return ServiceReply(answer.status_code, answer.headers, bytes(received))
