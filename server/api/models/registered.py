"""Models that were registered over HTTP: records like others, but for their several names."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import Final

from server.api.models.model import Model
from server.api.models.pages import ModelPage, Part, StoredModel, cut
from server.api.models.reserved import ReservedNames
from server.authz.request_authorization import Gate
from server.storage.database.database import AlreadyThere
from server.storage.records.guarded import Creation, GuardedStore, NotFound
from server.storage.records.names import RecordNames, facet_of
from server.storage.records.record import Draft, Page, Record
from server.storage.records.table import RecordTable
from server.storage.records.usage import owner_key

_KIND: Final = "model"


class RegisteredModels:
    """The models in the table `models`; `names` belongs to it and holds every name of each, so that none has two
    meanings. A model that has one of the `reserved` names, since the configuration has changed, is not served.

    Besides what they name, methods raise what a GuardedStore raises.
    """

    def __init__(self, models: RecordTable, names: RecordTable, reserved: ReservedNames) -> None:
        self._models = models
        self._names = names
        self._reserved = reserved
        self._store = GuardedStore(models, _KIND, RecordNames(names.name, reserved.are_taken))

    async def get(self, gate: Gate, name: str) -> Model:
        """Return the model of that name, for callers who may read it; raises NotFound."""
        return StoredModel(await self._record(gate, name)).read()

    async def page(self, gate: Gate, part: Part) -> ModelPage:
        """Return the models of the part that the caller may read; raises NotFound for a cursor that is none of them."""
        await gate.enter()
        if await self._models.is_empty():
            # Nothing is left to ask about: most servers have no such model, and every page load lists the models.
            for cursor in filter(None, (part.after, part.before)):
                raise NotFound(cursor)
            return ModelPage([], has_more=False)
        after = None if part.after is None else await self._record(gate, part.after)
        before = None if part.before is None else await self._record(gate, part.before)
        if after is None and part.from_end is (before is None):
            return await self._page_to_an_end(gate, part, before)
        listed = await self._store.page(gate, Page(part.limit, after, before, part.newest_first))
        return ModelPage([*map(StoredModel, listed.records)], listed.has_more)

    async def _page_to_an_end(self, gate: Gate, part: Part, before: Record | None) -> ModelPage:
        """Return the last models of all, or with `before` the first ones in front of it: the store knows neither."""
        newest_first = part.newest_first is not part.from_end
        listed = await self._store.page(gate, Page(part.limit + 1, None, None, newest_first))
        records = [*takewhile(lambda record: before is None or record.id != before.id, listed.records)]
        ends_early = listed.has_more and len(records) == len(listed.records)
        if part.from_end:
            records.reverse()
        page = cut([*map(StoredModel, records)], part.limit, from_end=part.from_end)
        return replace(page, has_more=page.has_more or ends_early)

    async def permit_create(self, gate: Gate, model: Model) -> Creation:
        """Return a permit to register the model; raises AccessDenied."""
        return await self._store.permit_create(gate, *model.names)

    async def create(self, permit: Creation, model: Model) -> Model:
        """Return the registered model, owned as the decision says; raises AlreadyThere if it may not have one of its
        names.
        """
        if self._reserved.are_taken(model.names):
            raise AlreadyThere
        body = {"model_id": model.model_id, "model_type": model.kind, "metadata": dict(model.metadata)}
        if model.names_others:
            body |= {"fallback": [*model.fallback], "weights": dict(model.weights)}
        if model.aliases:
            body["aliases"] = [*model.aliases]
        payer = owner_key(permit.owner)
        named = [Draft(name, {}, parent=model.name, facet=payer).owned_by(None) for name in model.names]
        draft = Draft(model.name, body, facet=facet_of(model.names))
        made = await self._store.create(permit, draft, [*map(self._names.inserting, named)])
        return StoredModel(made).read()

    async def delete(self, gate: Gate, name: str) -> Model:
        """Delete a model and return it with its names; raises NotFound, and AccessDenied where it may be read."""
        return StoredModel(await self._store.delete(gate, await self._canonical(name))).read()

    async def look_for(self, name: str) -> None:
        """Do what `get` does before it asks the policy, and forget what was found."""
        await self._models.find(await self._canonical(name))

    async def _record(self, gate: Gate, name: str) -> Record:
        try:
            return await self._store.get(gate, await self._canonical(name))
        except NotFound:
            # By the name that was asked for: the caller may not learn another of its names.
            raise NotFound(name) from None

    async def _canonical(self, name: str) -> str:
        found = await self._names.find(name)
        return name if found is None or found.parent is None else found.parent
