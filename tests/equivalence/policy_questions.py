"""Random questions for a policy, most of them aimed at what one of its rules is about."""

from __future__ import annotations

import random
from typing import Any

IDS = ["ann", "ben", 'o"brien', "système", "back\\slash", "`", "user:with:colons"]
ISSUERS = ["", "https://a.example", "https://b.example"]
ATTRIBUTES = ["roles", "teams", "cost-größe"]
VALUES = ["admin", "dev", "machine learning", "é", "e\u0301", "*", "not", "in", 'a"b', "42", "${x}"]
TYPES = ["model", "vector_store", "prompt", "tool", "sql_record::openai_files", "sql_record::responses"]
NAMES = ["a", "b", "a*", "llama-3", "vllm/llama-3", "ünï", 'q"uote`', "x::y", "a\nb", "A"]
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
    if "access_policy" in auth and chance.random() < 0.8:
        action, kind, names = aimed_access(chance, scope_of(chance.choice(auth["access_policy"])), caller)
    else:
        action, kind, names = chance.choice(ACTIONS), chance.choice(TYPES), [chance.choice(NAMES)]
    names = list(dict.fromkeys([*names, *chance.sample(NAMES, chance.randrange(3))]))
    chance.shuffle(names)
    resource = {
        "type": kind,
        "names": names,
        "owner": chance.choice([None, caller, principal(chance), principal(chance)]),
        "origin": chance.choice(["created", "config"]),
    }
    asked = {"action": action, "resource": resource}
    anonymous = public_route(chance) if chance.random() < 0.5 else route(chance, auth)
    return [
        {"principal": caller, "route": route(chance, auth), **asked},
        {"principal": None, "route": anonymous, **asked},
    ]


def principal(chance: random.Random) -> dict[str, Any]:
    """Somebody, with some, no or absent values of each attribute."""
    return {
        "id": chance.choice(IDS),
        "issuer": chance.choice(ISSUERS),
        "attributes": {name: values(chance) for name in ATTRIBUTES if chance.random() < 0.7},
    }


def values(chance: random.Random) -> list[str]:
    """Up to three values, half of them from the four commonest."""
    return [chance.choice(chance.choice([VALUES[:4], VALUES])) for _ in range(chance.randrange(4))]


def aimed_access(chance: random.Random, scope: dict[str, Any], caller: dict[str, Any]) -> tuple[str, str, list[str]]:
    """Action, type and name that the scope of a rule may be about; the caller becomes the one it names."""
    if "principal" in scope and chance.random() < 0.7:
        caller["id"] = scope["principal"]
    pattern = scope.get("resource", "*")
    kinds = [kind for kind in TYPES if kind in pattern.replace("vector_db", "vector_store")]
    name = pattern.rpartition("::")[2]
    names = [name] if name in NAMES else [chance.choice(NAMES)]
    return chance.choice(listed(scope["actions"])), chance.choice(kinds or TYPES), names


def route(chance: random.Random, auth: dict[str, Any]) -> dict[str, str]:
    """A route, mostly one that a rule of the route policy may be about."""
    method, path = chance.choice([*METHODS, "get"]), chance.choice(PATHS)
    if "route_policy" in auth and chance.random() < 0.8:
        scope = scope_of(chance.choice(auth["route_policy"]))
        method = chance.choice(listed(scope.get("methods", METHODS)))
        pattern = chance.choice(listed(scope["paths"]))
        if pattern.startswith("/"):
            path = pattern[:-1] + chance.choice(["", "a", "/x"]) if pattern.endswith("*") else pattern
    return {"method": method, "path": path or "/"}


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
