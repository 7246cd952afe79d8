"""The rules of the access policy about one type of resources, for pages that only such a rule can permit.

Whether a rule permits something is decided by the policy engine alone; this says which rules were written for what.
"""

from __future__ import annotations

from policy.expressions import literal_starts
from policy.parser import parse_access_policy
from policy.rules import ExactName, OfType, Regex, ResourcePattern
from policy.source.diagnostics import Findings
from policy.source.document import Node
from server.config import AuthConfig


def rules_about(auth: AuthConfig, kind: str) -> frozenset[str]:
    """Return the names of the rules whose resource pattern begins with the type `kind`, such as `access_policy[3]`.

    A regular expression counts if each of its alternatives begins with `kind::`.
    """
    policy = auth.access_policy
    if not isinstance(policy, Node):
        return frozenset()
    # Errors have been reported before; rules with errors are left out here as there.
    rules = parse_access_policy(policy, Findings(), auth.lenient_patterns)
    return frozenset(f"access_policy[{rule.index}]" for rule in rules if _is_about(rule.resource, kind))


def _is_about(pattern: ResourcePattern, kind: str) -> bool:
    match pattern:
        case ExactName(type=named) | OfType(type=named):
            return named == kind
        case Regex(valid=True):
            starts = literal_starts(pattern)
            return bool(starts) and all(start.startswith(f"{kind}::") for start in starts)
    return False
