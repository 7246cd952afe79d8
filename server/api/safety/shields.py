"""The shields that a caller may use: those of the configuration, and those that were registered over HTTP."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from policy.vocabulary import Action, Origin, Resource
from server.api.models.asking import Asking
from server.api.models.catalogue import Catalogue
from server.api.safety.judging import CallersJudges
from server.authz.permit import AccessDenied
from server.authz.request_authorization import Gate
from server.safety.running import RunningShield, UsableShield
from server.safety.shield import Judges
from server.storage.records.guarded import GuardedStore, NotFound
from server.storage.records.record import Json, Page, Record

MOST_NAMED: Final = 20
"""Shields that a refusal names."""

MOST_MADE: Final = 256
"""Shields of callers that are kept ready for use."""

KIND: Final = "shield"


@dataclass(frozen=True, slots=True)
class ConfiguredShield:
    """A shield of the configuration: the provider's name for it, and the shield in use."""

    resource_id: str
    running: RunningShield


MakeShield = Callable[[str, str | None, str, Json], RunningShield]
"""Returns a registered shield for use, by its id, its `provider_id`, the provider's name for it and its params; raises
BadParams.
"""


class Shields:
    """Gives each caller the shields that it may read; rules about a name of the configuration are about its shield."""

    def __init__(
        self,
        configured: Mapping[str, ConfiguredShield],
        default: str | None,
        store: GuardedStore,
        make: MakeShield,
        asking: Asking,
        catalogue: Catalogue,
    ) -> None:
        self._configured = configured
        self._default = default if default in configured else None
        self._store = store
        self._make = make
        self._asking = asking
        self._catalogue = catalogue
        self._made: OrderedDict[tuple[str, int, int], RunningShield] = OrderedDict()

    @property
    def default(self) -> str | None:
        """The shield of moderations whose request names none."""
        return self._default

    @property
    def names(self) -> frozenset[str]:
        """The ids of those of the configuration."""
        return frozenset(self._configured)

    def configured(self, name: str) -> RunningShield | None:
        """Return a shield of the configuration, for the server's own work: no policy is asked."""
        found = self._configured.get(name)
        return None if found is None else found.running

    def judges(self, gate: Gate) -> Judges:
        """Return the models that judge for shields of the configuration."""
        return CallersJudges(self._asking, self._catalogue, gate, asks_caller=False)

    async def of(self, gate: Gate, name: str) -> UsableShield:
        """Return the shield of that name; raises NotFound for one that is missing or that the caller may not read, and
        BadParams for one that its provider can't have.
        """
        configured = self._configured.get(name)
        if configured is not None:
            try:
                await gate.permit(Action.READ, Resource(KIND, (name,), None, Origin.CONFIG))
            except AccessDenied:
                raise NotFound(name) from None
            return UsableShield(configured.running, self.judges(gate))
        record = await self._store.get(gate, name)
        judges = CallersJudges(self._asking, self._catalogue, gate, asks_caller=True)
        return UsableShield(self._running(record), judges)

    async def of_model(self, gate: Gate, name: str) -> UsableShield:
        """Return the shield that a request for moderations names: by its id, or by its model or guardrail if no other
        shield of the configuration has that one.
        """
        named = [identity for identity, shield in self._configured.items() if shield.resource_id == name]
        return await self.of(gate, named[0] if name not in self._configured and len(named) == 1 else name)

    async def readable(self, gate: Gate) -> list[str]:
        """Return the names of shields that the caller may read, as many as a refusal tells."""
        page = await self._store.page(gate, Page(MOST_NAMED, None, None, newest_first=False))
        return [record.id for record in page.records]

    def _running(self, record: Record) -> RunningShield:
        if record.origin is Origin.CONFIG:
            # Another server's configuration has it, or an earlier one.
            raise NotFound(record.id)
        key = (record.id, record.ordering, record.version)
        found = self._made.get(key)
        if found is None:
            body = record.body
            own, params = body["provider_resource_id"], body["described"]["params"]
            found = self._make(record.id, body["provider_id"], own or record.id, params or {})
            self._made[key] = found
            if len(self._made) > MOST_MADE:
                self._made.popitem(last=False)
        return found
