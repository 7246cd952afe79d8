"""Lints of paths in route rules that match no route of this server."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from policy.lints.languages import starts
from policy.lints.overlaps import may_be_below, routes_of
from policy.lints.places import Places, listed
from policy.routes import normalize_path
from policy.rules import ExactPath, PathPattern, PathPrefix, Regex, RouteRule
from policy.served_routes import LATER, SERVED
from policy.source.diagnostics import Findings, Span, quoted
from policy.source.document import Scalar
from policy.vocabulary import Effect

_MOST_TOLD: Final = 20
"""Paths of a policy that are told one by one: to look for near ones takes time."""


def report_unknown_routes(rules: Sequence[RouteRule], places: Places, findings: Findings) -> set[Span]:
    """Warn of each path that matches no route, with the nearest route; paths of later versions count in permits only.

    Returns the places of all paths that match no route.
    """
    unknown: list[tuple[RouteRule, PathPattern, Scalar]] = []
    for rule in rules:
        for path, scalar in zip(rule.paths, places.scope(rule, "paths"), strict=True):
            if not _is_odd(path, scalar.text) and not routes_of(path, rule.methods):
                unknown.append((rule, path, scalar))
    for rule, path, scalar in unknown[:_MOST_TOLD]:
        _report(rule, path, scalar, findings)
    if rest := unknown[_MOST_TOLD:]:
        message = f"this path and {len(rest) - 1} after it match no route of this server either"
        hint = "`docs/api/api.md` lists every route"
        findings.warning("unknown-route", rest[0][2].span, message, hint)
    return {scalar.span for _, _, scalar in unknown}


def about_unserved(method: str, path: str) -> str:
    """Return the sentence about a request for which there is no route; an empty text where there is one."""
    exact = ExactPath(normalize_path(path))
    found = routes_of(exact)
    if any(served.method == ("GET" if method == "HEAD" else method) for served in found):
        return ""
    if found:
        taken = listed(list(dict.fromkeys(served.method for served in found)), most=5)
        return f"no route of this server at {quoted(path)} takes {method}; the routes there take {taken}"
    return f"no route of this server matches {quoted(path)}; {_nearest(exact)}"


def _is_odd(path: PathPattern, text: str) -> bool:
    """Return whether the path has been reported: it never matches, or holds a star that is no wildcard."""
    if isinstance(path, Regex):
        return not path.valid
    return ".*" in text or "*" in text[:-1]


def _report(rule: RouteRule, path: PathPattern, scalar: Scalar, findings: Findings) -> None:
    shown = quoted(scalar.text)
    if found := routes_of(path):
        methods = listed(rule.methods, most=len(rule.methods))
        taken = listed(list(dict.fromkeys(served.method for served in found)), most=5)
        message = f"no route of this server at {shown} takes {methods}"
        findings.warning("unknown-route", scalar.span, message, f"the routes there take {taken}")
    elif any(may_be_below(path, beginning) for beginning in LATER):
        if rule.effect is Effect.PERMIT:
            message = f"this version of the server has no route at {shown}, so the path opens nothing yet"
            hint = "remove it, unless it is meant for whatever a later version serves there"
            findings.warning("later-route", scalar.span, message, hint)
    else:
        message = f"no route of this server matches {shown}"
        findings.warning("unknown-route", scalar.span, message, _nearest(path))


def _nearest(path: PathPattern) -> str:
    """Return the nearest route, or the nearest beginning of routes."""
    if isinstance(path, Regex):
        beginnings = [_beginning_near(start.text) for start in starts(path.pattern)]
        found = list(dict.fromkeys(text.rstrip("/") for text in beginnings if text is not None))
        return f"did you mean paths that begin with {listed([quoted(text) for text in found])}?" if found else _NO_IDEA
    text = path.path if isinstance(path, ExactPath) else path.prefix if isinstance(path, PathPrefix) else ""
    if isinstance(path, ExactPath):
        if any(served.path.startswith(f"{text}/") for served in SERVED):
            return f"write {quoted(text + '/*')} for what is below it"
        near = _near(text, [served.path for served in SERVED])
        return f"did you mean {quoted(near)}?" if near is not None and "{" not in near else _or_below(text)
    return _or_below(text)


_NO_IDEA: Final = "`docs/api/api.md` lists every route"


def _or_below(text: str) -> str:
    near = _beginning_near(text)
    return _NO_IDEA if near is None else f"did you mean {quoted(near + '*')}?"


def _beginning_near(text: str) -> str | None:
    """Return the beginning of routes that is nearest to a text that begins none."""
    heads = {served.path.partition("{")[0] for served in SERVED}
    heads |= {head[: place + 1] for head in heads for place, char in enumerate(head) if char == "/" and place}
    return _near(text, [*heads, *(head.rstrip("/") for head in heads)])


def _near(text: str, known: Sequence[str]) -> str | None:
    # Every path has the same beginning, so that only the rest is compared.
    tails = {_tail(path): path for path in sorted(set(known)) if _tail(path)}
    close = get_close_matches(_tail(text.lower()), tails, n=1, cutoff=0.6)
    return tails[close[0]] if close else None


def _tail(path: str) -> str:
    return path.removeprefix("/v1").removeprefix("/")
