"""The scope of a rule, below `permit` or `forbid`: principal, resource and actions, or paths and methods."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from policy.fields import one_or_more_texts, one_text
from policy.issuers import Issuers, check_issuer
from policy.patterns import Weights, resource_pattern
from policy.regexes import REGEX_PREFIX
from policy.routes import METHODS, path_pattern
from policy.rule_parser import Frame, Shape
from policy.rules import AccessRule, Everything, ResourcePattern, RouteRule
from policy.shields import KnownShields, check_paths, check_required, check_resource
from policy.source.diagnostics import Findings, Severity, did_you_mean, quoted
from policy.tables import Tables
from policy.vocabulary import Action, Effect

_ACCESS_KEYS: Final = ("actions", "principal", "issuer", "resource")
_ROUTE_KEYS: Final = ("paths", "methods")
ACCESS: Final = Shape("access_policy", "an access rule", _ACCESS_KEYS, "route_policy", _ROUTE_KEYS, about_routes=False)
ROUTES: Final = Shape("route_policy", "a route rule", _ROUTE_KEYS, "access_policy", _ACCESS_KEYS, about_routes=True)


@dataclass(frozen=True, slots=True)
class Names:
    """The names that rules may use: of record tables, issuers and shields; None where shields are not looked at."""

    tables: Tables = field(default_factory=Tables)
    issuers: Issuers = field(default_factory=Issuers)
    shields: KnownShields | None = None


def access_rule(frame: Frame, lenient: bool, names: Names, findings: Findings) -> AccessRule | None:
    """Return the access rule of `frame` and its scope; None after an error that leaves no usable rule."""
    actions = tuple(Action(word) for word in _chosen(frame, "actions", tuple(Action), findings))
    _require(frame, "actions", "write `actions: [read]`, or more of create, read, update, delete", findings)
    principal = _principal(frame, names.issuers, findings)
    issuer = _issuer(frame, names.issuers, findings)
    resource = _resource(frame, lenient, names.tables, findings)
    if resource is None:
        return None
    check_resource(frame.shields, actions, resource, findings)
    return AccessRule(
        frame.index,
        frame.effect,
        principal,
        actions,
        resource,
        frame.conditions,
        frame.description,
        frame.span,
        issuer,
        _required(frame, names, findings),
    )


def route_rule(frame: Frame, lenient: bool, names: Names, findings: Findings) -> RouteRule:
    """Return the route rule of `frame` and its scope; not usable if an error was reported."""
    _require(frame, "paths", "write `paths: /v1/models`, or a list of paths", findings)
    entry = frame.scope.entries.get("paths")
    texts = one_or_more_texts(entry.node, "paths", findings) if entry else ()
    weight = _weight_of_invalid_pattern(frame, lenient)
    paths = tuple(path for text in texts if (path := path_pattern(text, weight, findings)) is not None)
    methods = tuple(
        dict.fromkeys("GET" if word == "HEAD" else word for word in _chosen(frame, "methods", METHODS, findings))
    )
    check_paths(frame.shields, paths, findings)
    required = _required(frame, names, findings)
    return RouteRule(
        frame.index, frame.effect, paths, methods, frame.conditions, frame.description, frame.span, required
    )


def _required(frame: Frame, names: Names, findings: Findings) -> tuple[str, ...]:
    if names.shields is None:
        return tuple(dict.fromkeys(scalar.text for scalar in frame.shields))
    return check_required(frame.shields, names.shields, findings)


def _weight_of_invalid_pattern(frame: Frame, lenient: bool) -> Severity:
    """Return the severity of an invalid pattern: it may drop a `permit`, never a `forbid`, which would widen access."""
    return Severity.ERROR if frame.effect is Effect.FORBID and not lenient else Severity.WARNING


def _resource(frame: Frame, lenient: bool, tables: Tables, findings: Findings) -> ResourcePattern | None:
    entry = frame.scope.entries.get("resource")
    if entry is None:
        return Everything()
    text = one_text(entry.node, "resource", findings)
    # No switch allows a `forbid` of a table that doesn't exist: it would only look like a protection.
    unknown_table = Severity.ERROR if frame.effect is Effect.FORBID else Severity.WARNING
    weights = Weights(_weight_of_invalid_pattern(frame, lenient), unknown_table)
    return resource_pattern(text, weights, tables, findings) if text else None


def _principal(frame: Frame, issuers: Issuers, findings: Findings) -> str | None:
    entry = frame.scope.entries.get("principal")
    scalar = one_text(entry.node, "principal", findings) if entry else None
    if scalar is None:
        return None
    if "*" in scalar.text or scalar.text.startswith(REGEX_PREFIX):
        message = f"{quoted(scalar.text)} is no pattern: a principal is compared as it is"
        findings.warning("literal-star", scalar.span, message, "leave `principal` out to mean everyone")
    if issuers.several and "issuer" not in frame.scope.entries:
        message = f"{quoted(scalar.text)} is another principal with each of the configured issuers"
        known = f", {did_you_mean('', issuers.names)}" if issuers.names else ""
        findings.error("principal-without-issuer", scalar.span, message, f"add `issuer` beside it{known}")
    return scalar.text


def _issuer(frame: Frame, issuers: Issuers, findings: Findings) -> str | None:
    entry = frame.scope.entries.get("issuer")
    scalar = one_text(entry.node, "issuer", findings) if entry else None
    return None if scalar is None else check_issuer(scalar, issuers, findings)


def _require(frame: Frame, key: str, hint: str, findings: Findings) -> None:
    if key not in frame.scope.entries:
        findings.error("missing-key", frame.effect_span, f"`{frame.effect}` has no `{key}`", hint)


def _chosen(frame: Frame, key: str, known: Collection[str], findings: Findings) -> list[str]:
    """Return the words of a field that takes known words only, each once, in the order written."""
    entry = frame.scope.entries.get(key)
    words: dict[str, None] = {}
    for scalar in one_or_more_texts(entry.node, key, findings) if entry else ():
        if scalar.text in known:
            words[scalar.text] = None
        else:
            message = f"{quoted(scalar.text)} is not one of the {key}"
            findings.error(f"unknown-{key.removesuffix('s')}", scalar.span, message, did_you_mean(scalar.text, known))
    return list(words)
