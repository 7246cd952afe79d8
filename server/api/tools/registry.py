"""`/v1/toolgroups`: groups of tools, those of the configuration and those that callers register."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Final

from policy.vocabulary import Action
from server.api.registry.body import NewEntry
from server.api.registry.routes import KINDS, RegistryRoutes
from server.authz.request_authorization import Gate
from server.http.errors import ApiError, invalid
from server.json_input.reader import Reader
from server.net.outbound import Reach, Unreachable
from server.storage.records.guarded import GuardedStore
from server.storage.records.record import Json, Record

GROUP: Final = "tool_group"

KIND: Final = next(kind for kind in KINDS if kind.type == GROUP)


class ToolGroups(RegistryRoutes):
    """Registers groups; those that are `configured` go when the configuration has them no more.

    `servers` has the providers of servers of tools, each with the hosts that it reaches. A group of another provider is
    kept, and none of its tools can be called.
    """

    def __init__(
        self, store: GuardedStore, configured: Collection[str], servers: Mapping[str, Reach], reader: Reader
    ) -> None:
        super().__init__(KIND, store, reader)
        self._groups = store
        self._configured = configured
        self._servers = servers

    def _body(self, new: NewEntry) -> Json:
        reach, endpoint = self._servers.get(new.provider_id or ""), new.described["mcp_endpoint"]
        if reach is not None and endpoint is None:
            raise invalid("a group of a server of tools needs `mcp_endpoint`", "mcp_endpoint", "invalid_value")
        if reach is not None:
            try:
                reach.checked(endpoint["uri"])
            except Unreachable as fault:
                sentence = f"`mcp_endpoint.uri` can't be used: {fault}"
                raise invalid(sentence, "mcp_endpoint.uri", "invalid_value") from None
        return super()._body(new)

    async def _removed(self, gate: Gate, name: str) -> Record:
        if name in self._configured:
            await self._groups.permit_unseen(gate, name, Action.DELETE)
            sentence = f"the tool group `{name}` is defined by the configuration; remove it there"
            headers = {"x-should-retry": "false"}
            raise ApiError(HTTPStatus.CONFLICT, sentence, code="defined_by_configuration", headers=headers)
        return await self._groups.delete(gate, name)
