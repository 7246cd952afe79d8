"""The pieces of a line of the decision log: its head, its outcome, and texts that no value can break out of."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from json.encoder import encode_basestring_ascii

from policy.vocabulary import Anonymous, Decision, Principal, Resource, Route
from server.authz.decision_log.limits import MOST_TEXT


class LineKind(StrEnum):
    """The kinds of lines that are written."""

    ROUTE = "route"
    RESOURCE = "resource"
    RESOURCES = "resources"
    LIST = "list"
    QUOTA = "quota"
    SHIELD = "shield"
    REFUSALS = "refusals"
    PROBES = "probes"


def subject(resource: Resource, made: Sequence[str] = ()) -> str:
    """Return `type::name`, with the canonical name or the one id that is made; nothing after the colons for several."""
    name = resource.names[0] if resource.names else made[0] if len(made) == 1 else ""
    return f"{resource.type}::{name}"


def head_of(
    kind: LineKind, request_id: str, decision_id: str | None, caller: Principal | Anonymous, revision: str | None
) -> str:
    """Return the beginning of every line, with the brace that opens it: when it is, whom and which request it is about.

    Null stands for what is None, and for a caller without a token.
    """
    return head_about(kind, about_of(request_id, decision_id, caller, revision))


def head_about(kind: LineKind, about: str) -> str:
    """Return the beginning of a line that is written now; `about` is what `about_of` returns."""
    return f'{{"time":"{now()}","kind":"{kind}",{about}'


def about_of(request_id: str, decision_id: str | None, caller: Principal | Anonymous, revision: str | None) -> str:
    """Return the members that all lines about one decision have in common."""
    principal = caller if isinstance(caller, Principal) else None
    identity = "null" if principal is None else encode_basestring_ascii(principal.id)
    issuer = "null" if principal is None else encode_basestring_ascii(principal.issuer)
    return (
        f'"request_id":{encode_basestring_ascii(request_id)},'
        f'"decision_id":{json_text(decision_id)},"revision":{json_text(revision)},"principal":{identity},"issuer":{issuer}'
    )


def route_text(route: Route) -> str:
    """Return the method and the path as JSON."""
    return json_text(shortened(f"{route.method} {route.path}"))


def shortened(text: str) -> str:
    """Return the text, or of a long one its beginning and its length: callers choose paths and names."""
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}...({len(text)} characters)"


def outcome_of(decision: Decision | str | None) -> str:
    """Return the members that tell of a decision, or of the reason as a text why there is none."""
    if isinstance(decision, Decision):
        return outcome_members(decision.verdict, decision.rule, decision.source, decision.description, decision.reason)
    return outcome_members("unavailable", None, None, None, decision)


@lru_cache(maxsize=512)
def outcome_members(
    effect: str, rule: str | None, source: str | None, description: str | None, reason: str | None
) -> str:
    """Return the effect, the rule and the reason as members of a line; kept, since a policy has few rules."""
    return (
        f'"effect":{json_text(effect)},"rule":{json_text(rule)},"source":{json_text(source)},'
        f'"description":{json_text(description)},"reason":{json_text(reason)}'
    )


def json_text(value: str | None) -> str:
    """Return the value as JSON: all but printable ASCII is escaped, so that no value ends a line."""
    return "null" if value is None else encode_basestring_ascii(value)


def json_number(value: int | None) -> str:
    """Return the value as JSON."""
    return "null" if value is None else str(value)


def now() -> str:
    """Return the time in UTC, RFC 3339, to the millisecond."""
    second, fraction = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(second)}.{fraction // 1_000_000:03d}Z"


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
