"""A request for which several models are asked is one request."""

from __future__ import annotations

import pytest

from policy.vocabulary import Principal
from server.inference.answers.metered import Ending
from server.inference.provider import Tokens
from server.storage.usage.once import OnceCounted
from server.storage.usage.tally import UsageTally, UsedModel

FIRST, SECOND = UsedModel("p/a", "p", is_configured=True), UsedModel("q/b", "q", is_configured=True)


@pytest.mark.parametrize(
    ("endings", "answered", "counts"),
    [
        ([(FIRST, Ending.ANSWERED, 5)], True, {"p/a": (1, 0, 5)}),
        ([(FIRST, Ending.FAILED, 5)], False, {"p/a": (1, 1, 5)}),
        ([(FIRST, Ending.FAILED, 0), (SECOND, Ending.ANSWERED, 7)], True, {"q/b": (1, 0, 7)}),
        ([(FIRST, Ending.FAILED, 3), (SECOND, Ending.ANSWERED, 7)], True, {"p/a": (0, 0, 3), "q/b": (1, 0, 7)}),
        ([(FIRST, Ending.FAILED, 3), (SECOND, Ending.FAILED, 7)], False, {"p/a": (0, 0, 3), "q/b": (1, 1, 7)}),
        ([(FIRST, Ending.FAILED, 3), (SECOND, Ending.CANCELLED, 7)], False, {"p/a": (0, 0, 3), "q/b": (1, 0, 7)}),
        # A stream that was accepted ends later.
        ([(FIRST, Ending.FAILED, 3), None, (SECOND, Ending.FAILED, 7)], True, {"p/a": (0, 0, 3), "q/b": (1, 1, 7)}),
        ([None, (FIRST, Ending.FAILED, 7)], True, {"p/a": (1, 1, 7)}),
    ],
)
def test_the_model_that_ends_it_has_the_request_and_others_what_they_have_cost(
    endings: list[tuple[UsedModel, Ending, int] | None], answered: bool, counts: dict[str, tuple[int, int, int]]
) -> None:
    tally = UsageTally()
    once = OnceCounted(lambda *told: tally.count(Principal("alice"), *told))
    for ended in endings:
        if ended is None:
            once.end(answered=answered)
        else:
            model, ending, used = ended
            once.of(model)(ending, used, Tokens(used) if used else None)
    once.end(answered=answered)
    [account] = tally.take()
    found = {key.model: (spent.requests, spent.failed, spent.total_tokens) for key, spent in account.counts.items()}
    assert found == counts
