"""Requests that ask for shields where nothing would run them: they are refused, and never answered without."""

from __future__ import annotations

import pytest

from server.inference.members import Found, MemberRules
from server.json_input.strict import InvalidJson


@pytest.mark.parametrize("is_local", [True, False])
def test_a_request_for_guardrails_is_refused(is_local: bool) -> None:
    with pytest.raises(InvalidJson) as refused:
        MemberRules(is_local=is_local).edits(Found(unknown=("guardrails",)), lambda _, text: text, stored=False)
    assert refused.value.param == "guardrails"


def test_other_members_that_a_local_model_does_not_know_are_left_to_it() -> None:
    assert MemberRules(is_local=True).edits(Found(unknown=("x_new",)), lambda _, text: text, stored=False) == []
