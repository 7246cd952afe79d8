"""The policy engine's answer, believed only if it is exactly what the contract says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from policy.shields import MOST_REQUIRED
from policy.vocabulary import (
    CONTRACT,
    Action,
    Anonymous,
    Decision,
    Obligation,
    Principal,
    Resource,
    Route,
    StampOwner,
    UseLimit,
    UseShields,
    Verdict,
)
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import Question
from server.json_input.strict import InvalidJson, StrictDecoder

Json = dict[str, Any]

_SHORT: Final = 2048
"""Bytes; hardly a decision takes more."""
_DECISION_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_FIRST, _NEXT, _LAST = b'{"result":[{"contract":', b'},{"contract":', b"}]}\n"
_DECISION_KEYS: Final = {"effect", "rule", "source", "description", "reason", "obligations"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One decision for each part of the question, both made by the policy `revision`.

    `decision_id` is the one in OPA's own decision log; None where that is off.
    """

    revision: str
    route: Decision | None
    resource: Decision | None
    decision_id: str | None = None

    @property
    def refuses_route(self) -> bool:
        """True if the route is refused, which ends the request whatever the decision about its resource."""
        return self.route is not None and self.route.verdict is not Verdict.PERMIT


@dataclass(frozen=True, slots=True)
class OpaReply:
    """The content of OPA's envelope."""

    result: Any
    decision_id: str | None


class Malformed(Exception):
    """The answer breaks the contract; the message says where, in words of the contract alone."""


def read_answer(body: bytes, question: Question) -> Answer:
    """Return the answer in `body`; nothing is defaulted, converted or overlooked. Raises PolicyUnavailable."""
    try:
        if len(body) <= _SHORT and question.action is not Action.CREATE:
            return _read_plain(body, question.route is not None, question.resource is not None)
        reply = read_reply(body)
        return _answer(reply.result, reply.decision_id, question)
    except Malformed as fault:
        raise PolicyUnavailable(Failure.MALFORMED, f"the answer breaks the contract: {fault}") from None


@lru_cache(maxsize=512)
def _read_plain(body: bytes, of_route: bool, of_resource: bool) -> Answer:
    """Return the answer to a question that makes no caller an owner: it depends on these three arguments alone.

    OPA is asked each time, but of the many answers that are equal to the byte only one has to be taken apart.
    """
    reply = read_reply(body)
    return _answer(reply.result, reply.decision_id, _PLAIN[of_route, of_resource])


def read_answers(body: bytes, questions: Sequence[Question]) -> list[Answer]:
    """Return the answers in `body` to questions that were asked together, one for each; raises PolicyUnavailable.

    OPA counts them as one decision, so they have one id.
    """
    try:
        pieces = apart(body, len(questions))
        if pieces is not None and not any(asked.action is Action.CREATE for asked in questions):
            return [
                _read_plain(piece, asked.route is not None, asked.resource is not None)
                for piece, asked in zip(pieces, questions, strict=True)
            ]
        reply = read_reply(body)
        results = _one_for_each(reply.result, questions)
        return [_answer(result, reply.decision_id, asked) for result, asked in zip(results, questions, strict=True)]
    except Malformed as fault:
        raise PolicyUnavailable(Failure.MALFORMED, f"the answers break the contract: {fault}") from None


def apart(body: bytes, count: int) -> list[bytes] | None:
    """Return the answers of `count` questions asked together, each as OPA would have sent it to one of them, or None.

    Only the places where one answer ends and the next begins are looked for. No text of an answer can look like one,
    since JSON has no bare quotation mark in a text; and what isn't one whole answer does not read as one later.
    """
    if not body.startswith(_FIRST) or not body.endswith(_LAST):
        return None
    parts = body[len(_FIRST) : -len(_LAST)].split(_NEXT)
    return [b'{"result":{"contract":%b}}' % part for part in parts] if len(parts) == count else None


def of_logging_opa(body: bytes) -> bool:
    """True if OPA's own decision log is on, which has an id for each exchange."""
    return body.startswith(b'{"decision_id":')


def read_undecided(body: bytes) -> str:
    """Return the revision in the answer to `question.MALFORMED`; raises PolicyUnavailable if it holds a decision."""
    try:
        return revision_of(exactly(read_reply(body).result, {"contract", "revision"}))
    except Malformed as fault:
        raise PolicyUnavailable(Failure.MALFORMED, f"the answer to a probe breaks the contract: {fault}") from None


def _one_for_each(results: Any, questions: Sequence[Question]) -> list[Any]:
    if type(results) is not list or len(results) != len(questions):
        raise Malformed("`result` is not a list with one answer for each question")
    return results


def _answer(result: Any, decision_id: str | None, question: Question) -> Answer:
    members = exactly(result, {"contract", "revision"} | _parts(question))
    revision = revision_of(members)
    route, resource = members.get("route"), members.get("resource")
    return Answer(
        revision,
        None if question.route is None else _decision(route, revision, None),
        None if question.resource is None else _decision(resource, revision, question),
        decision_id,
    )


def _parts(question: Question) -> set[str]:
    if question.route is None:
        return {"resource"}
    return {"route"} if question.resource is None else {"route", "resource"}


def read_reply(body: bytes) -> OpaReply:
    """Return OPA's envelope: a `result`, and a `decision_id` if its own decision log is on; raises Malformed."""
    try:
        document = _DECODER.decode(body)
    except InvalidJson:
        raise Malformed("it is not JSON") from None
    if type(document) is not dict or not document.keys() - {"decision_id"} == {"result"}:
        raise Malformed("it is not an object with a `result` and nothing else")
    decision_id = document.get("decision_id")
    if "decision_id" in document and (type(decision_id) is not str or not _DECISION_ID.fullmatch(decision_id)):
        raise Malformed("`decision_id` is not a short plain text")
    return OpaReply(document["result"], decision_id)


def exactly(result: Any, keys: set[str]) -> Json:
    """Return the members of a `result` that must hold exactly `keys`; raises Malformed."""
    if type(result) is not dict or result.keys() != keys:
        raise Malformed("`result` does not hold exactly what was asked for")
    return result


def revision_of(result: Json) -> str:
    """Return the revision of a `result` of our contract version; raises Malformed."""
    contract, revision = result["contract"], result["revision"]
    if type(contract) is not int or contract != CONTRACT:
        raise Malformed(f"`contract` is not {CONTRACT}")
    if type(revision) is not str or not revision:
        raise Malformed("`revision` is not a text")
    return revision


def _decision(part: Any, revision: str, question: Question | None) -> Decision:
    if type(part) is not dict or part.keys() != _DECISION_KEYS:
        raise Malformed("a decision does not hold exactly its six members")
    verdict = _VERDICTS.get(part["effect"]) if type(part["effect"]) is str else None
    if verdict is None:
        raise Malformed("`effect` is neither `permit` nor `deny`")
    rule, source, description, reason = part["rule"], part["source"], part["description"], part["reason"]
    if type(reason) is not str or not reason:
        raise Malformed("`reason` is not a text")
    if rule is None:
        if source is not None or description is not None:
            raise Malformed("`source` or `description` without a `rule`")
    elif type(rule) is not str or type(source) is not str or not (description is None or type(description) is str):
        raise Malformed("`rule`, `source` or `description` is not a text")
    duties = _obligations(part["obligations"], question, verdict)
    return Decision(verdict, rule, source, description, reason, revision, duties)


def _obligations(listed: Any, question: Question | None, verdict: Verdict) -> tuple[Obligation, ...]:
    """Return the obligations: a permit of a route may bring a limit and then shields, one to read may bring shields, a
    permitted create must bring its owner, and no other is valid.
    """
    if type(listed) is not list:
        raise Malformed("`obligations` is not a list")
    if verdict is Verdict.PERMIT and listed and (question is None or question.action is Action.READ):
        return _of_route(listed) if question is None else _shields(listed)
    duty = _duty(question) if verdict is Verdict.PERMIT else None
    _check_owner(listed, duty)
    return () if duty is None else (StampOwner(duty),)


def _of_route(listed: list[Any]) -> tuple[Obligation, ...]:
    last = listed[-1]
    if type(last) is not dict or last.get("id") != "use_shields":
        return (_limit(listed),)
    return _shields(listed) if len(listed) == 1 else (_limit(listed[:-1]), *_shields(listed[-1:]))


def _shields(listed: list[Any]) -> tuple[UseShields]:
    if len(listed) != 1 or type(listed[0]) is not dict or listed[0].keys() != {"id", "shields"}:
        raise Malformed("`obligations` is not to use shields")
    [only] = listed
    if only["id"] != "use_shields":
        raise Malformed("`obligations` is not to use shields")
    ids = only["shields"]
    if (
        type(ids) is not list
        or not 0 < len(ids) <= MOST_REQUIRED
        or not all(type(each) is str and each for each in ids)
    ):
        raise Malformed("`shields` is not a list of a few ids")
    if len({*ids}) < len(ids):
        raise Malformed("`shields` names one twice")
    return (UseShields(tuple(ids)),)


def _limit(listed: list[Any]) -> UseLimit:
    only = listed[0] if len(listed) == 1 else None
    if type(only) is not dict or only.keys() != {"id", "limit"} or only["id"] != "use_limit":
        raise Malformed("`obligations` of a route is not to keep one limit")
    if type(only["limit"]) is not int or only["limit"] < 0:
        raise Malformed("`limit` is not the place of a limit")
    return UseLimit(only["limit"])


def _duty(question: Question | None) -> Principal | None:
    """Return the owner that must be stamped if this question is permitted: the caller, on a create."""
    if question is None or question.action is not Action.CREATE or not isinstance(question.principal, Principal):
        return None
    return question.principal


def _check_owner(obligations: list[Any], owner: Principal | None) -> None:
    if owner is None:
        if obligations:
            raise Malformed("an obligation where none may be")
        return
    attributes = {name: list(values) for name, values in owner.attributes.items()}
    stamp = {"id": owner.id, "issuer": owner.issuer, "attributes": attributes}
    if obligations != [{"id": "stamp_owner", "owner": stamp}]:
        raise Malformed("`obligations` is not to stamp the caller as the owner")


_DECODER: Final = StrictDecoder(constants=True, large_floats=True)
_VERDICTS: Final = {str(verdict): verdict for verdict in Verdict}
_PLAIN: Final = {
    (of_route, of_resource): Question(
        Anonymous(),
        Route("GET", "/") if of_route else None,
        Action.READ if of_resource else None,
        Resource("any", ("",)) if of_resource else None,
    )
    for of_route, of_resource in ((True, True), (True, False), (False, True))
}
