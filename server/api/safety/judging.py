"""The models that judge for shields, asked on behalf of a caller.

Their tokens are counted as the caller's use of the model that judges, and charged to no budget.
"""

from __future__ import annotations

from json import dumps, loads
from typing import Any, Final

from server.api.models.asking import Asking
from server.api.models.catalogue import Catalogue, ProviderGone
from server.api.models.model import Model
from server.api.models.request_body import ModelBody
from server.api.models.routes import find_model
from server.authz.request_authorization import Gate
from server.http.errors import ApiError
from server.inference.provider import Task, Wanted
from server.safety.shield import ShieldFailed

MOST_ANSWER: Final = 256 * 1024
"""Bytes of an answer that can hold a verdict."""

_PROBABILITIES: Final = ("logprobs", "top_logprobs")


class CallersJudges:
    """Asks models for the caller behind `gate`.

    Of a shield of the configuration the caller is not asked whether it may read the model. Of one that a caller has
    registered it is (`asks_caller`): otherwise registering a shield would open every model.
    """

    def __init__(self, asking: Asking, catalogue: Catalogue, gate: Gate, *, asks_caller: bool) -> None:
        self._asking = asking
        self._catalogue = catalogue
        self._gate = gate
        self._asks_caller = asks_caller
        self._has_asked = False

    async def ask(self, model: str, task: Task, members: dict[str, Any]) -> Any:
        """Return the answer of a model to a body with these members, as JSON.

        Raises ShieldFailed, ProviderFailed and NoRoom, and the 404 of a model that the caller has to read and may not.
        """
        try:
            found = await self._found(model)
        except ApiError as refusal:
            if not self._has_asked:
                raise
            # The policy has changed since: an answer under way can't be refused any more.
            raise ShieldFailed(f"the model `{model}` may no longer be asked: {refusal.message}") from None
        self._has_asked = True
        try:
            refused = self._catalogue.provider(found).members.refused
        except ProviderGone:
            raise ShieldFailed(f"no provider runs the model `{model}` any more") from None
        asked = {name: value for name, value in members.items() if name not in _PROBABILITIES or name not in refused}
        raw, body = _body(found.name, asked)
        wanted = Wanted(1) if task is Task.TEXT else None
        try:
            prepared = await self._asking.prepare(
                self._gate, raw, body, found, task, lambda _body, _model: wanted, judges=True
            )
        except ApiError as refusal:
            raise ShieldFailed(f"the model `{model}` can't be asked: {refusal.message}") from None
        pieces = await prepared.answering.complete(prepared.request)
        if sum(map(len, pieces)) > MOST_ANSWER:
            raise ShieldFailed("the model that judges answered with far more than a verdict")
        try:
            return loads(b"".join(pieces))
        except (ValueError, RecursionError):
            raise ShieldFailed("the model that judges answered with something other than JSON") from None

    async def _found(self, name: str) -> Model:
        """Return the model that judges, which no other answers for."""
        if self._asks_caller:
            return (await find_model(self._catalogue, self._gate, name)).alone
        model = self._catalogue.configured_model(name)
        if model is None:
            raise ShieldFailed(f"the configuration has no model `{name}`")
        return model.alone


def _body(model: str, members: dict[str, Any]) -> tuple[bytes, ModelBody]:
    """Return the body of a request, and what reading it would return."""
    begin, name = '{"model":', dumps(model)
    rest = dumps(members, ensure_ascii=False).encode(errors="replace").decode()[1:]
    raw = f"{begin}{name},{rest}".encode()
    return raw, ModelBody(model, len(begin), len(begin) + len(name))
