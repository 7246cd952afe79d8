"""What a policy means to Llama Stack, in a few lines of plain Python, for a law about imports.

Written from the documentation and the behaviour of Llama Stack. A principal is `{"id", "attributes"}`, an owner is one
or None; rules are plain data, as YAML reads them.
"""

from __future__ import annotations

import re
from typing import Any


def may_do(policy: Any, principal: Any, action: str, subject: str, owner: Any) -> bool:
    """Does the first rule that applies to `subject` (`model::a`) permit it?"""
    for rule in policy:
        scope = rule.get("permit") or rule.get("forbid")
        if (
            action in scope["actions"]
            and scope.get("principal") in (None, "", principal["id"])
            and names_resource(scope.get("resource"), subject)
            and applies(rule, principal, owner, every=True)
        ):
            return "permit" in rule
    return False


def may_use(policy: Any, principal: Any, path: str) -> bool:
    """Does the first rule that applies to the path permit it?"""
    path = path.rstrip("/") or "/"
    for rule in policy:
        paths = listed((rule.get("permit") or rule.get("forbid"))["paths"])
        if any(names_path(pattern, path) for pattern in paths) and applies(rule, principal, None, every=False):
            return "permit" in rule
    return False


def applies(rule: Any, principal: Any, owner: Any, *, every: bool) -> bool:
    """`when` needs all conditions. `unless` needs one that fails; in a route rule (not `every`), all that fail."""
    if rule.get("when"):
        return all(holds(one, principal, owner) for one in listed(rule["when"]))
    if rule.get("unless"):
        facts = [holds(one, principal, owner) for one in listed(rule["unless"])]
        return not all(facts) if every else not any(facts)
    return True


def holds(condition: str, principal: Any, owner: Any) -> bool:
    """Is the condition, word by word, a fact?"""
    mine, theirs = principal["attributes"], (owner or {}).get("attributes", {})
    words = condition.split()
    negated = "not" in words[:-1] and not (words[:2] == ["user", "with"] and words[2] == "not")
    match [word for word in words if not (negated and word == "not")]:
        case ["user", "with", value, "in", name]:
            fact = value in mine.get(name, [])
        case ["user", "in", "owners", name]:
            fact = bool(set(mine.get(name, [])) & set(theirs.get(name, [])))
        case ["user", "is", "owner"]:
            fact = owner is not None and owner["id"] == principal["id"]
        case ["resource", "is", "unowned"]:
            fact = owner is None
        case _:
            raise ValueError(condition)
    return fact != negated


def names_resource(pattern: str | None, subject: str) -> bool:
    """Is the subject the pattern, begins it with the pattern in front of a final `*`, or matches it a `regex:`?"""
    if not pattern or pattern == subject:
        return True
    if pattern.startswith("regex:"):
        return matches(pattern, subject)
    return pattern.endswith("::*") and subject.startswith(pattern.removesuffix("*"))


def names_path(pattern: str, path: str) -> bool:
    """The same for a path, whose prefixes end in any `*`."""
    if pattern.startswith("regex:"):
        return matches(pattern, path)
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern.removesuffix("*")))


def matches(pattern: str, text: str) -> bool:
    """Python's `re.match`; an invalid pattern never matches."""
    try:
        return re.match(pattern.removeprefix("regex:"), text) is not None
    except re.error:
        return False


def listed(value: Any) -> list[Any]:
    """One value or a list of them, as a list."""
    return value if isinstance(value, list) else [value]
