"""The models that are served: those of the configuration, and those that were registered over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from policy.vocabulary import Action, Origin, Resource
from server.api.models.model import Model
from server.api.models.pages import ModelPage, Part, cut, joined
from server.api.models.registered import RegisteredModels
from server.authz.permit import AccessDenied
from server.authz.request_authorization import Gate
from server.inference.provider import Provider
from server.storage.records.guarded import NotFound


class DefinedByConfiguration(Exception):
    """The policy would allow the change; it is to be made in the configuration."""


class ProviderGone(Exception):
    """The model was registered when its provider was configured and allowed it, which isn't so any more."""


class Catalogue:
    """Gives each caller the models that it may read; what is not registered is not served.

    A bare `model_id` that two providers of the configuration share finds neither of them: nothing is guessed. Besides
    what its methods name, they raise what the gate raises about the route, PolicyUnavailable and DatabaseUnavailable.
    """

    def __init__(
        self, models: Iterable[Model], providers: Mapping[str, Provider], registered: RegisteredModels
    ) -> None:
        self._configured = {model.name: model for model in models}
        self._resources = {
            model.name: Resource("model", model.names, None, Origin.CONFIG) for model in self._configured.values()
        }
        uses = Counter(name for model in self._configured.values() for name in model.names)
        self._by_name = {name: model for model in self._configured.values() for name in model.names if uses[name] == 1}
        self._providers = providers
        self._registered = registered

    @property
    def configured(self) -> Sequence[Model]:
        """The models of the configuration, in its order."""
        return tuple(self._configured.values())

    def configured_model(self, name: str) -> Model | None:
        """Return the model of the configuration with that name, for the server's own work: no policy is asked."""
        return self._by_name.get(name)

    def resource_of(self, name: str) -> Resource:
        """Return what the policy is asked about for this canonical name, which may be that of no model here."""
        return self._resources.get(name) or Resource("model", (name,), None, Origin.CREATED)

    async def get(self, gate: Gate, name: str) -> Model:
        """Return the model of that name, which may be any of its names; raise NotFound if there is none that the caller
        may read.
        """
        model = self._by_name.get(name)
        if model is None:
            return await self._registered.get(gate, name)
        try:
            permit = await gate.permit(Action.READ, self._resources[model.name])
        except Exception as refusal:
            await self._registered.look_for(name)  # as an unknown one is, so that the time does not tell them apart
            if isinstance(refusal, AccessDenied):
                raise NotFound(name) from None
            raise
        return self._configured[permit.resource.names[0]]

    async def stored_name(self, gate: Gate, name: str) -> str:
        """Return the name under which answers of that model are stored; the model may be gone, and its answers still
        there.
        """
        try:
            return (await self.get(gate, name)).name
        except NotFound:
            return name

    async def page(self, gate: Gate, part: Part) -> ModelPage:
        """Return the models of the part that the caller may read: the configuration's in its order, then the
        registered ones by age, or all of them the other way round. Raises NotFound for a cursor that is none of them.
        """
        permits = await gate.listed("model", tuple(self._resources.values()))
        own = [self._configured[permit.resource.names[0]] for permit in permits]
        if part.newest_first:
            own.reverse()
        after, before = self._place(own, part.after), self._place(own, part.before)
        # A cursor that is none of ours may be a registered model, and those stand on one side of all of ours.
        theirs = replace(
            part, after=part.after if after is None else None, before=part.before if before is None else None
        )
        own = own[0 if after is None else after + 1 : before]
        if (theirs.before if part.newest_first else theirs.after) is not None:
            own = []
        past_theirs = (after if part.newest_first else before) is not None

        async def ours(limit: int) -> ModelPage:
            page = cut(own, limit, from_end=part.from_end)
            if page.has_more:
                await self._check_cursors(gate, theirs)
            return page

        async def registered(limit: int) -> ModelPage:
            if past_theirs:
                await self._check_cursors(gate, theirs)
                return ModelPage((), has_more=False)
            return await self._registered.page(gate, replace(theirs, limit=limit))

        blocks = (registered, ours) if part.newest_first is not part.from_end else (ours, registered)
        return await joined(*blocks, part.limit, from_end=part.from_end)

    def _place(self, own: Sequence[Model], cursor: str | None) -> int | None:
        """Return the index in `own` of the model that a cursor names; None if it is none of them."""
        model = None if cursor is None else self._by_name.get(cursor)
        return own.index(model) if model in own else None

    async def _check_cursors(self, gate: Gate, part: Part) -> None:
        """Raise NotFound for a cursor that is no registered model that the caller may read."""
        for cursor in (part.after, part.before):
            if cursor is not None:
                await self._registered.get(gate, cursor)

    async def delete(self, gate: Gate, name: str) -> Model:
        """Remove the model, and return it.

        Raises NotFound, AccessDenied where the caller may read it, and DefinedByConfiguration.
        """
        model = self._by_name.get(name)
        if model is None:
            return await self._registered.delete(gate, name)
        resource = self._resources[model.name]
        try:
            await gate.permit(Action.DELETE, resource)
        except Exception as refusal:
            await self._registered.look_for(name)  # as an unknown one is, so that the time does not tell them apart
            if isinstance(refusal, AccessDenied) and not await gate.readable([resource]):
                raise NotFound(name) from None
            raise
        raise DefinedByConfiguration

    def provider(self, model: Model) -> Provider:
        """Return the provider that runs the model; raises ProviderGone."""
        provider = self._providers.get(model.provider_id)
        if provider is None or not provider.allows(model.provider_model_id):
            raise ProviderGone
        return provider
