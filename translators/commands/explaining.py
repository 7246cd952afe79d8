"""Explanations of a decision: OPA evaluates the decision and every test of every rule."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from policy.source.diagnostics import visible
from translators.codegen.modules import CompiledRule
from translators.commands.loading import Loaded
from translators.commands.questions import Question
from translators.compiler import Bundle
from translators.opa import find
from translators.opa_session import OpaFailed

_QUERY = '{"answer": data.ostiary.decision.answer, "holds": data.ostiary.explanation.holds}'


@dataclass(frozen=True, slots=True)
class RuleReport:
    """The result of one rule: whether it applies and, if not, the tests that failed in each of its bodies."""

    rule: CompiledRule
    applies: bool
    failed: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with the rules around it: those before the deciding one, and those that it shadows."""

    decision: dict[str, Any]
    revision: str
    determining: CompiledRule | None
    lines: tuple[str, ...]
    earlier: tuple[RuleReport, ...]
    shadowed: tuple[RuleReport, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the explanation as JSON."""
        return {
            **self.decision,
            "revision": self.revision,
            "rego": None if self.determining is None else self.determining.rego(),
            "did_not_apply": [{**_named(report.rule), "failed": report.failed} for report in self.earlier],
            "shadowed": [_named(report.rule) for report in self.shadowed],
        }

    def text(self) -> str:
        """Return the explanation as text for a terminal."""
        return "\n".join(self._paragraphs()) + "\n"

    def _paragraphs(self) -> Iterator[str]:
        place = f" at {self.decision['source']}" if self.decision["source"] else ""
        by = f" by {self.decision['rule']}{place}" if self.decision["rule"] else ""
        yield f"{self.decision['effect']}{by}: {self.decision['reason']}"
        if self.decision["description"]:
            yield f"  {visible(self.decision['description'])}"
        yield f"  revision {self.revision}"
        if self.determining is not None:
            yield from ("", "The rule:", *(f"  {line}" for line in self.lines))
            yield from ("", "In Rego:", *(f"  {line}" for line in self.determining.rego().splitlines()))
        if self.earlier:
            yield from ("", "Did not apply:", *(f"  {_why_not(report)}" for report in self.earlier))
        if self.shadowed:
            yield from ("", "Applies too, but comes later:" if self.determining else "Applies, but does not decide:")
            yield from (f"  {report.rule.name} ({report.rule.source}) {report.rule.effect}" for report in self.shadowed)


def explain(loaded: Loaded, question: Question) -> Explanation:
    """Explain the decision on one question about a route or about a resource; raises OpaNotFound or OpaFailed."""
    part = "resource" if "resource" in question else "route"
    rules = loaded.bundle.access if part == "resource" else loaded.bundle.routes
    value = _evaluate(loaded.bundle, rules, question)
    decision = value["answer"][part]
    reports = [_report(rule, {tuple(test) for test in value["holds"]}) for rule in rules]
    determining = next((rule for rule in rules if rule.name == decision["rule"]), None)
    if determining is None:
        applicable = tuple(report for report in reports if report.applies)
        return Explanation(decision, value["answer"]["revision"], None, (), tuple(_idle(reports)), applicable)
    position = determining.index
    return Explanation(
        decision,
        value["answer"]["revision"],
        determining,
        tuple(_rule_lines(determining)),
        tuple(_idle(reports[:position])),
        tuple(report for report in reports[position + 1 :] if report.applies),
    )


def _idle(reports: Sequence[RuleReport]) -> list[RuleReport]:
    return [report for report in reports if not report.applies]


def _evaluate(bundle: Bundle, rules: Sequence[CompiledRule], question: Question) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="ostiary-") as scratch:
        for name, content in {**bundle.files, "ostiary/explanation/holds.rego": _probe(rules).encode()}.items():
            target = Path(scratch) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        command: list[str | Path] = [find(), "eval", "--bundle", scratch, "--stdin-input", "--format", "json"]
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [*command, "--strict-builtin-errors", _QUERY],
            input=json.dumps(question).encode(),
            capture_output=True,
            check=False,
        )
    try:
        value: dict[str, Any] = json.loads(done.stdout)["result"][0]["expressions"][0]["value"]
    except (ValueError, LookupError) as error:
        raise OpaFailed(
            f"OPA did not answer: {(done.stderr or done.stdout)[:2000].decode(errors='replace')}"
        ) from error
    return value


def _probe(rules: Sequence[CompiledRule]) -> str:
    """Return a module that lists the tests that hold, each by the numbers of its rule, its body and itself."""
    lines = ["package ostiary.explanation", "", "import data.ostiary.conditions", "import data.ostiary.subject", ""]
    for rule in rules:
        for body_number, body in enumerate(rule.bodies):
            for number, test in enumerate(body):
                lines += [f"holds contains [{rule.index}, {body_number}, {number}] if {{", *test.lines, "}", ""]
    lines += ["holds contains [-1, 0, 0]", ""]
    return "\n".join(lines)


def _report(rule: CompiledRule, holds: set[tuple[int, ...]]) -> RuleReport:
    failed = tuple(
        tuple(test.meaning for number, test in enumerate(body) if (rule.index, body_number, number) not in holds)
        for body_number, body in enumerate(rule.bodies)
    )
    return RuleReport(rule, any(not tests for tests in failed), failed)


def _why_not(report: RuleReport) -> str:
    place = f"{report.rule.name} ({report.rule.source})"
    if not report.failed:
        return f"{place}: its pattern can match nothing"
    failed = dict.fromkeys(meaning for tests in report.failed for meaning in tests)
    return f"{place}: {', '.join(_failure(meaning) for meaning in failed)}"


def _failure(meaning: str) -> str:
    positive = meaning.removeprefix("not: ")
    return f'"{positive}" does not hold' if positive == meaning else f'"{positive}" holds'


def _rule_lines(rule: CompiledRule) -> Iterator[str]:
    """Yield the rule as written in the file: its first line and the lines indented below it."""
    path = files("policy").joinpath("default.yaml") if rule.name.startswith("default_policy") else Path(rule.span.file)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines[rule.span.line - 1 :]):
        indent = len(line) - len(line.lstrip())
        if number and line.strip() and indent < rule.span.column - 1:
            return
        if line.strip():
            yield f"{rule.span.line + number:4} | {line}"


def _named(rule: CompiledRule) -> dict[str, Any]:
    return {"rule": rule.name, "source": rule.source, "effect": rule.effect, "description": rule.description}
