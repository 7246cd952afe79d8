"""The models that may answer in the place of one, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

from server.api.models.catalogue import Catalogue
from server.api.models.model import Model
from server.authz.request_authorization import Gate
from server.storage.records.guarded import NotFound

MOST_CANDIDATES: Final = 8
"""Models that are looked up for one request, besides the one that it names."""

Draw = Callable[[], float]
"""Returns a random number from 0 to less than 1."""


class Candidates:
    """The models that may answer a request for `model`: those of its `weights`, in a random order, then its `fallback`.

    A model that is named so brings those that it names. The policy is asked about each as itself, when its turn comes;
    one that the caller may not read is left out, and so is one that is gone. Each comes once.
    """

    def __init__(self, catalogue: Catalogue, gate: Gate, model: Model, draw: Draw) -> None:
        self._catalogue = catalogue
        self._gate = gate
        self._draw = draw
        self._left = MOST_CANDIDATES
        self._seen = {model.name}
        self._open: list[tuple[Model, Iterator[str]]] = [(model, iter(_order(model, draw)))]

    async def next(self) -> Model | None:
        """Return the next model that the caller may read; None where there is none left."""
        while self._open:
            model, names = self._open[-1]
            name = next(names, None)
            if name is None:
                self._open.pop()
            elif name == model.name:
                return model
            elif name not in self._seen and self._left > 0:
                self._left -= 1
                self._seen.add(name)
                found = await self._readable(name)
                if found is not None:
                    self._open.append((found, iter(_order(found, self._draw))))
        return None

    async def _readable(self, name: str) -> Model | None:
        """Return the model of this canonical name; None where the caller may not read it, or the name is another's."""
        try:
            found = await self._catalogue.get(self._gate, name)
        except NotFound:
            return None
        return found if found.name == name else None


def _order(model: Model, draw: Draw) -> list[str]:
    """Return the canonical names of a model and of those that it names, in the order in which they are asked.

    The weights say how often each comes first. What weighs nothing comes after what does, the model itself last unless
    it has a weight.
    """
    weights = {name: weight for name, weight in model.weights.items() if weight}
    names = list[str]()
    while weights:
        names.append(_drawn(weights, draw))
        del weights[names[-1]]
    names += [name for name, weight in model.weights.items() if not weight]
    if model.name not in names:
        names.append(model.name)
    return [*names, *model.fallback]


def _drawn(weights: dict[str, int], draw: Draw) -> str:
    place = draw() * sum(weights.values())
    sums = zip(weights, accumulate(weights.values()), strict=True)
    return next(name for name, reached in sums if place < reached)
