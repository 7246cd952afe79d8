"""Bodies of Rego for the scope and the conditions of a rule.

Each test keeps the words of the policy beside its Rego, so that an explanation can name the test that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from policy.rules import (
    AccessRule,
    EveryRecord,
    Everything,
    ExactName,
    ExactPath,
    OfType,
    PathPattern,
    PathPrefix,
    Regex,
    ResourcePattern,
    RouteRule,
)
from policy.tables import Tables
from policy.vocabulary import RECORD_PREFIX, Action
from translators.codegen.conditions import Body, Listing, Test, about_the_caller, condition_bodies
from translators.codegen.listings import listed_types, may_be_listed
from translators.codegen.text import equals_any, raw_literal, string_literal
from translators.codegen.type_guards import type_guard
from translators.regex import Start, Translation

Dialect = Callable[[Regex], Translation | None]
"""Translates one pattern of a policy, or answers None for one that never matches."""

_RESOURCE_TYPE: Final = "input.resource.type"
_LISTED_TYPE: Final = "input.type"

_TELLING: Final = 3
"""Characters of a text that is looked for before a match is tried."""


def access_bodies(rule: AccessRule, dialect: Dialect, tables: Tables) -> tuple[Body, ...]:
    """Return the bodies under which an access rule applies; none if its pattern never matches.

    A question names a table by its standard name, so that each of a table's names in `tables` is translated to it.
    """
    scope: list[Test] = []
    if len(rule.actions) < len(Action):
        scope.append(_action_test([action for action in Action if action in rule.actions]))
    resource = _resource_test(rule.resource, dialect, tables)
    if resource is None:
        return ()
    scope.extend(resource)
    if rule.principal is not None:
        literal = string_literal(rule.principal)
        scope.append(about_the_caller(f"principal is {literal}", f"input.principal.id == {literal}"))
    if rule.issuer is not None:
        literal = string_literal(rule.issuer)
        scope.append(about_the_caller(f"issuer is {literal}", f"input.principal.issuer == {literal}"))
    return tuple(tuple(scope) + tail for tail in condition_bodies(rule.conditions, rule.effect))


def route_bodies(rule: RouteRule, dialect: Dialect) -> tuple[Body, ...]:
    """Return the bodies under which a route rule applies; none if none of its patterns ever matches."""
    scope: list[Test] = []
    if rule.methods:
        methods = sorted({*rule.methods, "HEAD"} if "GET" in rule.methods else rule.methods)
        scope.append(Test(f"method is {' or '.join(methods)}", (equals_any("input.route.method", methods),)))
    if rule.conditions is not None:
        scope.append(Test("authentication is configured", ("not conditions.authentication_off",)))
    tails = condition_bodies(rule.conditions, rule.effect)
    return tuple(tuple(scope) + path + tail for path in _path_alternatives(rule.paths, dialect) for tail in tails)


def _action_test(wanted: list[Action]) -> Test:
    # A record that is about to be created isn't in any list.
    listed = [action for action in wanted if action is not Action.CREATE]
    listings = (Listing((equals_any("input.action", listed),)),) if listed else ()
    return Test(f"action is {' or '.join(wanted)}", (equals_any("input.action", wanted),), listings)


def _resource_test(pattern: ResourcePattern, dialect: Dialect, tables: Tables) -> tuple[Test, ...] | None:
    match pattern:
        case Everything():
            return ()
        case OfType(type=kind):
            line = equals_any(_RESOURCE_TYPE, [kind])
            listing = Listing((equals_any(_LISTED_TYPE, [kind]),))
            return (Test(f"resource is of type {kind}", (line,), (listing,) if may_be_listed(kind) else ()),)
        case EveryRecord():
            prefix = string_literal(RECORD_PREFIX)
            listing = Listing((f"startswith({_LISTED_TYPE}, {prefix})",))
            return (Test("resource is a record", (f"startswith({_RESOURCE_TYPE}, {prefix})",), (listing,)),)
        case ExactName(type=kind, name=name):
            literal = string_literal(name)
            lines = (equals_any(_RESOURCE_TYPE, [kind]), f"{literal} in input.resource.names")
            listing = Listing((equals_any(_LISTED_TYPE, [kind]),), (("name_is", name),))
            return (Test(f"resource is {kind}::{name}", lines, (listing,) if may_be_listed(kind) else ()),)
        case Regex():
            return _subject_test(pattern, dialect, tables)


def _subject_test(pattern: Regex, dialect: Dialect, tables: Tables) -> tuple[Test, ...] | None:
    translation = dialect(pattern)
    if translation is None:
        return None
    lines = (
        *type_guard(translation.literal_prefix, _RESOURCE_TYPE, tables),
        "some name in subject.subjects",
        *_matches(translation, "name"),
    )
    listings = tuple(listing for start in translation.starts for listing in _listed_subject(start, translation, tables))
    return (Test(f"resource matches regex:{pattern.pattern}", lines, listings),)


def _listed_subject(start: Start, translation: Translation, tables: Tables) -> Iterator[Listing]:
    """Yield the tests that replace a pattern in lists: its type, the beginning of the subject, and the rest where
    needed.

    For a type whose subjects the pattern can't match there is no test, and its rows are never read.
    """
    if not may_be_listed(start.text):
        return
    beginning = (("subject_starts_with", start.text),) if start.text else ()
    facts = beginning + (() if start.complete else _unfinished(start, translation))
    guard = type_guard(start.text, _LISTED_TYPE, tables)
    if guard and not guard[0].startswith("startswith"):
        yield Listing(guard, facts)
        return
    known = listed_types(tables)
    possible = [
        kind for kind, beginnings in known.items() if any(_may_begin(start, translation, one) for one in beginnings)
    ]
    if possible == [kind for kind in known if kind.startswith(RECORD_PREFIX)]:
        yield Listing(type_guard(RECORD_PREFIX, _LISTED_TYPE, tables), facts)
    elif len(possible) == len(known):
        yield Listing((), facts)
    elif possible:
        yield Listing((equals_any(_LISTED_TYPE, possible),), facts)


def _unfinished(start: Start, translation: Translation) -> tuple[tuple[str, ...], ...]:
    """Return the tests behind a beginning: text that each match contains, which a database finds, and the question."""
    required = _telling(translation)
    # A text with a colon may lie half in the type, where no database looks for it. PostgreSQL takes none with NUL.
    if not required or required in start.text or ":" in required or "\0" in required:
        return (("undecided",),)
    return (("subject_contains", required), ("undecided",))


def _may_begin(start: Start, translation: Translation, beginning: str) -> bool:
    fits = beginning.startswith(start.text) or start.text.startswith(beginning)
    return fits and translation.may_match(beginning)


def _path_alternatives(paths: tuple[PathPattern, ...], dialect: Dialect) -> Iterator[Body]:
    if any(isinstance(path, Everything) for path in paths):
        yield ()
        return
    exact = list(dict.fromkeys(path.path for path in paths if isinstance(path, ExactPath)))
    if exact:
        yield (Test(f"path is {' or '.join(exact)}", (equals_any("input.route.path", exact),)),)
    prefixes = list(dict.fromkeys(path.prefix for path in paths if isinstance(path, PathPrefix)))
    if prefixes:
        yield (Test(f"path starts with {' or '.join(prefixes)}", (_starts_with_any("input.route.path", prefixes),)),)
    for path in paths:
        translation = dialect(path) if isinstance(path, Regex) else None
        if isinstance(path, Regex) and translation is not None:
            prefix = translation.literal_prefix
            guard = (_starts_with_any("input.route.path", [prefix]),) if prefix else ()
            lines = (*guard, *_matches(translation, "input.route.path"))
            yield (Test(f"path matches regex:{path.pattern}", lines),)


def _starts_with_any(reference: str, prefixes: list[str]) -> str:
    literals = [string_literal(prefix) for prefix in prefixes]
    if len(literals) == 1:
        return f"startswith({reference}, {literals[0]})"
    return f"strings.any_prefix_match({reference}, {{{', '.join(literals)}}})"


def _matches(translation: Translation, reference: str) -> Iterator[str]:
    """Yield the lines that say that the text at `reference` matches."""
    if required := _telling(translation):
        yield f"contains({reference}, {string_literal(required)})"
    for pattern in translation.positives:
        yield f"regex.match({raw_literal(pattern)}, {reference})"
    for pattern in translation.negatives:
        yield f"not regex.match({raw_literal(pattern)}, {reference})"


def _telling(translation: Translation) -> str:
    """Return text that each match contains and few others do; empty where the pattern has none."""
    required = translation.required_text
    # The prefix is tested before, and shorter texts are in most names.
    return required if len(required) >= _TELLING and required not in translation.literal_prefix else ""
