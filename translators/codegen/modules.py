"""Rego modules: one Rego rule for each way in which a rule of the policy applies, with its METADATA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from policy.source.diagnostics import Span
from policy.vocabulary import Effect
from translators.codegen.conditions import Body, Listing
from translators.codegen.text import comment, plain, string_literal, without_literals

RULES_PER_FILE = 2000
"""OPA reads files side by side, but for each of them it goes through all the rules of the package."""

_LAW: Final = ("conditions", "subject")
"""The built-in packages that generated rules call."""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule of the policy with its Rego: `name` is `access_policy[3]`, `span` is where it was written.

    `bodies` say when it applies to a question about one resource or route, `filters` when it applies to a stored record
    that isn't known yet.
    """

    index: int
    effect: Effect
    name: str
    span: Span
    description: str | None
    bodies: tuple[Body, ...]
    filters: tuple[Listing, ...]

    @property
    def source(self) -> str:
        """`config.yaml:41`: the file's name without its directory, so that every machine compiles the same bytes.

        Special characters in the name are escaped, here and wherever a decision is shown.
        """
        return f"{plain(PurePath(self.span.file).name)}:{self.span.line}"

    def rego(self) -> str:
        """Return the text of the rule, formatted as `opa fmt` does; empty for a rule whose patterns can't match."""
        head = f"{self.effect} contains {self.index}"
        bodies = [[line for test in body for line in test.lines] for body in self.bodies]
        return "\n".join(self._metadata() + _rule(head, lines) for lines in bodies)

    def filter_rego(self) -> str:
        """Return the rule for lists, formatted as `opa fmt` does; empty if it never decides about a stored record."""
        rules = [_rule(self._filter_head(listing), listing.lines) for listing in self.filters]
        # A comment, since OPA takes longer for the YAML of a second METADATA than for the rule.
        caption = comment(f"For lists: {self._title}, {self.name}, {string_literal(self.source)}")
        return "\n".join(caption + rule for rule in rules)

    @property
    def _title(self) -> str:
        return string_literal(self.description or self.name)

    def _metadata(self) -> str:
        source = string_literal(self.source)
        lines = ("METADATA", f"title: {self._title}", "custom:", f"  rule: {self.name}", f"  source: {source}")
        return "".join(map(comment, lines))

    def _filter_head(self, listing: Listing) -> str:
        # Literals only: OPA takes 50 % longer to load references or objects.
        facts = ", ".join(f"[{', '.join(map(string_literal, fact))}]" for fact in listing.facts)
        return f"{self.effect}_where contains [{self.index}, [{facts}]]"


def modules(package: str, title: str, rules: Sequence[CompiledRule], *, filtered: bool) -> Iterator[tuple[str, str]]:
    """Yield (file name, text) of the modules that hold `rules`; there is always at least one.

    With `filtered`, the modules also hold the two sets of filters for lists.
    """
    for number in range(0, max(len(rules), 1), RULES_PER_FILE):
        part = rules[number : number + RULES_PER_FILE]
        blocks = [text for rule in part for text in (rule.rego(), rule.filter_rego()) if text]
        if number == 0:
            blocks = [*_empty_sets(rules, filtered=filtered), *blocks]
        # One block of comments: `opa fmt` moves single ones together.
        if idle := [rule for rule in part if not rule.bodies]:
            blocks.insert(
                0, "".join(comment(f"{rule.name} ({rule.source}) never applies: no pattern matches") for rule in idle)
            )
        text = "\n".join([_header(package, title, "".join(blocks), first=number == 0), *blocks])
        yield f"rules_{number // RULES_PER_FILE:04}.rego", text


def _rule(head: str, lines: Sequence[str]) -> str:
    if not lines:
        return f"{head}\n"
    if len(lines) == 1:
        return f"{head} if {lines[0]}\n"
    return "\n".join([f"{head} if {{", *(f"\t{line}" for line in lines), "}\n"])


def _header(package: str, title: str, code: str, *, first: bool) -> str:
    # Package annotations may stand in one file only.
    annotated = ("METADATA", "scope: package", f"title: {title}", "schemas:", "  - input: schema.input")
    annotation = "".join(map(comment, annotated)) if first else ""
    bare = without_literals(code)
    imports = [f"import data.ostiary.{name}\n" for name in _LAW if f"{name}." in bare]
    lines = f"{annotation}package ostiary.{package}\n"
    return lines + (f"\n{''.join(imports)}" if imports else "")


def _empty_sets(rules: Sequence[CompiledRule], *, filtered: bool) -> Iterator[str]:
    """Yield definitions of the sets that no rule fills, so that they are empty, not undefined: `permit | forbid` needs
    both.
    """
    for effect in Effect:
        of_effect = [rule for rule in rules if rule.effect is effect]
        if not any(rule.bodies for rule in of_effect):
            yield f"{effect} := set()\n"
        if filtered and not any(rule.filters for rule in of_effect):
            yield f"{effect}_where := set()\n"
