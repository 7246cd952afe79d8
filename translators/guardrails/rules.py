"""Checks for guardrails that never deny: unknown forms, unused rules, bodies that never hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from policy.source.diagnostics import Findings, did_you_mean, quoted
from translators.guardrails.checking import Tree, parsed
from translators.guardrails.directory import CODE, PACKAGE
from translators.guardrails.trees import imports, name_of, place, references, text_of
from translators.rego_folder import REGO

Modules = Mapping[Path, Tree]

_DENY: Final = "deny"
_FORM: Final = 'write `deny contains {"reason": "…"} if {…}`'
_LAW_PACKAGES: Final = ("conditions", "subject")
"""The parts of the built-in Rego that guardrails may use; others depend on the guardrails themselves."""

_SCALARS: Final = ("string", "number", "boolean", "null")


def check_rules(modules: Modules, findings: Findings) -> None:
    """Report each rule that can't deny, directly or through another rule."""
    for path, module in modules.items():
        _check_package(path, module, findings)
    if findings.has_errors:
        return
    for path, module in modules.items():
        if not module.get("rules"):
            findings.error(
                CODE, place(path, module["package"]), "this file holds no rule", "write one, or remove the file"
            )
        for rule in module.get("rules", ()):
            _check_form(path, rule, findings)
            _check_constants(path, rule, findings)
        _check_data(path, module, modules, findings)
    _check_use(modules, findings)


def _check_package(path: Path, module: Tree, findings: Findings) -> None:
    written = ".".join(str(part["value"]) for part in module["package"]["path"][1:])
    if written != PACKAGE:
        message = f"{quoted(written)} is not the package of guardrails"
        findings.error(CODE, place(path, module["package"]), message, f"write `package {PACKAGE}`")


def _check_form(path: Path, rule: Tree, findings: Findings) -> None:
    if name_of(rule) != _DENY:
        return
    head = rule["head"]
    if rule.get("default") or "args" in head or "value" in head or "key" not in head or len(head["ref"]) > 1:
        message = "this rule gives `deny` another form than that of a set, which never denies"
        findings.error(CODE, place(path, rule), message, _FORM)


def _check_constants(path: Path, rule: Tree, findings: Findings) -> None:
    for expression in rule.get("body", ()):
        if not expression.get("negated") and "location" in expression and _never_holds(expression["terms"]):
            message = "this line never holds, so the rule never applies"
            findings.error(CODE, place(path, expression), message, "remove the rule, or the line")


def _never_holds(terms: Tree | list[Tree]) -> bool:
    if isinstance(terms, dict):
        return terms.get("type") == "boolean" and terms["value"] is False
    if len(terms) != 3 or terms[1].get("type") not in _SCALARS or terms[2].get("type") not in _SCALARS:
        return False
    operator = ".".join(str(part["value"]) for part in terms[0]["value"])
    equal = terms[1]["type"] == terms[2]["type"] and terms[1]["value"] == terms[2]["value"]
    return (operator in {"equal", "eq"} and not equal) or (operator == "neq" and equal)


def _check_data(path: Path, module: Tree, modules: Modules, findings: Findings) -> None:
    """Report references to data outside the bundle: they are undefined in OPA, so that the rule never applies."""
    imported = imports(module)
    own = {name_of(rule) for written in modules.values() for rule in written.get("rules", ())}
    for node, head, parts in references(module.get("rules", ()), imported):
        if head != "data":
            continue
        names = [text_of(part) for part in parts[:3]]
        if names[:1] == ["ostiary"] and len(names) == 3:
            known = own if names[1] == "guardrails" else _law_rules(names[1])
            if names[2] in known:
                continue
        written = ".".join(["data", *(name if name is not None else "[…]" for name in names)])
        message = f"{quoted(written)} is nothing that guardrails can ask"
        findings.error(CODE, place(path, node), message, _askable(names, own))


def _askable(names: list[str | None], own: set[str]) -> str:
    if len(names) == 3 and names[0] == "ostiary" and names[2] is not None:
        known = own if names[1] == "guardrails" else _law_rules(names[1])
        if known:
            return did_you_mean(names[2], known)
    places = ", ".join(f"`data.ostiary.{name}`" for name in _LAW_PACKAGES)
    return f"write the values into the guardrail; rules of {places} and of this package can be asked"


@cache
def _law_rules(package: str | None) -> frozenset[str]:
    """Return the names of the rules of a built-in package that guardrails may use; none for any other package."""
    if package not in _LAW_PACKAGES:
        return frozenset()
    path = REGO / "ostiary" / package / f"{package}.rego"
    (module,) = parsed({path: path.read_text(encoding="utf-8")}).values()
    return frozenset(name_of(rule) for rule in module["rules"])


def _check_use(modules: Modules, findings: Findings) -> None:
    """Report each rule that `deny` doesn't depend on."""
    rules = [(path, rule) for path, module in modules.items() for rule in module.get("rules", ())]
    names = {name_of(rule) for _, rule in rules}
    uses: dict[str, set[str]] = {name: set() for name in names}
    for path, rule in rules:
        uses[name_of(rule)] |= set(_used(rule, imports(modules[path]))) & names
    reached, left = set[str](), [_DENY]
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            left += uses.get(name, ())
    for path, rule in rules:
        name = name_of(rule)
        if name not in reached:
            near = did_you_mean(name, [_DENY])
            hint = near if near.endswith("?") else "use it in the body of a `deny`, or remove it"
            tests = "move tests into a file whose name ends in `_test.rego`"
            message = f"nothing uses the rule {quoted(name)}, so it never denies"
            findings.error(CODE, place(path, rule), message, tests if name.startswith("test_") else hint)
    if _DENY not in names and rules:
        path, rule = rules[0]
        findings.error(CODE, place(path, rule), "no file of the guardrails defines `deny`", _FORM)


def _used(rule: Tree, imported: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for _, head, parts in references(rule, imported):
        if head != "data":
            yield head
        elif [text_of(part) for part in parts[:2]] == PACKAGE.split(".") and len(parts) > 2:
            yield str(parts[2].get("value"))
