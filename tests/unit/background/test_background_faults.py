"""Copies of exceptions that are kept and raised again."""

from __future__ import annotations

import pytest

from server.background.faults import copy_of
from server.fairness.shares import NoRoom
from server.inference.providers.llama_cpp.process import ModelAbsent
from server.mcp.faults import McpFailed, ProtocolFailed, SessionLost


@pytest.mark.parametrize(
    "fault",
    [
        McpFailed("the session is over"),
        SessionLost(404),
        ProtocolFailed(-32601, "no such method"),
        NoRoom("searches", of_caller=True),
        ModelAbsent("is loading its model", 2.0, loads=True),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_copy_says_the_same_and_has_no_traceback(fault: Exception) -> None:
    with pytest.raises(type(fault)):
        raise fault
    copy = copy_of(fault)
    assert fault.__traceback__ is not None
    assert copy.__traceback__ is None
    assert (type(copy), copy.args, str(copy), vars(copy)) == (type(fault), fault.args, str(fault), vars(fault))


def test_what_is_noted_on_a_copy_is_not_noted_on_the_others() -> None:
    kept = NoRoom("searches", of_caller=True)
    copy_of(kept).spent = True
    assert not kept.spent
