"""Policy tests: every case is decided by a real OPA, and every rule should decide one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy.source.diagnostics import Diagnostic, InvalidDocument, visible
from translators.codegen.modules import CompiledRule
from translators.commands.cases import Case, read_cases
from translators.commands.loading import Loaded
from translators.commands.questions import Known
from translators.opa_session import OpaSession

BATCH = 200
"""Questions that are sent to OPA together."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A case and OPA's decision on it."""

    case: Case
    decision: dict[str, Any]

    @property
    def passed(self) -> bool:
        """True if decision, rule and reason are the expected ones, as far as the case names them."""
        expected = self.case
        return (
            self.decision["effect"] == expected.decision
            and self.decision["rule"] in (expected.rule or (self.decision["rule"],))
            and expected.reason in (None, self.decision["reason"])
        )


@dataclass(frozen=True, slots=True)
class Results:
    """The results of the cases: `uncovered` are the rules of the file that decided none of them."""

    revision: str
    rules: tuple[CompiledRule, ...]
    verdicts: tuple[Verdict, ...]
    uncovered: tuple[CompiledRule, ...]

    @property
    def failures(self) -> tuple[Verdict, ...]:
        """The verdicts of failed cases, in their order."""
        return tuple(verdict for verdict in self.verdicts if not verdict.passed)

    def text(self) -> str:
        """Return the report as text; the last line is the summary."""
        return "\n".join([*self._paragraphs(), self._summary()]) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "passed": len(self.verdicts) - len(self.failures),
            "failed": len(self.failures),
            "revision": self.revision,
            "cases": [_case_as_json(verdict) for verdict in self.verdicts],
            "uncovered": [{"rule": rule.name, "source": rule.source} for rule in self.uncovered],
        }

    def differences(self, verdict: Verdict) -> tuple[str, str]:
        """Return the expected and the actual value of each difference, as clauses with the place of the rule."""
        case, decision = verdict.case, verdict.decision
        expected = case.decision
        if case.rule:
            expected += f" by {self._placed(case.rule[0])}"
        if case.reason is not None:
            expected += f": {case.reason}"
        got = self._placed(decision["rule"], decision["source"])
        return expected, f"{decision['effect']} by {got}: {decision['reason']}"

    def _placed(self, name: str | None, source: str | None = None) -> str:
        if name is None:
            return "no rule"
        place = source or next((rule.source for rule in self.rules if rule.name == name), None)
        return f"{name} ({place})" if place else name

    def _paragraphs(self) -> Iterator[str]:
        for verdict in self.failures:
            expected, got = self.differences(verdict)
            yield visible(f"FAILED {verdict.case.span.file}:{verdict.case.span.line}: {verdict.case.id}")
            yield visible(f"  expected {expected}")
            yield visible(f"  got      {got}")
            if verdict.decision["description"]:
                yield visible(f"           {verdict.decision['description']}")
        for rule in self.uncovered:
            yield f"{rule.name} ({rule.source}) was never decisive"

    def _summary(self) -> str:
        decisive, failed = len(self.rules) - len(self.uncovered), len(self.failures)
        cases = f"{len(self.verdicts) - failed} passed, {failed} failed"
        return f"{cases}; {decisive} of {len(self.rules)} rules were decisive" if self.rules else cases


def read_files(files: Iterable[Path], known: Known) -> tuple[Case, ...]:
    """Return the cases of all files; raise InvalidDocument with all errors in any of them."""
    cases: list[Case] = []
    found: list[Diagnostic] = []
    for file in files:
        try:
            cases += read_cases(file, known)
        except InvalidDocument as invalid:
            found += invalid.diagnostics
    if found:
        raise InvalidDocument(found)
    return tuple(cases)


def run_cases(loaded: Loaded, cases: Sequence[Case]) -> Results:
    """Return the results of every case, decided by OPA; raise OpaNotFound or OpaFailed."""
    verdicts: list[Verdict] = []
    with OpaSession(loaded.bundle) as opa:
        for start in range(0, len(cases), BATCH):
            part = cases[start : start + BATCH]
            answers = opa.ask([case.question for case in part])
            verdicts += (Verdict(case, answer[case.asked]) for case, answer in zip(part, answers, strict=True))
    decisive = {verdict.decision["rule"] for verdict in verdicts}
    # Ostiary tests its default policy; a configuration needs coverage for its own rules only.
    own = loaded.bundle.access if loaded.policies.access_name == "access_policy" else ()
    rules = (*loaded.bundle.routes, *own)
    return Results(
        loaded.bundle.revision, rules, tuple(verdicts), tuple(rule for rule in rules if rule.name not in decisive)
    )


def _case_as_json(verdict: Verdict) -> dict[str, Any]:
    case, decision = verdict.case, verdict.decision
    expected: dict[str, Any] = {"decision": case.decision}
    if case.rule:
        expected["rule"] = case.rule[0]
    if case.reason is not None:
        expected["reason"] = case.reason
    return {
        "id": case.id,
        "file": case.span.file,
        "line": case.span.line,
        "passed": verdict.passed,
        "expected": expected,
        "got": {
            "decision": decision["effect"],
            "rule": decision["rule"],
            "source": decision["source"],
            "reason": decision["reason"],
        },
    }
