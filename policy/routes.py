"""Route patterns, and the normalized path that they are compared with (`docs/policy/policy-language.md` §7)."""

from __future__ import annotations

import re
from typing import Final

from policy.regexes import REGEX_PREFIX, regex, spelled_out
from policy.rules import Everything, ExactPath, PathPattern, PathPrefix
from policy.source.diagnostics import Findings, Severity, quoted
from policy.source.document import Scalar
from policy.vocabulary import Route

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
"""The methods that `methods` may hold; in a rule, HEAD counts as GET."""

PUBLIC_ROUTES: Final = (Route("GET", "/v1/health"), Route("GET", "/v1/version"))
"""The routes that need no token even where authentication is configured; the route policy can still close them."""


_PLACEHOLDER: Final = re.compile(r"(?<=/)(?:\{[^/{}]+\}|<[^/<>]+>|:[A-Za-z_]\w*)(?=[/*]|$)")
"""A part of a path as frameworks write a variable one: `{file_id}`, `<file_id>`, `:file_id`."""


def placeholder(path: str) -> str | None:
    """Return the first part of `path` that looks like a variable one, which it isn't here; None if there is none."""
    found = _PLACEHOLDER.search(path)
    return found[0] if found else None


def normalize_path(path: str) -> str:
    """Return the percent-decoded `path` without its trailing slashes; `/` stays `/`."""
    return path.rstrip("/") or "/"


def path_pattern(scalar: Scalar, invalid: Severity, findings: Findings) -> PathPattern | None:
    """Return the pattern that one entry of `paths` spells; None after an error; `invalid` is a bad regex's severity."""
    text = scalar.text
    if text == "*":
        return Everything()
    if text.startswith(REGEX_PREFIX):
        return regex(scalar, invalid, findings)
    if not text.startswith("/"):
        findings.error("invalid-path", scalar.span, f"the path {quoted(text)} doesn't start with `/`", _remedy(text))
        return None
    path, is_prefix = (text[:-1], True) if text.endswith("*") else (text, False)
    if ".*" in text:
        message = f"{quoted(text)} is no regular expression, and its `.` is an ordinary character"
        findings.warning("literal-star", scalar.span, message, f"write {quoted(spelled_out(text, '.*'))}")
    elif "*" in path:
        message = f"a `*` inside {quoted(text)} is an ordinary character; only one at the end is a wildcard"
        findings.warning("literal-star", scalar.span, message, f"write {quoted(spelled_out(text, '[^/]*'))}")
    elif found := placeholder(path):
        message = f"{quoted(found)} in {quoted(text)} stands for itself alone"
        parts = "[^/]+".join(map(re.escape, _PLACEHOLDER.split(path)))
        hint = f"write {quoted(f'{REGEX_PREFIX}^{parts}' + ('' if is_prefix else '$'))} for any name"
        findings.warning("literal-placeholder", scalar.span, message, hint)
    return PathPrefix(path) if is_prefix else ExactPath(normalize_path(path))


def _remedy(text: str) -> str:
    method, _, path = text.partition(" ")
    if method.isalpha() and path.startswith("/"):
        return f"write the path alone, and `methods: [{method.upper()}]` beside `paths`"
    if "://" in text:
        _, _, after_host = text.partition("://")[2].partition("/")
        return f"write the path alone: {quoted('/' + after_host)}"
    if "*" in text:
        return f"write {quoted(spelled_out(text, '.*'))}, or `*` for every route"
    return f"did you mean {quoted('/' + text.lstrip(' /'))}?"
