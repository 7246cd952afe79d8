"""The syntax tree of a policy: rules, patterns and conditions, each with its place in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from policy.issuers import Issuers
from policy.source.diagnostics import Span
from policy.tables import Tables
from policy.vocabulary import Action, Effect


@dataclass(frozen=True, slots=True)
class Everything:
    """`*`: every resource, or every route."""


@dataclass(frozen=True, slots=True)
class ExactName:
    """`model::a`: the resource of that canonical type with exactly that name."""

    type: str
    name: str


@dataclass(frozen=True, slots=True)
class OfType:
    """`model::*`, `model::`, `sql_record::openai_files`: every resource of that canonical type."""

    type: str


@dataclass(frozen=True, slots=True)
class EveryRecord:
    """`sql_record::*`: every record of every table."""


@dataclass(frozen=True, slots=True)
class Regex:
    """`regex:RE`: Python's `re.match` on the subject, anchored at the start and not at the end.

    `valid` is False for a pattern that Python refuses; such a pattern never matches.
    """

    pattern: str
    span: Span
    valid: bool = True


ResourcePattern = Everything | ExactName | OfType | EveryRecord | Regex


@dataclass(frozen=True, slots=True)
class ExactPath:
    """That path, trailing slashes removed."""

    path: str


@dataclass(frozen=True, slots=True)
class PathPrefix:
    """`/v1/files*`: every path that starts with `prefix`."""

    prefix: str


PathPattern = Everything | ExactPath | PathPrefix | Regex


@dataclass(frozen=True, slots=True)
class HasValue:
    """`user with VALUE in ATTRIBUTE`, or `not in` if negated."""

    value: str
    attribute: str
    negated: bool


@dataclass(frozen=True, slots=True)
class IsOwner:
    """`user is owner`, or `is not` if negated."""

    negated: bool


@dataclass(frozen=True, slots=True)
class SharesWithOwner:
    """`user in owners ATTRIBUTE`, or `not in` if negated."""

    attribute: str
    negated: bool


@dataclass(frozen=True, slots=True)
class IsUnowned:
    """`resource is unowned`."""


@dataclass(frozen=True, slots=True)
class IsFromConfig:
    """`resource is from config`: the configuration defines it, no request created it."""


@dataclass(frozen=True, slots=True)
class IsAuthenticated:
    """`user is authenticated`: the caller presented a valid token."""


Condition = HasValue | IsOwner | SharesWithOwner | IsUnowned | IsFromConfig | IsAuthenticated


class Clause(StrEnum):
    """The combination of a rule's conditions: `when` needs all of them, `unless` applies unless all of them hold."""

    WHEN = "when"
    UNLESS = "unless"


@dataclass(frozen=True, slots=True)
class Conditions:
    """The condition part of a rule; a rule without one has no `Conditions`."""

    clause: Clause
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One entry of `access_policy`; `index` is its place in the list, from 0.

    `principal` and `issuer` are compared with the caller's; None is any, and with both None the rule is for everyone.
    What it permits goes through `shields`.
    """

    index: int
    effect: Effect
    principal: str | None
    actions: tuple[Action, ...]
    resource: ResourcePattern
    conditions: Conditions | None
    description: str
    span: Span
    issuer: str | None = None
    shields: tuple[str, ...] = ()

    @property
    def names_callers(self) -> bool:
        """True if it is for certain callers alone, who then have an identity."""
        return self.principal is not None or self.issuer is not None


@dataclass(frozen=True, slots=True)
class RouteRule:
    """One entry of `route_policy`; empty `methods` means every method, and GET includes HEAD.

    Texts of requests to models on these paths go through `shields`.
    """

    index: int
    effect: Effect
    paths: tuple[PathPattern, ...]
    methods: tuple[str, ...]
    conditions: Conditions | None
    description: str
    span: Span
    shields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guardrails:
    """A directory of hand-written Rego whose denials override every permit; relative to the configuration's
    directory.
    """

    directory: str
    span: Span


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The policies, quotas and names of one configuration.

    `access_name` is `access_policy`, or `default_policy` where the file has none. `routes` is None where the file has
    no `route_policy`: then every route is allowed. `authentication` says whether a provider is configured. `limits` are
    the rules of `server.quota.limits`: the first that applies says which limit a caller has on every route. `tables`
    are the names of the record tables; patterns use the standard ones. `issuers` are the trusted ones.
    """

    authentication: bool
    access_name: str
    access: tuple[AccessRule, ...]
    routes: tuple[RouteRule, ...] | None
    guardrails: Guardrails | None = None
    limits: tuple[RouteRule, ...] = ()
    tables: Tables = field(default_factory=Tables)
    issuers: Issuers = field(default_factory=Issuers)

    @property
    def required_shields(self) -> frozenset[str]:
        """The ids of the shields that any rule requires."""
        listed = [rule.shields for rule in self.access] + [rule.shields for rule in self.routes or ()]
        return frozenset(name for shields in listed for name in shields)
