"""OPA's other interface: not what it decides, but how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from server.authz.transport import TcpAddress, UnixAddress

if TYPE_CHECKING:
    from opa_client.opa_async import AsyncOpaClient  # type: ignore[import-untyped] # it ships no types

_SECONDS: Final = 0.25


class ControlPlane:
    """`opa-python-client` over a Unix socket or TCP; belongs to the event loop that first uses it."""

    def __init__(self, address: UnixAddress | TcpAddress) -> None:
        self._address = address
        self._client: AsyncOpaClient | None = None

    async def healthy(self) -> bool:
        """Whether OPA calls itself healthy, which says nothing about its policy; False if it can't be asked."""
        if self._client is None:
            self._client = await _connect(self._address)
        return bool(await self._client.check_health())

    async def close(self) -> None:
        """Close its connections; idempotent."""
        if self._client is not None:
            await self._client.close_connection()
            self._client = None


async def _connect(address: UnixAddress | TcpAddress) -> AsyncOpaClient:
    # Imported here: it takes 0.2 s, in which the OPA that was just started gets ready.
    from aiohttp import ClientSession, ClientTimeout, UnixConnector
    from opa_client.opa_async import AsyncOpaClient

    if isinstance(address, TcpAddress):
        client = AsyncOpaClient(host=address.host, port=address.port, token=address.token, retries=0, timeout=_SECONDS)
        await client.__aenter__()
        return client
    client = AsyncOpaClient(retries=0, timeout=_SECONDS)
    # It knows no Unix sockets and takes no session, so it is given one in the place of its own. A new connection each
    # time: a kept-alive one would report a restarted OPA as ill.
    connector = UnixConnector(str(address.path), force_close=True)
    client._session = ClientSession(connector=connector, timeout=ClientTimeout(total=_SECONDS))
    return client
