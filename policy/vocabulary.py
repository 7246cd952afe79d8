"""The terms of access control: principal, action, resource, owner, decision, obligation.

Source: `docs/policy/policy-language.md` §1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

CONTRACT: Final = 1
"""Version of the question and answer that server and bundle exchange; both refuse another one."""

RECORD_PREFIX: Final = "sql_record::"


class Action(StrEnum):
    """The actions that a principal may ask for on a resource."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"


class Effect(StrEnum):
    """The effect of a rule that applies."""

    PERMIT = "permit"
    FORBID = "forbid"


class Verdict(StrEnum):
    """The result of a decision."""

    PERMIT = "permit"
    DENY = "deny"


class Origin(StrEnum):
    """The origin of a resource: the configuration, or a request."""

    CONFIG = "config"
    CREATED = "created"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller, or the owner of a resource as it was at creation.

    `issuer` is the issuer of the token: the same id from two issuers is two principals. `attributes` maps a name
    (`roles`, `teams`, …) to its values.
    """

    id: str
    issuer: str = ""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Anonymous:
    """A caller without a token: a principal of its own kind, without attributes, that owns nothing."""


type_of_record = RECORD_PREFIX.__add__
"""`type_of_record("openai_files")` is the resource type of that table's records."""


@dataclass(frozen=True, slots=True)
class Resource:
    """The resource that is asked for: its type, all of its names, and its owner if it has one.

    `names` holds the canonical name first; it is empty for a resource that is about to be created without a name.
    `types` holds every name of a type that has several, `type` first; it is empty for others.
    """

    type: str
    names: tuple[str, ...]
    owner: Principal | None = None
    origin: Origin = Origin.CREATED
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """The target of a request: its method and its normalized path (see `policy.routes.normalize_path`)."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class StampOwner:
    """The obligation to write `owner` on the record that the permitted create makes; without one, it has no owner."""

    owner: Principal


@dataclass(frozen=True, slots=True)
class UseLimit:
    """The obligation to keep a limit of the quota; `index` is its place in `server.quota.limits`."""

    index: int


@dataclass(frozen=True, slots=True)
class UseShields:
    """The obligation to let no text pass to a model, or from it, that one of these shields flags; by their ids."""

    ids: tuple[str, ...]


Obligation = StampOwner | UseLimit | UseShields


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer of the policy engine, with everything that explains it; never a bare boolean.

    `rule` is `access_policy[3]`, `source` is `config.yaml:41`; both are None where no rule decided.
    """

    verdict: Verdict
    rule: str | None
    source: str | None
    description: str | None
    reason: str
    revision: str
    obligations: tuple[Obligation, ...] = ()
