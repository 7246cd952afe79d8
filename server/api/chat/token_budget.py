"""The budget of tokens that a chat is paid from."""

from __future__ import annotations

from functools import partial

from server.api.chat.body import CHAT, ChatBody, ChatCost
from server.api.chat.cost import COSTED_CHAT
from server.authz.request_authorization import Gate
from server.inference.answers.metered import MeteredChat
from server.inference.provider import ChatModel
from server.json_input.body_parser import BodyParser


def parser_for(gate: Gate) -> BodyParser[ChatBody]:
    """Return the parser of chats; it estimates the cost only where tokens are counted."""
    return CHAT if gate.charge is None or not gate.charge.may_count_tokens else COSTED_CHAT


def cost_of(gate: Gate, body: ChatBody) -> ChatCost | None:
    """Return what a chat may cost; None unless this caller, who has entered, has tokens that are counted."""
    return None if gate.charge is None or not gate.charge.counts_tokens else body.cost


def metered(gate: Gate, model: ChatModel, cost: ChatCost | None) -> ChatModel:
    """Return the model, its answer paid for out of the budget of a caller who has one."""
    if cost is None or gate.charge is None:
        return model
    reserve = partial(gate.charge.reserve, cost.least, cost.most)
    return MeteredChat(model, reserve, hidden=cost.asking is not None)
