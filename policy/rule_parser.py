"""The common parts of access rules and route rules: effect, conditions, description, and index in the list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from policy.conditions import condition
from policy.fields import description, kind_of, known_keys, one_or_more_texts
from policy.rules import Clause, Conditions
from policy.source.diagnostics import Findings, Span
from policy.source.document import Entry, Mapping, Node, Scalar, Sequence
from policy.vocabulary import Effect

_BESIDE_EFFECT: Final = ("when", "unless", "description", "shields")
_RULE_KEYS: Final = (*Effect, *_BESIDE_EFFECT)

Rule = TypeVar("Rule")


@dataclass(frozen=True, slots=True)
class Shape:
    """The differences between the rules of the two policies; the first of `scope_keys` is required."""

    policy: str
    rule: str
    scope_keys: tuple[str, ...]
    other_policy: str
    other_keys: tuple[str, ...]
    about_routes: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """A rule without its scope; `shields` are those that it requires."""

    index: int
    effect: Effect
    effect_span: Span
    scope: Mapping
    conditions: Conditions | None
    description: str
    span: Span
    shields: tuple[Scalar, ...] = ()


def parse_rules(
    node: Node, shape: Shape, build: Callable[[Frame, Findings], Rule | None], findings: Findings
) -> tuple[Rule, ...]:
    """Return the rules of a policy; an entry with an error in it is reported and left out."""
    if not isinstance(node, Sequence):
        if isinstance(node, Scalar) and node.value is None:
            message, hint = f"`{shape.policy}` is empty", "remove the key, or write rules"
        else:
            message, hint = f"`{shape.policy}` takes a list of rules, not {kind_of(node)}", "start each rule with `- `"
        findings.error("not-a-list", node.span, message, hint)
        return ()
    if not node.items:
        message = f"`{shape.policy}` is an empty list, which could mean to allow all or nothing"
        findings.error("empty-list", node.span, message, "remove the key, or write rules")
    rules = []
    for index, item in enumerate(node.items):
        own = Findings()
        frame = _frame(index, item, shape, own)
        rule = build(frame, own) if frame else None
        if rule is not None and not own.has_errors:
            rules.append(rule)
        findings.extend(own)
    return tuple(rules)


def _frame(index: int, item: Node, shape: Shape, findings: Findings) -> Frame | None:
    if not isinstance(item, Mapping):
        message = f"a rule of `{shape.policy}` is a mapping, not {kind_of(item)}"
        findings.error("not-a-mapping", item.span, message, "start it with `- permit:` or `- forbid:`")
        return None
    effect = _effect(item, findings)
    moves = dict.fromkeys(shape.scope_keys, f"indent it below `{effect or 'permit'}`")
    known_keys(item, _RULE_KEYS, shape.rule, findings, moves)
    conditions = conditions_of(item, shape.about_routes, findings)
    text = item.entries.get("description")
    words = description(text.node, findings) if text else ""
    if effect is None:
        return None
    entry = item.entries[effect]
    scope = _scope(entry, effect, shape, findings)
    shields = _shields(item, effect, findings)
    return Frame(index, effect, entry.key_span, scope, conditions, words, item.span, shields) if scope else None


def _shields(item: Mapping, effect: Effect, findings: Findings) -> tuple[Scalar, ...]:
    entry = item.entries.get("shields")
    if entry is None:
        return ()
    if effect is Effect.FORBID:
        message = "`shields` stand beside a `permit`: what is forbidden needs none"
        findings.error("misplaced-shields", entry.key_span, message, "leave them out")
    return one_or_more_texts(entry.node, "shields", findings)


def _effect(item: Mapping, findings: Findings) -> Effect | None:
    written = [effect for effect in Effect if effect in item.entries]
    if len(written) == 2:
        second = max(item.entries[effect].key_span for effect in written)
        findings.error("two-effects", second, "a rule has `permit` or `forbid`, not both", "write two rules")
    elif not written and item.entries.keys() <= set(_RULE_KEYS):
        message = "a rule needs `permit` or `forbid`"
        findings.error("no-effect", item.span, message, "start it with `- permit:` or `- forbid:`")
    return written[0] if len(written) == 1 else None


def _scope(entry: Entry, effect: Effect, shape: Shape, findings: Findings) -> Mapping | None:
    node = entry.node
    if isinstance(node, Mapping):
        moves = dict.fromkeys(_BESIDE_EFFECT, f"move it out one level, beside `{effect}`")
        moves |= dict.fromkeys(shape.other_keys, f"it belongs in a rule of `{shape.other_policy}`")
        known_keys(node, shape.scope_keys, f"{shape.rule}'s `{effect}`", findings, moves)
        return node
    hint = f"write `{shape.scope_keys[0]}:` on the next line, indented below it"
    if not (isinstance(node, Scalar) and node.value is None):
        findings.error("not-a-mapping", node.span, f"`{effect}` takes a mapping, not {kind_of(node)}", hint)
    elif not findings.has_errors:  # a missing indentation has been reported, key by key
        findings.error("empty-value", entry.key_span, f"`{effect}` is empty", hint)
    return None


def conditions_of(item: Mapping, about_routes: bool, findings: Findings) -> Conditions | None:
    """Return the conditions under `when` or `unless`; None where neither is written."""
    written = [clause for clause in Clause if clause in item.entries]
    if len(written) == 2:
        second = max(item.entries[clause].key_span for clause in written)
        findings.error("two-clauses", second, "a rule has `when` or `unless`, not both", "write two rules")
    found = [
        condition(text, about_routes, findings)
        for clause in written
        for text in one_or_more_texts(item.entries[clause].node, clause, findings)
    ]
    return Conditions(written[0], tuple(one for one in found if one is not None)) if written else None
