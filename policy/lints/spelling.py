"""Lints of words that differ in case only, and so are different words: comparison is exact."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from policy.lints.callers import Written, conditions_of
from policy.rules import AccessRule, HasValue, SharesWithOwner
from policy.source.diagnostics import Findings, quoted
from policy.source.document import Scalar

_HINT: Final = "write both the same way, unless they are meant to be two"


def report_case(written: Written, unknown: Collection[str], findings: Findings) -> None:
    """Warn of each principal, attribute or value that differs from an earlier one in case only.

    `unknown` are attributes reported already.
    """
    first: dict[tuple[str, str], tuple[str, str]] = {}
    told: set[tuple[str, str]] = set()
    for kind, word, scalar, where in sorted(_words(written, unknown), key=lambda found: found[2].span):
        other, origin = first.setdefault((kind.lower(), word.lower()), (word, where))
        if other != word and (kind, word) not in told:
            told.add((kind, word))
            what = kind.partition(" ")[0]
            message = f"the {what} {quoted(word)} is not {quoted(other)} of {origin}: they differ in case alone"
            findings.warning("differs-in-case", scalar.span, message, _HINT)


def _words(written: Written, unknown: Collection[str]) -> Iterator[tuple[str, str, Scalar, str]]:
    """Yield each word of a rule: its kind, the word, its place, and the name of the rule."""
    for rule, places in written:
        if isinstance(rule, AccessRule) and rule.principal is not None:
            for scalar in places.scope(rule, "principal"):
                yield f"principal of {rule.issuer}", rule.principal, scalar, places.named(rule)
    for rule, places, condition, scalar in conditions_of(written):
        if isinstance(condition, HasValue | SharesWithOwner) and condition.attribute not in unknown:
            yield "attribute", condition.attribute, scalar, places.named(rule)
        if isinstance(condition, HasValue):
            yield f"value of {condition.attribute}", condition.value, scalar, places.named(rule)
