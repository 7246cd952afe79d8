"""The caller's budget of tokens, as the handlers of chats see it."""

from __future__ import annotations

from functools import partial

from server.api.chat.body import look_at_chat
from server.api.chat.token_budget import ChatCost, look_at_costly_chat
from server.http.route_guard import Gate
from server.inference.answers.metered import MeteredProvider
from server.inference.provider import Provider
from server.json_input.reader import Look
from server.json_input.strict import Json


def look_for(gate: Gate) -> Look:
    """How a chat is looked at: what it may cost matters only where tokens are counted."""
    return look_at_chat if gate.toll is None or not gate.toll.may_count_tokens else look_at_costly_chat


def cost_of(gate: Gate, told: Json | None) -> ChatCost | None:
    """What a chat may cost; None unless this caller, who has entered, has tokens that are counted."""
    return None if told is None or gate.toll is None or not gate.toll.counts_tokens else ChatCost.told(told)


def metered(gate: Gate, provider: Provider, cost: ChatCost | None) -> Provider:
    """The provider, paid for out of the budget of a caller who has one."""
    if cost is None or gate.toll is None:
        return provider
    reserve = partial(gate.toll.reserve, cost.least, cost.most)
    return MeteredProvider(provider, reserve, hidden=cost.asking is not None)
