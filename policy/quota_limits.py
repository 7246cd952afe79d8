"""Quota rules: the entries of `server.quota.limits`, read as rules about every route."""

from __future__ import annotations

from policy.fields import description, kind_of
from policy.rule_parser import conditions_of
from policy.rules import Everything, RouteRule
from policy.source.diagnostics import Findings
from policy.source.document import Mapping, Scalar, Sequence
from policy.vocabulary import Effect

NAME = "server.quota.limits"


def read_limits(server: Mapping, findings: Findings) -> tuple[RouteRule, ...]:
    """Return the rules, in their order; the server reads the other keys of an entry (the numbers)."""
    quota = server.entries.get("quota")
    listed = quota.node.entries.get("limits") if quota is not None and isinstance(quota.node, Mapping) else None
    if listed is None:
        return ()
    if not isinstance(listed.node, Sequence):
        findings.error("not-a-list", listed.node.span, f"`limits` takes a list, not {kind_of(listed.node)}")
        return ()
    rules = []
    for index, item in enumerate(listed.node.items):
        if not isinstance(item, Mapping):
            findings.error("not-a-mapping", item.span, f"a limit is a mapping, not {kind_of(item)}")
            continue
        conditions = conditions_of(item, True, findings)
        if conditions is None:
            hint = "write `when: user with NAME in roles`; for everyone there is `authenticated_max_requests`"
            findings.error("missing-key", item.span, "a limit has no `when` and no `unless`", hint)
            continue
        words = item.entries.get("description")
        text = description(words.node, findings) if words is not None and isinstance(words.node, Scalar) else ""
        rules.append(RouteRule(index, Effect.PERMIT, (Everything(),), (), conditions, text, item.span))
    return tuple(rules)
