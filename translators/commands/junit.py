"""Reports of policy tests in JUnit's XML, which build servers read."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from policy.source.diagnostics import visible
from translators.commands.testing import Results, Verdict


def write_junit(report: Results, path: Path, *, require_coverage: bool) -> None:
    """Write one test suite for each file of cases; raise OSError if the file can't be written.

    `require_coverage` adds one in which each rule is a test case that fails if the rule decided no other case.
    """
    uncovered = len(report.uncovered) if require_coverage else 0
    tests = len(report.verdicts) + (len(report.rules) if require_coverage else 0)
    root = Element("testsuites", _counts(tests, len(report.failures) + uncovered))
    for file, group in groupby(report.verdicts, key=lambda verdict: verdict.case.span.file):
        verdicts = tuple(group)
        suite = SubElement(root, "testsuite", {"name": visible(file), **_counts_of(verdicts)})
        for verdict in verdicts:
            _add_case(suite, verdict, report)
    if require_coverage:
        _add_coverage(root, report)
    indent(root)
    ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _counts_of(verdicts: tuple[Verdict, ...]) -> dict[str, str]:
    return _counts(len(verdicts), sum(not verdict.passed for verdict in verdicts))


def _counts(tests: int, failures: int) -> dict[str, str]:
    return {"tests": str(tests), "failures": str(failures), "errors": "0"}


def _add_case(suite: Element, verdict: Verdict, report: Results) -> None:
    case = verdict.case
    attributes = {
        "classname": visible(Path(case.span.file).stem),
        "name": visible(case.id),
        "file": visible(case.span.file),
        "line": str(case.span.line),
    }
    element = SubElement(suite, "testcase", attributes)
    if not verdict.passed:
        expected, got = report.differences(verdict)
        failure = SubElement(element, "failure", {"message": visible(f"expected {expected}, got {got}")})
        failure.text = visible(verdict.decision["description"] or "")


def _add_coverage(root: Element, report: Results) -> None:
    suite = SubElement(root, "testsuite", {"name": "coverage", **_counts(len(report.rules), len(report.uncovered))})
    for rule in report.rules:
        file, line = visible(rule.span.file), str(rule.span.line)
        attributes = {"classname": "coverage", "name": rule.name, "file": file, "line": line}
        element = SubElement(suite, "testcase", attributes)
        if rule in report.uncovered:
            failure = SubElement(element, "failure", {"message": f"{rule.name} ({rule.source}) was never decisive"})
            failure.text = visible(rule.description or "")
