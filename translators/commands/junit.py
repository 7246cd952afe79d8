"""The report of policy tests in the XML that build servers read."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from policy.diagnostics import visible
from translators.commands.testing import Results, Verdict


def write_junit(report: Results, path: Path) -> None:
    """Write one test suite for each file of cases; raises OSError."""
    root = Element("testsuites", _counts(report.verdicts))
    for file, group in groupby(report.verdicts, key=lambda verdict: verdict.case.span.file):
        verdicts = tuple(group)
        suite = SubElement(root, "testsuite", {"name": visible(file), **_counts(verdicts)})
        for verdict in verdicts:
            _add_case(suite, verdict, report)
    indent(root)
    ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _counts(verdicts: tuple[Verdict, ...]) -> dict[str, str]:
    failures = sum(not verdict.passed for verdict in verdicts)
    return {"tests": str(len(verdicts)), "failures": str(failures), "errors": "0"}


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
