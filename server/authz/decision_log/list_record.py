"""The line of a list: the counts of what was permitted and denied of its members, and the rules that did so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from policy.vocabulary import Anonymous, Decision, Principal, Verdict
from server.authz.contract.record_filter import RecordFilter
from server.authz.decision_log.limits import MOST_RULES
from server.authz.decision_log.pieces import LineKind, head_of, json_text, outcome_members, outcome_of


@dataclass(slots=True)
class ListTally:
    """The members of one list that were looked at: how many were permitted and denied, and by which rules.

    Members that a filter permits have no rule here.
    """

    permitted: int = 0
    denied: int = 0
    rules: Counter[tuple[str | None, str | None, Verdict]] = field(default_factory=Counter)

    def add(self, decision: Decision) -> None:
        """Count one more decision."""
        if decision.verdict is Verdict.PERMIT:
            self.permitted += 1
        else:
            self.denied += 1
        self.rules[decision.rule, decision.source, decision.verdict] += 1


@dataclass(frozen=True, slots=True)
class ListRecord:
    """One list: the request, the caller, and the action on the members of which type."""

    request_id: str
    decision_id: str
    principal: Principal | Anonymous
    action: str
    type: str

    def line(
        self, revision: str | None, outcome: RecordFilter | str | None, tally: ListTally, milliseconds: float
    ) -> str:
        """Return one JSON object, like those of `lines_of`, with the effect `filter` and the counts of `tally`.

        `outcome` is the filter of stored records, None where each member was asked about, and the reason as a text
        where an answer is missing.
        """
        head = head_of(LineKind.LIST, self.request_id, self.decision_id, self.principal, revision)
        asked = f'"action":{json_text(self.action)},"resource":{json_text(f"{self.type}::*")}'
        said = outcome_of(outcome) if isinstance(outcome, str) else _filtered(outcome)
        return f'{head},{asked},{said},{_counts(tally)},"milliseconds":{milliseconds:.3f}}}'


def _filtered(answer: RecordFilter | None) -> str:
    """Return what a line says of a list: the clauses of a filter decide each record, and no rule the whole."""
    if answer is None:
        return outcome_members("filter", None, None, None, "each member is decided by itself")
    return outcome_members("filter", None, None, None, f"clauses that decide each record: {len(answer.clauses)}")


def _counts(tally: ListTally) -> str:
    """Return the number of members that were looked at, and the rules that decided most of them."""
    named = tally.rules.most_common(MOST_RULES)
    others = tally.permitted + tally.denied - sum(count for _, count in named)
    rules = ",".join(
        f'{{"rule":{json_text(rule)},"source":{json_text(source)},"effect":"{verdict}","count":{count}}}'
        for (rule, source, verdict), count in named
    )
    return f'"permitted":{tally.permitted},"denied":{tally.denied},"by_rule":[{rules}],"by_other_rules":{others}'
