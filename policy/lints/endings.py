"""Lints of patterns in permits that match more than they appear to.

In a `forbid` a wide pattern is the safe mistake, so that advice to narrow it would be wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from policy.expressions import may_end_in_mid_word
from policy.lints.places import Places
from policy.regexes import REGEX_PREFIX, has_doubled_backslash
from policy.rules import AccessRule, PathPrefix, Regex, RouteRule
from policy.source.diagnostics import Findings, Span, quoted
from policy.vocabulary import Effect


def report_wide_resources(rules: Sequence[AccessRule], places: Places, findings: Findings) -> None:
    """Warn of each regular expression for resources that is open at its end."""
    for rule in rules:
        if rule.effect is Effect.PERMIT and isinstance(rule.resource, Regex):
            for scalar in places.scope(rule, "resource"):
                _report_open_end(rule.resource, scalar.span, findings)


def report_wide_paths(
    rules: Sequence[RouteRule], unknown: Collection[Span], places: Places, findings: Findings
) -> None:
    """Warn of each path that is open at its end: a regular expression, or a prefix that ends within a word.

    `unknown` are the places of paths that match no route; they are skipped.
    """
    for rule in rules:
        if rule.effect is Effect.FORBID:
            continue
        for path, scalar in zip(rule.paths, places.scope(rule, "paths"), strict=True):
            if scalar.span in unknown:
                continue
            if isinstance(path, Regex):
                _report_open_end(path, scalar.span, findings)
            elif isinstance(path, PathPrefix) and path.prefix[-1].isalnum() and "*" not in path.prefix:
                message = f"{quoted(scalar.text)} also matches {quoted(path.prefix + '_admin')}, not only what is below"
                hint = f"write {quoted(path.prefix)} and {quoted(path.prefix + '/*')}"
                findings.warning("wide-prefix", scalar.span, message, hint)


def _report_open_end(regex: Regex, span: Span, findings: Findings) -> None:
    # A doubled backslash has been reported; once it is corrected, the pattern may have another end.
    if regex.valid and not has_doubled_backslash(regex.pattern) and may_end_in_mid_word(regex):
        message = f"{quoted(REGEX_PREFIX + regex.pattern)} also matches longer names, since nothing marks its end"
        hint = "end it with `$`, or with `.*` if anything may follow"
        findings.warning("unanchored-regex", span, message, hint)
