"""What a policy means, on one screen of plain Python: the oracle that every other altitude is compared with.

Written from the policy language alone, slow and obvious; shares nothing with the parser, the compiler or the server.
A principal is `{"id", "issuer", "attributes"}` or None for anonymous, a resource is `{"type", "names", "owner",
"origin"}`, with all the `types` that it goes by where there are several; an answer is (`permit` or `deny`, index of
the determining rule or None).
"""

from __future__ import annotations

import re
from typing import Any

from tests.reference.configuration import auth, authentication_configured

DEFAULT_POLICY = [
    {"permit": {"actions": "read"}, "when": ["user is authenticated", "resource is from config"]},
    {"forbid": {"actions": ["create", "update", "delete"]}, "when": "resource is from config"},
    {"permit": {"actions": "create"}, "when": "user is authenticated"},
    {"permit": {"actions": ["read", "update", "delete"]}, "when": "user is owner"},
]
WORD = re.compile(r'"[^"]*"|\S+')
HAS_VALUE = re.compile(r'user with (?:"([^"]*)"|(\S+)) (in|not in) (\S+)')
SHARES = re.compile(r"user (in|not in) owners? (\S+)")


def decide_access(config: Any, principal: Any, action: str, resource: Any) -> tuple[str, int | None]:
    """May the principal do this to the resource, and which rule of the access policy says so?"""
    if principal is None and not authentication_configured(config):
        return "permit", None
    owner = principal if action == "create" else resource["owner"]
    for index, (effect, scope, rule) in enumerate(rules(auth(config).get("access_policy", DEFAULT_POLICY))):
        if (
            scope.get("principal") in (None, principal and principal["id"])
            and scope.get("issuer") in (None, principal and principal["issuer"])
            and action in listed(scope["actions"])
            and names_resource(scope.get("resource", "*"), resource)
            and conditions_hold(rule, effect, principal, owner, resource["origin"])
        ):
            return effect, index
    return "deny", None


def decide_route(config: Any, principal: Any, method: str, path: str) -> tuple[str, int | None]:
    """May the principal use this route, and which rule of the route policy says so?"""
    path, method = path.rstrip("/") or "/", "GET" if method == "HEAD" else method
    off = principal is None and not authentication_configured(config)
    if principal is None and not off and (method, path) not in [("GET", "/v1/health"), ("GET", "/v1/version")]:
        return "deny", None
    if "route_policy" not in auth(config):
        return "permit", None
    for index, (effect, scope, rule) in enumerate(rules(auth(config)["route_policy"])):
        if (
            not (off and ("when" in rule or "unless" in rule))
            and method in ["GET" if one == "HEAD" else one for one in listed(scope.get("methods", method))]
            and any(names_path(pattern, path) for pattern in listed(scope["paths"]))
            and conditions_hold(rule, effect, principal, None, None)
        ):
            return effect, index
    return "deny", None


def rules(policy: Any) -> list[tuple[str, Any, Any]]:
    """Of each rule what it decides, its scope, and the whole of it."""
    return [("permit", rule["permit"], rule) if "permit" in rule else ("deny", rule["forbid"], rule) for rule in policy]


def conditions_hold(rule: Any, effect: str, principal: Any, owner: Any, origin: str | None) -> bool:
    """`when` needs all of its conditions; `unless` applies unless all of them hold."""

    def holds(condition: str, *, flipped: bool) -> bool:
        fact, negative, about_principal = read(spaced(condition), principal, owner, origin)
        if negative == flipped:
            return fact
        return not fact and not (about_principal and principal is None and effect == "permit")

    if "unless" in rule:
        return any(holds(condition, flipped=True) for condition in listed(rule["unless"]))
    return all(holds(condition, flipped=False) for condition in listed(rule.get("when", [])))


def spaced(condition: str) -> str:
    """The condition with one blank between its words."""
    return " ".join(WORD.findall(condition))


def read(condition: str, principal: Any, owner: Any, origin: str | None) -> tuple[bool, bool, bool]:
    """Of one condition: is its positive form a fact, is it negative, does it speak of the principal?"""
    mine, theirs = (principal or {}).get("attributes", {}), (owner or {}).get("attributes", {})
    if found := HAS_VALUE.fullmatch(condition):
        value = found[2] if found[1] is None else found[1]
        return value in mine.get(found[4], []), found[3] == "not in", True
    if found := SHARES.fullmatch(condition):
        return bool({*mine.get(found[2], [])} & {*theirs.get(found[2], [])}), found[1] == "not in", True
    same = bool(principal and owner) and all(principal[key] == owner[key] for key in ("id", "issuer"))
    return {
        "user is owner": (same, False, True),
        "user is not owner": (same, True, True),
        "user is authenticated": (principal is not None, False, True),
        "resource is unowned": (owner is None, False, False),
        "resource is from config": (origin == "config", False, False),
    }[condition]


def names_resource(pattern: str, resource: Any) -> bool:
    """Does the pattern match one of the resource's names, under one of the spellings of its type?"""
    vector = ["vector_db", "vector_store"]
    spellings = vector if resource["type"] in vector else resource.get("types", [resource["type"]])
    subjects = [f"{kind}::{name}" for kind in spellings for name in resource["names"]]
    if pattern.startswith("regex:"):
        return any(matches(pattern, subject) for subject in subjects)
    if pattern in ("*", "sql_record::*"):
        return pattern == "*" or resource["type"].startswith("sql_record::")
    return pattern in subjects or any(pattern in (kind, f"{kind}::", f"{kind}::*") for kind in spellings)


def names_path(pattern: str, path: str) -> bool:
    """Does the pattern of a route rule match the path?"""
    if pattern.startswith("regex:"):
        return matches(pattern, path)
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == (pattern.rstrip("/") or "/")


def matches(pattern: str, subject: str) -> bool:
    """Python's `re.match`; an invalid pattern never matches."""
    try:
        return re.match(pattern.removeprefix("regex:"), subject) is not None
    except re.error:
        return False


def listed(value: Any) -> list[Any]:
    """One value or a list of them, as a list."""
    return value if isinstance(value, list) else [value]
