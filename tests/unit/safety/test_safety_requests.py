"""Requests that ask for shields where nothing would run them: they are refused, and never answered without."""

from __future__ import annotations

from typing import Any

import pytest

from server.api.models.asked_shields import check_unshielded
from server.inference.members import Found, MemberRules
from server.json_input.strict import InvalidJson


@pytest.mark.parametrize("name", ["guardrails", "Guardrails", "moderation", "MODERATION"])
@pytest.mark.parametrize("value", [True, False, [], ["guard"], {}, {"model": "guard"}, 0, ""])
def test_a_request_for_shields_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidJson) as refused:
        check_unshielded({"model": "m", name: value})
    assert (refused.value.param, refused.value.code) == (name, "unsupported_parameter")


def test_null_asks_for_no_shield() -> None:
    check_unshielded({"model": "m", "guardrails": None, "moderation": None})


def test_other_members_that_a_local_model_does_not_know_are_left_to_it() -> None:
    assert MemberRules(is_local=True).edits(Found(unknown=("x_new",)), lambda _, text: text, stored=False) == []
