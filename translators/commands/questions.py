"""Questions from command lines and files, in the one form that the Rego policies take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from policy.issuers import Issuers
from policy.patterns import with_type
from policy.resource_types import RESOURCE_TYPES, TYPE_SYNONYMS
from policy.routes import METHODS, normalize_path
from policy.source.diagnostics import did_you_mean, quoted
from policy.tables import Tables
from policy.vocabulary import RECORD_PREFIX, Action

Question = dict[str, Any]
"""The `input` of the Rego entrypoint; see `rego/schemas/input.json`."""


@dataclass(frozen=True, slots=True)
class Known:
    """The names of a configuration that questions may use.

    `models` maps any name of a configured model to all of its names; `tables` are the names of the record tables;
    `issuers` are the trusted ones, and `issuer` is the one for a question without an issuer.
    """

    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tables: Tables = field(default_factory=Tables)
    issuers: Issuers = field(default_factory=Issuers)
    issuer: str | None = None

    def meaning(self, issuer: str | None) -> Known:
        """Return a copy whose default issuer is `issuer`; raise UnclearQuestion for an unknown one."""
        if issuer is None:
            return self
        name = self.issuers.named(issuer)
        if name is None and self.issuers.names:
            raise UnclearQuestion(f"no issuer is called {quoted(issuer)}", self.issuers.hint(issuer))
        return replace(self, issuer=issuer if name is None else name)

    def issuer_of(self, written: str | None, place: str) -> str:
        """Return the issuer as written, or the default; raise UnclearQuestion where several are possible.

        An issuer that isn't configured is taken as written: an owner may have it from an earlier configuration.
        """
        if written is not None:
            return self.issuers.named(written) or written
        if self.issuer is not None:
            return self.issuer
        if self.issuers.several:
            message = f"{place} is another principal with each of the configured issuers"
            raise UnclearQuestion(message, f"name its issuer, {did_you_mean('', self.issuers.names)}")
        return self.issuers.sole or ""


_RECORD: Final = RECORD_PREFIX.removesuffix("::")
_ONLY_ABOUT_RESOURCES: Final = "--action, --owner, --owner-role and --owner-team"


class UnclearQuestion(Exception):
    """Raised for a question that can't be asked: `message` says what is wrong, `hint`, perhaps empty, what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message}; {hint}" if hint else message)


def asked(
    *,
    principal: str | None,
    issuer: str | None,
    anonymous: bool,
    attributes: Mapping[str, Sequence[str]],
    more_attributes: Sequence[str],
    action: str | None,
    resource: str | None,
    owner: str | None,
    owner_issuer: str | None,
    owner_attributes: Mapping[str, Sequence[str]],
    route: str | None,
    known: Known,
) -> Question:
    """Return the question of a command line, with the default action `read`; raise UnclearQuestion."""
    if (resource is None) is (route is None):
        raise UnclearQuestion('say what is asked for: either --resource TYPE::NAME or --route "METHOD PATH"')
    known = known.meaning(issuer)
    caller = _asking(principal, issuer, anonymous, attributes, more_attributes)
    holding = {key: list(values) for key, values in owner_attributes.items() if values}
    if owner is None and owner_issuer is not None:
        raise UnclearQuestion("--owner-issuer needs an owner", "add --owner ID")
    if route is not None:
        if action is not None or owner is not None or holding:
            raise UnclearQuestion(f"{_ONLY_ABOUT_RESOURCES} say nothing about a route", "leave them out")
        return question({"principal": caller, "route": named_route(route)}, known)
    if owner is None and holding:
        raise UnclearQuestion("--owner-role and --owner-team need an owner", "add --owner ID")
    holder = None if owner is None else _named(owner, owner_issuer, holding)
    target = {**named_resource(resource or ""), "owner": holder}
    return question({"principal": caller, "action": named_action(action or Action.READ), "resource": target}, known)


def _asking(
    principal: str | None,
    issuer: str | None,
    anonymous: bool,
    attributes: Mapping[str, Sequence[str]],
    more_attributes: Sequence[str],
) -> Question | None:
    if (principal is None) is not anonymous:
        raise UnclearQuestion("say who asks: either --as ID or --anonymous")
    named = {name: list(values) for name, values in attributes.items() if values}
    for text in more_attributes:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise UnclearQuestion(f"--attribute takes NAME=VALUE, not {quoted(text)}")
        named.setdefault(name, []).append(value)
    if principal is None and issuer is not None:
        raise UnclearQuestion("no issuer vouches for an anonymous caller", "write --as ID")
    if principal is None and named:
        raise UnclearQuestion("an anonymous caller has no roles, teams or other attributes", "write --as ID")
    return None if principal is None else _named(principal, issuer, named)


def _named(principal: str, issuer: str | None, attributes: Question) -> Question:
    return {"id": principal, "attributes": attributes} | ({} if issuer is None else {"issuer": issuer})


def named_resource(text: str) -> dict[str, str]:
    """Return the type and id that `type::name` spells; raise UnclearQuestion, also for an unknown type."""
    kind, separator, name = text.partition("::")
    if kind not in (*RESOURCE_TYPES, *TYPE_SYNONYMS, _RECORD):
        if not separator:
            raise UnclearQuestion(f"{quoted(text)} has no type", f"write it as {quoted(with_type(text))}")
        raise UnclearQuestion(
            f"{quoted(kind)} is not a type of resource", did_you_mean(kind, [*RESOURCE_TYPES, *TYPE_SYNONYMS, _RECORD])
        )
    if kind == _RECORD and not all(name.partition("::")):
        raise UnclearQuestion(f"{quoted(text)} names no record", "write it as `sql_record::TABLE::ID`")
    if not name:
        raise UnclearQuestion(f"{quoted(text)} names no resource", f"write it as `{kind}::NAME`")
    return {"type": kind, "id": name}


def named_route(text: str) -> dict[str, str]:
    """Return the method and path that `METHOD /path` spells; raise UnclearQuestion."""
    method, _, path = text.partition(" ")
    path = path.strip()
    if not path.startswith("/"):
        raise UnclearQuestion(f"{quoted(text)} is no route", "write a method and a path, such as `GET /v1/files`")
    if method not in METHODS:
        raise UnclearQuestion(f"{quoted(method)} is no method", did_you_mean(method, METHODS))
    return {"method": method, "path": path}


def named_action(text: str) -> str:
    """Return the action of that name; raise UnclearQuestion."""
    if text not in list(Action):
        raise UnclearQuestion(f"{quoted(text)} is no action", did_you_mean(text, Action))
    return text


def question(written: Mapping[str, Any], known: Known) -> Question:
    """Return the question for `{"principal", "action", "resource": {"type", "id", "owner"}}` and/or `{"principal",
    "route"}`.

    Types become canonical, paths normalized, and missing members get their defaults: the sole issuer; the origin
    `config` where there is no owner, unless the resource is about to be created; all names of a configured model or
    table. Raises UnclearQuestion for anything malformed.
    """
    unknown = set(written) - {"id", "principal", "action", "resource", "route"}
    if unknown:
        raise UnclearQuestion(f"unknown member `{min(unknown)}`")
    if "principal" not in written:
        raise UnclearQuestion("`principal` is missing; write null for an anonymous caller")
    form: Question = {"principal": _principal(written["principal"], "principal", known.issuer_of)}
    if "route" in written:
        form["route"] = _route(written["route"])
    if "resource" in written or "action" in written:
        form["action"] = _action(written.get("action"))
        form["resource"] = _resource(written.get("resource"), form["action"], known)
        if form["resource"]["type"] == "model" and form["resource"]["origin"] == "config":
            form["resource"]["names"] = _all_names(form["resource"]["names"], known)
    if len(form) == 1:
        raise UnclearQuestion("neither `route` nor `action` and `resource` are given")
    return form


def _principal(written: Any, place: str, issuer_of: Callable[[str | None, str], str]) -> Question | None:
    if written is None:
        return None
    members = _object(written, place, required={"id"}, optional={"attributes", "issuer"})
    attributes = members.get("attributes") or {}
    if not isinstance(attributes, Mapping):
        raise UnclearQuestion(f"`{place}.attributes` is not an object")
    for name, values in attributes.items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise UnclearQuestion(f"`{place}.attributes.{name}` is not a list of strings")
    issuer = _text(members["issuer"], f"{place}.issuer") if "issuer" in members else None
    return {
        "id": _text(members["id"], f"{place}.id"),
        "issuer": issuer_of(issuer, f"`{place}`"),
        "attributes": dict(attributes),
    }


def _route(written: Any) -> Question:
    members = _object(written, "route", required={"method", "path"})
    path = _text(members["path"], "route.path")
    if not path.startswith("/"):
        raise UnclearQuestion("`route.path` does not start with `/`")
    return {"method": _text(members["method"], "route.method"), "path": normalize_path(path)}


def _action(written: Any) -> str:
    if written not in list(Action):
        raise UnclearQuestion(f"`action` is not one of {', '.join(Action)}")
    return str(written)


def _resource(written: Any, action: str, known: Known) -> Question:
    members = _object(written, "resource", required={"type"}, optional={"id", "names", "owner", "origin"})
    names = members.get("names", [members.get("id")])
    if not isinstance(names, list) or not names:
        raise UnclearQuestion("`resource.id` is missing")
    subject_type, names = _canonical(
        _text(members["type"], "resource.type"), [_text(name, "resource.id") for name in names]
    )
    owner = _principal(members.get("owner"), "resource.owner", known.issuer_of)
    unowned = owner is None and action != Action.CREATE
    origin = members.get("origin", "config" if unowned else "created")
    if origin not in {"config", "created"}:
        raise UnclearQuestion("`resource.origin` is neither `config` nor `created`")
    canonical = known.tables.canonical_type(subject_type)
    types = known.tables.types(canonical)
    further = {"types": list(types)} if len(types) > 1 else {}
    return {"type": canonical, **further, "names": names, "owner": owner, "origin": origin}


def _all_names(names: list[str], known: Known) -> list[str]:
    found = [alias for name in names for alias in known.models.get(name, (name,))]
    return list(dict.fromkeys(found))


def _canonical(kind: str, names: list[str]) -> tuple[str, list[str]]:
    """Return the canonical type and id of a record, written as `sql_record` + `table::id` or `sql_record::table` +
    `id`.
    """
    if f"{kind}::" == RECORD_PREFIX:
        tables = {name.partition("::")[0] for name in names}
        if len(tables) != 1:
            raise UnclearQuestion("`resource.names` are of several tables")
        return RECORD_PREFIX + tables.pop(), [name.partition("::")[2] for name in names]
    return TYPE_SYNONYMS.get(kind, kind), names


def _object(
    written: Any, place: str, *, required: set[str], optional: frozenset[str] | set[str] = frozenset()
) -> Mapping[str, Any]:
    if not isinstance(written, Mapping):
        raise UnclearQuestion(f"`{place}` is not an object")
    missing = required - set(written)
    unknown = set(written) - required - optional
    if missing:
        raise UnclearQuestion(f"`{place}.{min(missing)}` is missing")
    if unknown:
        raise UnclearQuestion(f"unknown member `{place}.{min(unknown)}`")
    return written


def _text(written: Any, place: str) -> str:
    if not isinstance(written, str):
        raise UnclearQuestion(f"`{place}` is not a string")
    try:
        written.encode()
    except UnicodeEncodeError as error:
        raise UnclearQuestion(f"`{place}` holds half of a surrogate pair") from error
    return written
