"""Regular expressions in rules (`regex:RE`): validity, and warnings about unusual patterns."""

from __future__ import annotations

import re
from typing import Final

from policy.expressions import fault_of
from policy.rules import Regex
from policy.source.diagnostics import Findings, Severity, quoted
from policy.source.document import Scalar

REGEX_PREFIX: Final = "regex:"

PATTERN_LIMIT: Final = 8192
"""Longest regular expression, in characters."""


def regex(scalar: Scalar, invalid: Severity, findings: Findings) -> Regex | None:
    """Return the pattern behind `regex:`; None after an error. A pattern that Python refuses is reported as `invalid`.

    As a warning it becomes a pattern that never matches.
    """
    pattern = scalar.text.removeprefix(REGEX_PREFIX)
    if not pattern:
        findings.error("empty-value", scalar.span, "the pattern after `regex:` is empty", "`*` matches everything")
        return None
    if len(pattern) > PATTERN_LIMIT:
        message = f"the pattern is {len(pattern):,} characters long, and {PATTERN_LIMIT:,} are the most"
        findings.error("pattern-too-long", scalar.span, message, "write several rules")
        return None
    complaint = fault_of(pattern)
    if complaint is not None:
        consequence = "and a `forbid` can't do without it" if invalid is Severity.ERROR else "so it never matches"
        message = f"{quoted(pattern)} isn't a regular expression of Python ({complaint}), {consequence}"
        findings.add(invalid, "invalid-pattern", scalar.span, message, "correct the pattern")
        return None if invalid is Severity.ERROR else Regex(pattern, scalar.span, valid=False)
    _point_out_doubled_backslash(scalar, pattern, findings)
    return Regex(pattern, scalar.span)


def spelled_out(text: str, star: str) -> str:
    """Return the `regex:` that was probably meant by `text`, for a hint.

    Each `*` becomes `star` and the rest stays literal, unless `text` looks like a pattern without a prefix.
    """
    if ".*" in text:
        return REGEX_PREFIX + text
    literal = re.sub(r"[.^$+?{}\[\]\\|()]", r"\\\g<0>", text)
    return f"{REGEX_PREFIX}^{literal.replace('*', star)}{'' if text.endswith('*') else '$'}"


def has_doubled_backslash(pattern: str) -> bool:
    r"""Return whether `\\` stands in the pattern and matches a backslash."""
    # A backslash consumes what follows, so pairs are taken from the left: `\d\\.` holds one doubled backslash.
    return r"\\" in re.findall(r"\\.", pattern, re.DOTALL)


def _point_out_doubled_backslash(scalar: Scalar, pattern: str, findings: Findings) -> None:
    if not has_doubled_backslash(pattern):
        return
    meant = quoted(REGEX_PREFIX + pattern.replace(r"\\", "\\"))
    findings.warning(
        "doubled-backslash",
        scalar.span,
        r"`\\` in this pattern matches a backslash, because YAML resolves escapes in double quotes alone",
        rf"probably {meant} was meant; `\x5c` says that a backslash is",
    )
