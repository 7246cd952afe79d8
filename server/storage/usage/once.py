"""One count for a request for which several models are asked, one after another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from server.inference.answers.metered import Count, Ending
from server.inference.provider import Tokens
from server.storage.usage.tally import UsedModel


class OnceCounted:
    """Counts a request for the model that ends it; what others have cost before counts for them, without a request.

    Until `end` is called, a model that fails may be replaced by another.
    """

    def __init__(self, count: Callable[[UsedModel, Ending, int, Tokens | None], None]) -> None:
        self._count = count
        self._failed: list[tuple[UsedModel, int, Tokens | None]] = []
        self._is_over = False

    def of(self, model: UsedModel) -> Count:
        """Return what counts the end of an attempt with that model."""
        return partial(self._ended, model)

    def end(self, *, answered: bool) -> None:
        """Note that no further model is asked; unless one has `answered`, the request has failed with the last one."""
        failed, self._failed, self._is_over = self._failed, [], True
        for place, (model, used, tokens) in enumerate(failed, 1):
            is_last = place == len(failed) and not answered
            self._count(model, Ending.FAILED if is_last else Ending.REPLACED, used, tokens)

    def _ended(self, model: UsedModel, ending: Ending, used: int, tokens: Tokens | None) -> None:
        if ending is Ending.FAILED and not self._is_over:
            self._failed.append((model, used, tokens))
            return
        self.end(answered=True)
        self._count(model, ending, used, tokens)
