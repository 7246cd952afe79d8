"""Random questions for a policy, most of them aimed at what one of its rules is about."""

from __future__ import annotations

import random
from typing import Any

from tests.reference import model

IDS = ["ann", "ben", 'o"brien', "système", "back\\slash", "`", "user:with:colons"]
ISSUERS = ["", "https://a.example", "https://b.example"]
ATTRIBUTES = ["roles", "teams", "projects", "namespaces", "cost-größe"]
VALUES = ["admin", "dev", "machine learning", "é", "e\u0301", "*", "not", "in", 'a"b', "42", "${x}"]
TYPES = ["model", "vector_store", "prompt", "tool", "sql_record::openai_files", "sql_record::responses"]
FILES = "sql_record::openai_files"
STORAGE = {"stores": {"files": {"backend": "sql", "table_name": "my_files"}}}
"""The section of every configuration here that gives the table of files a second name."""

NAMES = ["a", "b", "a*", "llama-3", "vllm/llama-3", "ünï", 'q"uote`', "x::y", "x::*", "a\nb", "A"]
PATHS = [
    "/",
    "/v1",
    "/v1/files",
    "/v1/files/a",
    "/v1/filesystem",
    "/v1/models/vllm/llama-3",
    "/v1/health",
    "/v1/version",
]
PATHS += ["/v1/health/ready", "/v1/ünï", '/v1/q"uote`', "/v1/a*b", "/v1/files/"]
METHODS = ["GET", "POST", "DELETE", "HEAD", "OPTIONS"]
ACTIONS = ["create", "read", "update", "delete"]


def questions(chance: random.Random, auth: dict[str, Any]) -> list[dict[str, Any]]:
    """One question about a route and a resource, asked by somebody and by nobody, as the engine is asked."""
    caller = principal(chance)
    action, kind, name = chance.choice(ACTIONS), chance.choice(TYPES), chance.choice(NAMES)
    if "access_policy" in auth and chance.random() < 0.8:
        rule = chance.choice(auth["access_policy"])
        action = chance.choice(listed(scope_of(rule)["actions"]))
        kind, name = chance.choice(matched(scope_of(rule)) or [(kind, name)])
        aim_caller(chance, rule, caller)
    names = list(dict.fromkeys([name, *chance.sample(NAMES, chance.randrange(3))]))
    chance.shuffle(names)
    resource = {
        **typed(kind),
        "names": names,
        "owner": owner(chance, caller),
        "origin": chance.choice(["created", "config"]),
    }
    asked = {"action": action, "resource": resource}
    anonymous = public_route(chance) if chance.random() < 0.5 else route(chance, auth, {"attributes": {}})
    return [
        {"principal": caller, "route": route(chance, auth, caller), **asked},
        {"principal": None, "route": anonymous, **asked},
    ]


def typed(kind: str) -> dict[str, Any]:
    """The type, with its names if it has several, as questions have it under a configuration with `STORAGE`."""
    return {"type": kind, "types": [FILES, "sql_record::my_files"]} if kind == FILES else {"type": kind}


def matched(scope: dict[str, Any]) -> list[tuple[str, str]]:
    """Types and names that the scope of a rule is about; the reference model helps to aim, and judges later."""
    pattern = scope.get("resource", "*")
    pairs = [(kind, name) for kind in TYPES for name in NAMES]
    return [(kind, name) for kind, name in pairs if model.names_resource(pattern, {**typed(kind), "names": [name]})]


def aim_caller(chance: random.Random, rule: dict[str, Any], caller: dict[str, Any]) -> None:
    """Give the caller, often, the id that a rule names and a value that it asks for."""
    if "principal" in scope_of(rule) and chance.random() < 0.8:
        caller["id"] = scope_of(rule)["principal"]
    if "issuer" in scope_of(rule) and chance.random() < 0.8:
        caller["issuer"] = scope_of(rule)["issuer"]
    for condition in listed(rule.get("when", [])) + listed(rule.get("unless", [])):
        found = model.HAS_VALUE.fullmatch(model.spaced(condition))
        if found and chance.random() < 0.5:
            caller["attributes"].setdefault(found[4], []).append(found[1] or found[2])


def principal(chance: random.Random) -> dict[str, Any]:
    """Somebody, with some, no or absent values of each attribute."""
    return {
        "id": chance.choice(IDS),
        "issuer": chance.choice(ISSUERS),
        "attributes": {name: values(chance) for name in ATTRIBUTES if chance.random() < 0.7},
    }


def owner(chance: random.Random, caller: dict[str, Any]) -> dict[str, Any] | None:
    """Nobody, the caller, or somebody who has some, all or none of what the caller has."""
    attributes = caller["attributes"]
    return chance.choice(
        [
            None,
            caller,
            {**caller, "issuer": chance.choice(ISSUERS)},
            {**caller, "attributes": {}},
            {**principal(chance), "attributes": {name: attributes[name] for name in sorted(attributes)[::2]}},
            {**principal(chance), "attributes": {}},
            principal(chance),
            principal(chance),
        ]
    )


def values(chance: random.Random) -> list[str]:
    """Up to three values, half of them from the four commonest."""
    return [chance.choice(chance.choice([VALUES[:4], VALUES])) for _ in range(chance.randrange(4))]


def route(chance: random.Random, auth: dict[str, Any], caller: dict[str, Any]) -> dict[str, str]:
    """A route, mostly one that a rule of the route policy is about."""
    method, path = chance.choice([*METHODS, "get"]), chance.choice(PATHS)
    if "route_policy" in auth and chance.random() < 0.8:
        rule = chance.choice(auth["route_policy"])
        method = chance.choice(listed(scope_of(rule).get("methods", METHODS)))
        pattern = chance.choice(listed(scope_of(rule)["paths"]))
        path = chance.choice([path for path in PATHS if model.names_path(pattern, path)] or [path])
        aim_caller(chance, rule, caller)
    return {"method": method, "path": path}


def public_route(chance: random.Random) -> dict[str, str]:
    """A route that may be open to everybody."""
    return {
        "method": chance.choice(["GET", "GET", "HEAD", "POST"]),
        "path": chance.choice(["/v1/health", "/v1/version"]),
    }


def scope_of(rule: dict[str, Any]) -> dict[str, Any]:
    """What stands below `permit` or `forbid`."""
    scope: dict[str, Any] = rule["permit"] if "permit" in rule else rule["forbid"]
    return scope


def listed(value: Any) -> list[Any]:
    """One value or a list of them, as a list."""
    return value if isinstance(value, list) else [value]
