"""OPA's control plane: its health and its version."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from server.authz.opa.command import OLDEST, Version
from server.authz.opa.transport import TcpAddress, UnixAddress

if TYPE_CHECKING:
    from opa_client.opa_async import AsyncOpaClient  # type: ignore[import-untyped] # it ships no types

_SECONDS: Final = 0.25
_INFO: Final = re.compile(r'^opa_info\{[^}]*version="(\d{1,6})\.(\d{1,6})\.(\d{1,6})', re.MULTILINE)


class ControlPlane:
    """`opa-python-client` over a Unix socket or TCP; belongs to the event loop that first uses it."""

    def __init__(self, address: UnixAddress | TcpAddress) -> None:
        self._address = address
        self._client: AsyncOpaClient | None = None

    async def healthy(self) -> bool:
        """True if OPA calls itself healthy, which says nothing about its policy; False if it can't be asked."""
        if self._client is None:
            self._client = await _connect(self._address)
        return bool(await self._client.check_health())

    async def too_old(self) -> Version | None:
        """Return the version of an OPA that runs beside the server, if older than `OLDEST`; None if it isn't or doesn't
        tell.

        It tells if it runs with `status.prometheus`. The one that the server starts is checked before that.
        """
        if isinstance(self._address, UnixAddress):
            return None
        if self._client is None:
            self._client = await _connect(self._address)
        try:
            found = _INFO.search(await self._client.get_metrics())
        except Exception:  # noqa: BLE001 - an OPA that can't be asked is `healthy`'s business
            return None
        version = None if found is None else (int(found[1]), int(found[2]), int(found[3]))
        return version if version is not None and version < OLDEST else None

    async def close(self) -> None:
        """Close its connections; idempotent."""
        if self._client is not None:
            await self._client.close_connection()
            self._client = None


async def _connect(address: UnixAddress | TcpAddress) -> AsyncOpaClient:
    # Imported here: it takes 0.2 s, in which the OPA that was just started gets ready.
    from aiohttp import ClientSession, ClientTimeout, TCPConnector, UnixConnector
    from opa_client.opa_async import AsyncOpaClient

    # It knows no Unix sockets and takes no session, so it is given one in the place of its own. A new connection each
    # time: a kept-alive one would report a restarted OPA as ill.
    timeout = ClientTimeout(total=_SECONDS)
    if isinstance(address, TcpAddress):
        client = AsyncOpaClient(host=address.authority_host, port=address.port, token=address.token, retries=0)
        connector = TCPConnector(force_close=True)
        client._session = ClientSession(headers=client.headers, connector=connector, timeout=timeout)
        return client
    client = AsyncOpaClient(retries=0)
    client._session = ClientSession(connector=UnixConnector(str(address.path), force_close=True), timeout=timeout)
    return client
