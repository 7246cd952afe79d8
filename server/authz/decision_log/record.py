"""The lines of the decision log about routes, resources, limits and counts: never a token, a prompt or a body in them.

`docs/operate/decision-log.schema.json` describes every kind of line, and a test compares the lines of real requests
with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policy.vocabulary import Action, Anonymous, Principal, Resource, Route, Verdict
from server.authz.contract.answer import Answer
from server.authz.contract.question import Question
from server.authz.decision_log.pieces import (
    LineKind,
    about_of,
    head_about,
    head_of,
    json_number,
    json_text,
    now,
    outcome_members,
    outcome_of,
    route_text,
    shortened,
    subject,
)
from server.quota.admission import Limited


def lines_of(
    request_id: str,
    decision_id: str,
    question: Question,
    answer: Answer | str,
    milliseconds: float,
    made: Sequence[str] = (),
) -> Iterator[str]:
    """Yield one JSON object for each part of the question; `answer` is the reason as a text where there is no answer.

    Where the route is refused there is no line about the resource: a permit in it would look like a use. Both parts of
    one question carry its `decision_id`. `made` are the ids of the records that a create is about. Times are UTC, RFC
    3339, to the millisecond. Everything but printable ASCII is escaped, so that no value can end a line or move a
    terminal's cursor. Built piece by piece, since it is done for every decision: `json.dumps` takes
    three times as long.
    """
    revision = None if isinstance(answer, str) else answer.revision
    route, action, resource = question.route, question.action, question.resource
    about = about_of(request_id, decision_id, question.principal, revision)
    if route is not None:
        head = head_about(LineKind.ROUTE, about)
        outcome = outcome_of(answer if isinstance(answer, str) else answer.route)
        yield f'{head},"route":{route_text(route)},{outcome},"milliseconds":{milliseconds:.3f}}}'
    if action is not None and resource is not None and (isinstance(answer, str) or not answer.refuses_route):
        head = head_about(LineKind.RESOURCE, about)
        outcome = outcome_of(answer if isinstance(answer, str) else answer.resource)
        asked = f'"action":{json_text(action)},"resource":{json_text(shortened(subject(resource, made)))}'
        several = f',"made":[{",".join(map(json_text, made))}]' if len(made) > 1 else ""
        yield f'{head},{asked}{several},{outcome},"milliseconds":{milliseconds:.3f}}}'


def lines_of_reads(
    request_id: str,
    ids: Sequence[str],
    questions: Sequence[Question],
    answers: Sequence[Answer] | str,
    milliseconds: float,
) -> Iterator[str]:
    """Yield lines like those of `lines_of`, for questions of one caller about resources that are read together; the
    first may have a route.

    `ids` are those of their decisions. Resources with the same id and outcome share a line that names each of them.
    `answers` may be fewer than the questions.
    """
    listed: Sequence[Answer | str] = [answers] * len(questions) if isinstance(answers, str) else answers
    together: dict[tuple[str, str | None, str], list[Resource]] = {}
    for decision_id, question, answer in zip(ids, questions, listed, strict=False):
        if question.route is not None or question.resource is None:
            yield from lines_of(request_id, decision_id, question, answer, milliseconds)
        else:
            revision, outcome = (None, answer) if isinstance(answer, str) else (answer.revision, answer.resource)
            together.setdefault((decision_id, revision, outcome_of(outcome)), []).append(question.resource)
    for (decision_id, revision, said), resources in together.items():
        names = ",".join(json_text(shortened(subject(resource))) for resource in resources)
        kind, asked = LineKind.RESOURCES, f'"resources":[{names}]'
        if len(resources) == 1:
            kind, asked = LineKind.RESOURCE, f'"resource":{names}'
        head = head_of(kind, request_id, decision_id, questions[0].principal, revision)
        yield f'{head},"action":"{Action.READ}",{asked},{said},"milliseconds":{milliseconds:.3f}}}'


@dataclass(frozen=True, slots=True)
class Counted:
    """Decisions that are counted together, by what they have in common.

    `asked` is the route, or the action and the type; `caller` the id and the issuer of a principal.

    They are refusals, unless their effect is `permit`: then they are answers to probes.
    """

    effect: str
    asked: Route | tuple[str, str]
    revision: str | None
    rule: str | None = None
    source: str | None = None
    caller: tuple[str, str] | None = None
    limit: str | None = None

    def line(self, since: str, count: int) -> str:
        """Return one JSON object for `count` such decisions since that time."""
        kind = LineKind.PROBES if self.effect == Verdict.PERMIT else LineKind.REFUSALS
        identity, issuer = self.caller or (None, None)
        limit = "" if self.limit is None else f',"limit":{json_text(self.limit)}'
        return (
            f'{{"time":"{now()}","kind":"{kind}","since":"{since}","revision":{json_text(self.revision)},'
            f'"principal":{json_text(identity)},"issuer":{json_text(issuer)},{_of_counted(self.asked)},'
            f'"effect":{json_text(self.effect)},"rule":{json_text(self.rule)},"source":{json_text(self.source)}{limit},'
            f'"count":{count}}}'
        )


def line_of_limit(
    request_id: str,
    decision_id: str | None,
    revision: str | None,
    principal: Principal | Anonymous,
    route: Route,
    limited: Limited,
) -> str:
    """Return one JSON object for a request that a limit stops; `decision_id` and `revision` are those of its route, if
    any.
    """
    head = head_of(LineKind.QUOTA, request_id, decision_id, principal, revision)
    effect = "unavailable" if limited.unavailable else "limited"
    said = outcome_members(effect, None, None, None, limited.reason)
    numbers = (
        f'"limit":{json_text(limited.limit)},"most":{json_number(limited.most)},"used":{json_number(limited.used)}'
    )
    return f'{head},"route":{route_text(route)},{said},{numbers}}}'


def _of_counted(asked: Route | tuple[str, str]) -> str:
    if isinstance(asked, Route):
        return f'"route":{route_text(asked)}'
    action, kind = asked
    return f'"action":{json_text(action)},"resource":{json_text(f"{kind}::*")}'
