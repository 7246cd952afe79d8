"""Policies on a page of documentation, with what the page says about each: findings, and cases in a table.

An example is a block of YAML: a whole `server:` section, or rules alone. What follows it, up to the next example or
heading, belongs to it:

- a block of Rego is its guardrail;
- a block of text is what `ostiary policy check` prints about it, and no block says that it prints nothing;
- a table with the columns who, asks for, decision, rule holds its cases; beside the rule stands the limit of the quota
  that the decision names, if there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from policy.source.diagnostics import Diagnostic, InvalidDocument, Span
from policy.source.rendering import render
from translators.commands.cases import read_cases
from translators.commands.loading import Loaded, load
from translators.commands.testing import run_cases

ROOT = Path(__file__).parents[2]

_HEADING = re.compile(r"^#{2,4} (?P<title>.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```yaml\n(?P<yaml>.*?)^```$", re.DOTALL | re.MULTILINE)
_TEXT = re.compile(r"^```text\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_REGO = re.compile(r"^```rego\n(?P<rego>.*?)^```$", re.DOTALL | re.MULTILINE)
_ROWS = re.compile(r"^\| who \| asks for \| decision \| rule \|\n\|[- |]+\|\n(?P<rows>(?:\|.*\|\n)+)", re.MULTILINE)
_WHO = re.compile(r"(?P<id>[^ (]+)(?: \((?P<facts>.*)\))?")
_ROUTE = re.compile(r"[A-Z]+ /\S*")
_ACCESS = re.compile(r"(?P<action>[a-z]+) (?P<resource>\S+)(?P<unowned> without an owner)?(?: of (?P<owner>.+))?")
_LIMIT = re.compile(r"limits\[(\d+)\]")
_LINE = re.compile(r"\(line (\d+)\)")

PROVIDER = """\
    provider_config:
      type: oauth2_token
      issuer: https://sso.example.com
      audience: ostiary
      jwks: {uri: "https://sso.example.com/keys"}
      claims_mapping: {roles: roles, groups: teams, projects: projects}
"""
REST = """\
version: 2
apis: [inference]
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
models:
  - {provider_id: echo, model_id: llama-3}
  - {provider_id: echo, model_id: assistant}
  - {provider_id: echo, model_id: research-alpha}
  - {provider_id: echo, model_id: fast, provider_model_id: mistral-7b}
"""


@dataclass(frozen=True, slots=True)
class Example:
    """One policy of a page.

    `before` is the number of lines, `margin` the number of columns that the whole file has in front of what is shown.
    """

    page: Path
    section: str
    shown: str
    config: str
    before: int
    margin: int
    printed: str | None
    rego: str
    cases: tuple[dict[str, Any], ...]
    limits: tuple[list[int], ...]

    @property
    def name(self) -> str:
        """The section and the first line, for a test's id."""
        return f"{self.section}: {' '.join(self.shown.split())[:50]}"


def examples(page: Path) -> list[Example]:
    """Every policy of a page, in its order."""
    return list(_examples(page, page.read_text()))


def loaded(example: Example, folder: Path) -> tuple[Loaded | None, list[Diagnostic]]:
    """The compiled policy, None if it is refused, and what is found wrong or odd, placed as on the page."""
    config = folder / "config.yaml"
    config.write_text(example.config)
    if example.rego:
        (folder / "guardrails").mkdir()
        (folder / "guardrails/frozen.rego").write_text(example.rego)
    try:
        found = load(config)
    except InvalidDocument as invalid:
        return None, [_placed(one, example) for one in invalid.diagnostics]
    return found, [_placed(one, example) for one in found.warnings]


def printed(example: Example, found: list[Diagnostic]) -> str:
    """What `ostiary policy check` prints about the part of the file that is shown."""
    return render(found, {"config.yaml": example.shown}, color=False) + "\n" if found else ""


def failures(example: Example, policy: Loaded, folder: Path) -> str:
    """What OPA decides otherwise than the table says; empty if it decides as the table says."""
    path = folder / "cases.yaml"
    path.write_text(yaml.safe_dump({"cases": list(example.cases)}))
    results = run_cases(policy, read_cases(path, policy.known))
    assert len(results.verdicts) == len(example.cases)
    named = [
        [one["limit"] for one in verdict.decision["obligations"] if "limit" in one] for verdict in results.verdicts
    ]
    assert named == list(example.limits)
    return results.text() if results.failures else ""


def rewritten(example: Example, text: str) -> None:
    """Put what is printed now on the page, in place of what it says."""
    content = example.page.read_text()
    before, shown, after = content.partition(f"```yaml\n{example.shown}```\n")
    assert shown
    example.page.write_text(before + shown + _TEXT.sub(lambda _: f"```text\n{text}```", after, count=1))


def _examples(page: Path, text: str) -> Iterator[Example]:
    blocks = list(_BLOCK.finditer(text))
    headings = list(_HEADING.finditer(text))
    for number, block in enumerate(blocks):
        ends = [other.start() for other in (*blocks[number + 1 :], *headings) if other.start() > block.end()]
        following = text[block.end() : min(ends, default=len(text))]
        section = [heading["title"] for heading in headings if heading.start() < block.start()][-1:]
        said, rego, rows = _TEXT.search(following), _REGO.search(following), _ROWS.search(following)
        lines = rows["rows"].splitlines() if rows else []
        config, before, margin = _whole(block["yaml"])
        yield Example(
            page,
            section[0] if section else page.stem,
            block["yaml"],
            config,
            before,
            margin,
            said["text"] if said else None,
            rego["rego"] if rego else "",
            tuple(_case(f"row {index}", row) for index, row in enumerate(lines, 1)),
            tuple([int(limit) for limit in _LIMIT.findall(row)] for row in lines),
        )


def _whole(shown: str) -> tuple[str, int, int]:
    """The whole file, and how many lines and columns it has in front of what is shown."""
    if shown.startswith("- "):
        policy = "route_policy" if "paths:" in shown else "access_policy"
        head = f"server:\n  auth:\n{PROVIDER}    {policy}:\n"
        return head + "".join(f"      {line}\n" for line in shown.splitlines()) + REST, head.count("\n"), 6
    assert shown.startswith("server:\n"), shown
    provider = "" if "provider_config:" in shown else PROVIDER
    return shown + provider + REST, 0, 0


def _placed(found: Diagnostic, example: Example) -> Diagnostic:
    """The finding with its place in what is shown; another file is called by its path in the example."""
    span = found.span
    if not span.file.endswith("config.yaml"):
        return replace(found, span=replace(span, file=f"guardrails/{Path(span.file).name}"))
    message = _LINE.sub(lambda line: f"(line {int(line[1]) - example.before})", found.message)
    span = Span("config.yaml", span.line - example.before, span.column - example.margin)
    return replace(found, span=span, message=message)


def _case(name: str, row: str) -> dict[str, Any]:
    who, asks, decision, rule = (cell.strip() for cell in row.replace("`", "").strip("|").split("|"))
    return {
        "id": name,
        "principal": None if who == "no token" else _principal(who),
        **_asked(asks),
        "decision": decision,
        "rule": None if rule == "none" else rule.split(",")[0],
    }


def _principal(text: str) -> dict[str, Any]:
    found = _WHO.fullmatch(text)
    assert found, text
    principal: dict[str, Any] = {"id": found["id"]}
    for fact in found["facts"].split("; ") if found["facts"] else ():
        name, _, values = fact.partition(": ")
        principal[name] = values if name == "issuer" else values.split(", ")
    return principal


def _asked(text: str) -> dict[str, Any]:
    if _ROUTE.fullmatch(text):
        return {"route": text}
    found = _ACCESS.fullmatch(text)
    assert found, text
    asked: dict[str, Any] = {"action": found["action"], "resource": found["resource"]}
    if found["unowned"]:
        asked["origin"] = "created"
    if found["owner"]:
        asked["owner"] = _principal(found["owner"])
    return asked
