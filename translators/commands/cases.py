"""Policy tests as users write them: a principal, a request, and the expected decision.

about: what this file is for                    # optional
principals:                                     # optional: names for the cases below
  ann: {id: user-1, roles: [developer], teams: [ml]}     # issuer too; everything else is an attribute
cases:
  - id: developers read models
    principal: ann                              # a name, a principal written out, or null for anonymous
    action: read
    resource: model::llama
    owner: {id: user-2}                         # optional; so are origin (config, created) and aliases
    decision: permit
    rule: access_policy[1]                      # optional; null says that no rule decides
    reason: the rule permits it                 # optional
  - {id: anonymous lists no files, principal: null, route: GET /v1/files, decision: deny}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as ReadOnly
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from policy.fields import kind_of, known_keys, one_or_more_texts, one_text
from policy.source.diagnostics import Findings, Span, did_you_mean, quoted
from policy.source.document import Mapping, Node, Scalar, read_document
from policy.source.document import Sequence as Listed
from policy.vocabulary import Origin, Verdict
from translators.commands.questions import (
    Known,
    Question,
    UnclearQuestion,
    named_action,
    named_resource,
    named_route,
    question,
)

_FILE: Final = ("about", "principals", "cases")
_ALWAYS: Final = ("id", "principal", "decision", "rule", "reason")
_ABOUT_RESOURCE: Final = ("action", "resource", "owner", "aliases", "origin")
_MISSING: Final = {
    "principal": "write null for a caller without a token",
    "decision": "write `decision: permit` or `decision: deny`",
    "action": "write an `action` and a `resource`, or a `route`",
    "resource": "write it as `model::NAME`",
}
_RULE: Final = re.compile(r"(?:access_policy|route_policy|default_policy)\[\d+\]|guardrails")

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Case:
    """One question with its expected answer; `rule` has one element, perhaps None, if the rule matters, else none."""

    id: str
    span: Span
    question: Question
    decision: str
    rule: tuple[str | None, ...]
    reason: str | None

    @property
    def asked(self) -> str:
        """`route` or `resource`: the part of the answer that the case tests."""
        return "route" if "route" in self.question else "resource"


def read_cases(path: Path, known: Known) -> tuple[Case, ...]:
    """Return the cases of one file; raise InvalidDocument with all of its errors."""
    document, findings = read_document(path), Findings()
    known_keys(document, _FILE, "a file of policy tests", findings)
    if "about" in document.entries:
        one_text(document.entries["about"].node, "about", findings)
    cases = tuple(_cases(document, _principals(document, findings), known, findings))
    findings.raise_errors()
    return cases


def _cases(
    document: Mapping, principals: ReadOnly[str, Question | None], known: Known, findings: Findings
) -> Iterator[Case]:
    entry = document.entries.get("cases")
    if entry is None or not isinstance(entry.node, Listed) or not entry.node.items:
        span = entry.node.span if entry else document.span
        findings.error("no-cases", span, "the file holds no `cases`", "write at least one")
        return
    lines: dict[str, int] = {}
    for item in entry.node.items:
        case = _case(item, principals, known, findings)
        if case is None:
            continue
        if case.id in lines:
            message = f"{quoted(case.id)} is the case in line {lines[case.id]} already"
            findings.error("duplicate-id", case.span, message, "give each case its own `id`")
        lines.setdefault(case.id, case.span.line)
        yield case


def _case(node: Node, principals: ReadOnly[str, Question | None], known: Known, findings: Findings) -> Case | None:
    """Return one case; None after reporting all of its errors."""
    if not isinstance(node, Mapping):
        findings.error("not-a-mapping", node.span, f"a case is a mapping, not {kind_of(node)}", "start it with `- id:`")
        return None
    own = Findings()
    case = _CaseReader(node, principals, own).case(known)
    findings.extend(own)
    return None if own.has_errors else case


def _principals(document: Mapping, findings: Findings) -> dict[str, Question | None]:
    entry = document.entries.get("principals")
    if entry is None:
        return {}
    if not isinstance(entry.node, Mapping):
        findings.error("not-a-mapping", entry.node.span, f"`principals` takes a mapping, not {kind_of(entry.node)}")
        return {}
    return {name: _principal(named.node, findings) for name, named in entry.node.entries.items()}


def _principal(node: Node, findings: Findings) -> Question | None:
    """Return a principal that is written out; None after reporting an error."""
    if not isinstance(node, Mapping):
        hint = "write `{id: user-1, roles: [developer]}`"
        findings.error("not-a-mapping", node.span, f"a principal is a mapping, not {kind_of(node)}", hint)
        return None
    texts: dict[str, str] = {}
    attributes: dict[str, list[str]] = {}
    for name, entry in node.entries.items():
        if name in ("id", "issuer"):
            scalar = one_text(entry.node, name, findings)
            texts[name] = scalar.text if scalar else ""
        elif not (isinstance(entry.node, Listed) and not entry.node.items):
            attributes[name] = [value.text for value in one_or_more_texts(entry.node, name, findings)]
    if "id" not in texts:
        findings.error("missing-key", node.span, "a principal needs an `id`", "write `id: user-1`")
    return {"id": "", **texts, "attributes": attributes}


class _CaseReader:
    """Reads the fields of one case; errors go to `findings`."""

    def __init__(self, node: Mapping, principals: ReadOnly[str, Question | None], findings: Findings) -> None:
        self._node = node
        self._principals = principals
        self._findings = findings

    def case(self, known: Known) -> Case | None:
        """Return the case; not usable if an error was reported."""
        self._check_keys()
        if "route" in self._node.entries:
            written: dict[str, Any] = {"route": self._parsed("route", named_route)}
        else:
            written = {"action": self._parsed("action", named_action), "resource": self._resource()}
        written["principal"] = self._who("principal")
        identity, reason, rule = self._parsed("id", str), self._parsed("reason", str), self._rule()
        decision = self._one_of("decision", tuple(Verdict))
        if self._findings.has_errors:
            return None
        try:
            asked = question(written, known)
        except UnclearQuestion as unclear:
            self._findings.error("unclear-question", self._node.span, unclear.message, unclear.hint)
            return None
        return Case(identity or "", self._node.span, asked, decision or "", rule, reason)

    def _check_keys(self) -> None:
        about_route = "route" in self._node.entries
        moves = dict.fromkeys(_ABOUT_RESOURCE, "leave it out: this case is about a route") if about_route else {}
        known_keys(
            self._node,
            (*_ALWAYS, "route") if about_route else (*_ALWAYS, *_ABOUT_RESOURCE, "route"),
            "a case",
            self._findings,
            moves,
        )
        for key in ("id", "principal", "decision", *(() if about_route else ("action", "resource"))):
            if key not in self._node.entries:
                self._findings.error("missing-key", self._node.span, f"the case has no `{key}`", _MISSING.get(key, ""))

    def _resource(self) -> dict[str, Any]:
        target = self._parsed("resource", named_resource)
        aliases = self._node.entries.get("aliases")
        more = [scalar.text for scalar in one_or_more_texts(aliases.node, "aliases", self._findings)] if aliases else []
        resource: dict[str, Any] = {"owner": self._who("owner")}
        if target is not None:
            resource |= {"type": target["type"], "names": [target["id"], *more]}
        origin = self._one_of("origin", tuple(Origin))
        return resource | ({"origin": origin} if origin else {})

    def _who(self, key: str) -> Question | None:
        """Return the principal of a key: by name, written out, or None for anonymous."""
        entry = self._node.entries.get(key)
        if entry is None or (isinstance(entry.node, Scalar) and entry.node.value is None):
            return None
        if isinstance(entry.node, Mapping):
            return _principal(entry.node, self._findings)
        scalar = one_text(entry.node, key, self._findings)
        if scalar is not None and scalar.text not in self._principals:
            known = did_you_mean(scalar.text, self._principals) if self._principals else "name it under `principals`"
            message = f"no principal is called {quoted(scalar.text)}"
            self._findings.error("unknown-principal", scalar.span, message, known)
        return self._principals.get(scalar.text) if scalar else None

    def _rule(self) -> tuple[str | None, ...]:
        entry = self._node.entries.get("rule")
        if entry is None:
            return ()
        if isinstance(entry.node, Scalar) and entry.node.value is None:
            return (None,)
        scalar = one_text(entry.node, "rule", self._findings)
        if scalar is not None and not _RULE.fullmatch(scalar.text):
            hint = "write `access_policy[0]`, `route_policy[0]`, or null where no rule decides"
            self._findings.error("invalid-rule", scalar.span, f"{quoted(scalar.text)} is no rule", hint)
        return (scalar.text,) if scalar else ()

    def _one_of(self, key: str, known: Sequence[str]) -> str | None:
        def chosen(text: str) -> str:
            if text not in known:
                raise UnclearQuestion(f"{quoted(text)} is no {key}", did_you_mean(text, known))
            return text

        return self._parsed(key, chosen)

    def _parsed(self, key: str, parse: Callable[[str], Value]) -> Value | None:
        """Return what `parse` makes of the text of a key; None where the key is absent or an error was reported."""
        entry = self._node.entries.get(key)
        scalar = one_text(entry.node, key, self._findings) if entry else None
        if scalar is None:
            return None
        try:
            return parse(scalar.text)
        except UnclearQuestion as unclear:
            self._findings.error(f"invalid-{key}", scalar.span, unclear.message, unclear.hint)
            return None
