"""`/v1/shields`: the shields of the configuration, and those that callers register."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import Final

from policy.vocabulary import Action
from server.api.registry.body import NewEntry
from server.api.registry.routes import KINDS, RegistryRoutes
from server.api.safety.shields import KIND, MakeShield
from server.authz.request_authorization import Gate
from server.config.shield_params import BadParams
from server.http.errors import ApiError, invalid
from server.json_input.reader import Reader
from server.storage.records.guarded import GuardedStore
from server.storage.records.record import Json, Record

ROW: Final = next(kind for kind in KINDS if kind.type == KIND)


class ShieldRegistry(RegistryRoutes):
    """Registers shields. One of a provider of the configuration has params that this provider can use; one of another
    is kept, and can't be used.
    """

    def __init__(
        self,
        store: GuardedStore,
        configured: Collection[str],
        providers: Collection[str],
        make: MakeShield,
        reader: Reader,
    ) -> None:
        super().__init__(ROW, store, reader)
        self._configured = configured
        self._providers = providers
        self._make = make

    def _body(self, new: NewEntry) -> Json:
        provider = new.provider_id or (next(iter(self._providers)) if len(self._providers) == 1 else None)
        if provider in self._providers:
            name = new.name or ""
            try:
                self._make(name, provider, new.provider_resource_id or name, new.described["params"] or {})
            except BadParams as wrong:
                raise invalid(str(wrong), f"params.{wrong.key}", "invalid_value") from None
        return {**super()._body(new), "provider_id": provider}

    async def _removed(self, gate: Gate, name: str) -> Record:
        if name not in self._configured:
            return await super()._removed(gate, name)
        await self._store.permit_unseen(gate, name, Action.DELETE)
        sentence = f"the shield `{name}` is defined by the configuration; remove it there"
        headers = {"x-should-retry": "false"}
        raise ApiError(HTTPStatus.CONFLICT, sentence, code="defined_by_configuration", headers=headers)
