"""The way of a request to a model: its body, the policy's permit, the provider's rules, the budget, and the answer."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Anonymous, Principal
from server.api.models.asked import NOTHING_ATTACHED, Asked, Attach, Attached, Body, GuardOf, Parsers, nothing_attached
from server.api.models.candidates import Candidates, Draw
from server.api.models.catalogue import Catalogue, ProviderGone
from server.api.models.chosen import Attempt, ChosenChat
from server.api.models.model import Model
from server.api.models.request_body import ModelBody
from server.api.models.routes import find_model, provider_gone
from server.authn.stamps import Stamps
from server.authz.request_authorization import Gate
from server.fairness.caller import CURRENT, caller_of
from server.fairness.outgoing import hold_in_all
from server.fairness.places import leave_place
from server.http.disconnects import WhileConnected
from server.http.errors import ApiError, invalid, provider_error
from server.http.event_stream import Ending, EventStream
from server.http.json_body import read_body
from server.http.open_streams import OpenStreams
from server.http.request_state import gate_of
from server.http.responses import JsonInPieces
from server.inference.answers.metered import MeteredChat
from server.inference.members import Edit, MemberRules
from server.inference.provider import DONE, ChatModel, ChatRequest, Provider, ProviderFailed, Task, Wanted
from server.json_input.reader import Reader
from server.json_input.strict import InvalidJson
from server.quota.admission import Reservation
from server.safety.checks import Guard
from server.safety.shielded import ShieldedChat
from server.storage.usage.once import OnceCounted
from server.storage.usage.tally import UsageTally, UsedModel

_KINDS: Final = {Task.CHAT: "llm", Task.TEXT: "llm", Task.EMBEDDING: "embedding"}
_DOES: Final = {"llm": "it chats", "embedding": "it makes embeddings"}
_DOES_NOT: Final = {
    Task.CHAT: "does not chat",
    Task.TEXT: "does not complete texts",
    Task.EMBEDDING: "makes no embeddings",
}


class Asking:
    """Leads requests to the providers of their models, once the policy lets the caller read the model.

    Of the caller's own body nothing is kept but what the provider is sent.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        reader: Reader,
        streams: OpenStreams,
        stamps: Stamps,
        tally: UsageTally,
        draw: Draw = random.random,
    ) -> None:
        """`draw` chooses among models that have weights."""
        self._draw = draw
        self._catalogue = catalogue
        self._reader = reader
        self._streams = streams
        self._stamps = stamps
        self._tally = tally
        self._guard: GuardOf | None = None

    def shield(self, guard: GuardOf) -> None:
        """Let the texts of every request and answer go through the shields that `guard` returns for it."""
        self._guard = guard

    async def read(
        self,
        request: Request,
        parsers: Parsers[Body],
        task: Task,
        wanted: Callable[[Body, Model], Wanted | None] = lambda _body, _model: None,
        attach: Attach = nothing_attached,
    ) -> Asked[Body]:
        """Return what a request asks for; raises the ApiError for what it may not ask.

        `wanted` returns what the answer has to be for a body and a model, and raises an ApiError too. `attach` is asked
        once the model may be read.
        """
        gate = gate_of(request.scope)
        raw, body = await read_body(request, self._reader, parsers.of(gate))
        model = await find_model(self._catalogue, gate, body.model)
        return await self.of(request, raw, body, model, task, wanted, attach)

    async def model(self, gate: Gate, name: str) -> Model:
        """Return the model of that name; raises the 404 for one that the caller may not read."""
        return await find_model(self._catalogue, gate, name)

    async def of(
        self,
        request: Request,
        raw: bytes,
        body: Body,
        model: Model,
        task: Task,
        wanted: Callable[[Body, Model], Wanted | None] = lambda _body, _model: None,
        attach: Attach = nothing_attached,
    ) -> Asked[Body]:
        """Return what asks this model with a body that is read, as `read` does; `raw` are its bytes."""
        gate = gate_of(request.scope)
        attached = await attach(request, body.found) if body.found.files else NOTHING_ATTACHED
        return await self.prepare(gate, raw, body, model, task, wanted, attached)

    async def prepare(
        self,
        gate: Gate,
        raw: bytes,
        body: Body,
        model: Model,
        task: Task,
        wanted: Callable[[Body, Model], Wanted | None],
        attached: Attached = NOTHING_ATTACHED,
        *,
        judges: bool = False,
    ) -> Asked[Body]:
        """Return what asks `model`, which the caller may read, for what the body `raw` says.

        Raises the ApiError for what may not be asked of the model. One that `judges` for a shield goes through none.
        """
        once = OnceCounted(partial(self._tally.count, gate.principal))

        guard = None if judges else await self._guarded(gate, body)

        def attempt(model: Model) -> Attempt:
            made = self._attempt(gate, raw, body, model, task, wanted(body, model), attached, once)
            # Looked up when the request is sent: other candidates may require other shields.
            return made if guard is None else Attempt(model, ShieldedChat(made.chat, guard), made.request)

        try:
            if model.names_others:
                chosen = ChosenChat(Candidates(self._catalogue, gate, model, self._draw), attempt, once)
                return Asked(gate, body, model, chosen, await chosen.prepare(), chosen, attached.tokens, guard)
            only = attempt(model)
            once.end(answered=False)
        except ProviderGone:
            raise provider_gone(body.model) from None
        return Asked(gate, body, model, only.chat, only.request, attached_tokens=attached.tokens, guard=guard)

    async def _guarded(self, gate: Gate, body: ModelBody) -> Guard | None:
        """Return the shields of a request; raises the ApiError for one that it asks for and can't have."""
        if self._guard is not None:
            return await self._guard(gate, body.shields)
        if body.shields:
            raise invalid("this server has no shields", body.shields[0][0], "invalid_value")
        return None

    def thoughts(self, model: Model) -> str:
        """Return the member in which messages of this model have its reasoning; empty where it takes none back.

        A model that names others takes none, since their providers may refuse what its own takes.
        """
        if model.names_others:
            return ""
        try:
            return self._catalogue.provider(model).thoughts
        except ProviderGone:
            return ""

    async def count(self, asked: Asked[Body]) -> int:
        """Return the tokens of a prompt: as its provider counts them where it can, else the estimate of its body.

        Nothing is charged. Raises the ApiError of a counter that fails, and NoRoom.
        """
        model = asked.model if asked.chosen is None else asked.chosen.first
        try:
            counter = self._catalogue.provider(model).counter
        except ProviderGone:
            raise provider_gone(asked.body.model) from None
        if counter is not None:
            try:
                return await counter.count(asked.request)
            except ProviderFailed as failure:
                raise provider_error(failure) from None
        if asked.body.cost is None:
            raise RuntimeError("the body was read without an estimate")
        return asked.body.cost.least + asked.attached_tokens

    def _attempt(
        self,
        gate: Gate,
        raw: bytes,
        body: ModelBody,
        model: Model,
        task: Task,
        expected: Wanted | None,
        attached: Attached,
        once: OnceCounted,
    ) -> Attempt:
        """Return what asks one model; raises the ApiError for what may not be asked of it, and ProviderGone."""
        provider = self._catalogue.provider(model)
        _check_task(body.model, model, provider, task)
        edits = self._edits(body, provider.members, gate.principal)
        attached.check(provider.members)
        edits += attached.edits
        asking = () if body.asking is None or not provider.members.reports_usage else (body.asking,)
        sent = ChatRequest(
            model.name,
            body.naming(raw, model.provider_model_id, *edits, *asking),
            with_usage=body.asks_usage or bool(asking),
            unasked=partial(body.naming, raw, model.provider_model_id, *edits) if asking else None,
            request_id=gate.request_id,
            task=task,
            wanted=expected,
            attached=attached.files,
        )
        metered = MeteredChat(
            provider.chat,
            _reserving(gate, body, attached.tokens),
            once.of(_used(model)),
            hidden=body.asking is not None,
        )
        return Attempt(model, metered, sent)

    async def answer(
        self,
        request: Request,
        model: ChatModel,
        sent: ChatRequest,
        *,
        streamed: bool,
        ending: Ending | None = None,
        last: bytes = DONE,
    ) -> Response:
        """Return the answer of a model, whole or streamed.

        `ending` makes the last events of a stream that breaks off, and `last` is the last one of any other.
        """
        leave_place()  # a provider may take minutes
        if streamed:
            return EventStream(model, sent, self._streams, ending, last)
        try:
            async with WhileConnected(request.receive):
                pieces = await model.complete(sent)
                await hold_in_all(sum(map(len, pieces)))
                return JsonInPieces(pieces)
        except ProviderFailed as failure:
            raise provider_error(failure) from None

    def _edits(self, body: ModelBody, rules: MemberRules, principal: Principal | Anonymous) -> list[Edit]:
        """Return the changes for the provider; raises the 400 for a member that may not reach it."""
        # Callers without a token are told apart by their addresses.
        caller = caller_of(principal, str(CURRENT.get()))
        try:
            return body.edits(rules, self._stamps.by(caller))
        except InvalidJson as refusal:
            raise invalid(refusal.message, refusal.param, refusal.code) from None


def _check_task(name: str, model: Model, provider: Provider, task: Task) -> None:
    """Raise the 400 for a model that does something else, or whose provider doesn't do this."""
    if model.kind != _KINDS[task]:
        raise _unable(f"the model `{name}` {_DOES_NOT[task]}; {_DOES.get(model.kind, 'it does something else')}")
    if task not in provider.tasks:
        raise _unable(f"the provider `{model.provider_id}` of the model `{name}` {_DOES_NOT[task]}")


def _used(model: Model) -> UsedModel:
    """Return what counts are kept of; callers may register any number of models, so these share one metric."""
    return UsedModel(model.name, model.provider_id, is_configured=model.created is None)


def _unable(sentence: str) -> ApiError:
    return invalid(sentence, "model", "invalid_value")


def _reserving(gate: Gate, body: ModelBody, more: int) -> Callable[[], Awaitable[Reservation]] | None:
    """Return what sets tokens aside, `more` than the body says; None where no caller's tokens are limited.

    Whether this caller's are is looked at when its model is asked: in the background it may be another by then.
    """
    cost = body.cost
    if cost is None or gate.charge is None:
        return None
    return partial(gate.charge.reserve, cost.least + more, cost.most + more)
