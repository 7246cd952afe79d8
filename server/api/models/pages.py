"""Pages of models, of which the configuration defines some and the registry keeps the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from json import loads
from typing import TypeAlias

from server.api.models.model import Model
from server.storage.records.record import Record


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a list is wanted: at most `limit` models, between those called `after` and `before`.

    The list goes from the oldest model to the newest, and the other way round with `newest_first`. `from_end` says that
    of more than `limit` models the last ones are wanted, as it is where `before` stands alone.
    """

    limit: int
    after: str | None = None
    before: str | None = None
    newest_first: bool = False
    from_end: bool = False


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A registered model as it is stored. What its maker says of it may be thousands of values, so that a page keeps
    the text, and makes one model after the other of it.
    """

    record: Record

    @property
    def name(self) -> str:
        """The canonical name."""
        return self.record.id

    @property
    def created(self) -> int:
        """The time of its creation, in seconds since 1970."""
        return self.record.created_at

    def read(self) -> Model:
        """Return the model; nothing is kept of it here."""
        provider_id, _, own = self.record.id.partition("/")
        body = loads(self.record.body.text)
        return Model(
            body["model_id"],
            provider_id,
            own,
            body["model_type"],
            body["metadata"],
            self.record.created_at,
            tuple(body.get("fallback", ())),
            body.get("weights", {}),
            tuple(body.get("aliases", ())),
        )


AnyModel: TypeAlias = Model | StoredModel
"""A model of the configuration, or a registered one."""


@dataclass(frozen=True, slots=True)
class ModelPage:
    """A page of models: as many as were wanted, as fit on a page, or all that there are; `has_more` is exact."""

    models: Sequence[AnyModel]
    has_more: bool


Take: TypeAlias = Callable[[int], Awaitable[ModelPage]]
"""Gives up to so many models, at least one, from one end of a list."""


def cut(models: Sequence[AnyModel], limit: int, *, from_end: bool) -> ModelPage:
    """Return the first `limit` of these models, or the last ones."""
    kept = models[max(0, len(models) - limit) :] if from_end else models[:limit]
    return ModelPage(kept, len(models) > limit)


async def joined(nearer: Take, farther: Take, limit: int, *, from_end: bool) -> ModelPage:
    """Return a page out of two lists that follow each other; it is filled from the `nearer` one first."""
    near = await nearer(limit)
    if near.has_more:
        return near
    room = limit - len(near.models)
    far = await farther(max(room, 1))
    page = cut(far.models, room, from_end=from_end)
    models = [*page.models, *near.models] if from_end else [*near.models, *page.models]
    return ModelPage(models, far.has_more or page.has_more)
