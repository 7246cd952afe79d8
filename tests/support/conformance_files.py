"""Conformance files: a configuration and what must be decided under it, as data that every altitude reads.

    about: one sentence
    environ: {AUTH_PROVIDER: "1"}            # optional
    config: |                                # a whole configuration, as text or as a mapping
      server: …
    principals:                              # optional: names for the cases below
      alice: {id: user-1, issuer: "…", roles: [developer]}      # everything but id and issuer is an attribute
    cases:
      - {id: alice reads a model, principal: alice, action: read, resource: "model::a", decision: permit,
         rule: "access_policy[1]"}
      - {id: nobody lists files, principal: null, route: GET /v1/files, decision: deny, rule: null,
         reason: a valid token is required, http: {status: 401}}

An access case may add `owner` (a principal), `aliases` (further names of the resource) and `origin` (`config`, or
`created` where it isn't given). `http` says what the case looks like from outside. Unknown fields are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from policy.resource_types import TYPE_SYNONYMS
from policy.routes import normalize_path
from policy.vocabulary import RECORD_PREFIX, Action, Origin
from tests.reference import configuration

FOLDER = Path(__file__).parents[1] / "conformance"
CONFIG_NAME = "config.yaml"
"""What diagnostics and sources call the configuration of a conformance file."""

_RULE = re.compile(r"(?:access|route|default)_policy\[(\d+)\]")
_FILE = {"about", "environ", "config", "principals", "cases"}
_BASE = {"id", "principal", "decision", "rule", "reason", "http"}
_ACCESS = {*_BASE, "action", "resource", "owner", "aliases", "origin"}
_HTTP = {"method", "path", "body", "status", "code"}


class InvalidConformanceFile(Exception):
    """A conformance file says something that no altitude understands; the message says where and what."""


@dataclass(frozen=True, slots=True)
class Http:
    """What a client sees: the request (for a route case it follows from the route) and the answer's status and code."""

    method: str | None
    path: str | None
    body: Any
    status: int
    code: str | None


@dataclass(frozen=True, slots=True)
class Case:
    """One question and its answer; `question` is the policy engine's input with the path as the client sent it."""

    id: str
    question: dict[str, Any]
    decision: str
    rule: str | None
    reason: str | None
    http: Http | None

    @property
    def asked(self) -> str:
        """`route` or `resource`: which part of the engine's answer this case is about."""
        return "route" if "route" in self.question else "resource"

    @property
    def engine_question(self) -> dict[str, Any]:
        """The question as the server puts it to the engine: with the path in the form that route patterns see."""
        if "route" not in self.question:
            return self.question
        route = self.question["route"]
        return {**self.question, "route": {**route, "path": normalize_path(route["path"])}}

    @property
    def obligations(self) -> list[dict[str, Any]]:
        """What the server must do: a create that a rule permits to somebody is stamped with who that is."""
        stamped = self.question.get("action") == "create" and self.decision == "permit" and self.rule is not None
        owner = self.question["principal"]
        return [{"id": "stamp_owner", "owner": owner}] if stamped and owner is not None else []

    @property
    def index(self) -> int | None:
        """The position of the determining rule in its policy."""
        found = _RULE.fullmatch(self.rule or "")
        return int(found[1]) if found else None


@dataclass(frozen=True, slots=True, eq=False)
class ConformanceFile:
    """One configuration with its cases; `config` is YAML text, `id` the file's name."""

    id: str
    about: str
    config: str
    environ: Mapping[str, str]
    cases: tuple[Case, ...]


@cache
def conformance_files() -> tuple[ConformanceFile, ...]:
    """Every conformance file of this repository, in the order of their names."""
    return tuple(load(path) for path in sorted(FOLDER.glob("*.yaml")))


def load(path: Path) -> ConformanceFile:
    """Read one file; raises InvalidConformanceFile for anything that isn't part of the format."""
    content = yaml.safe_load(path.read_text())
    where = path.name
    _only(content, _FILE, where)
    config = content["config"]
    text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    named = {name: _principal(entry, {}, f"{where}: {name}") for name, entry in content.get("principals", {}).items()}
    tables = configuration.record_tables(configuration.load(text, content.get("environ", {})))
    cases = tuple(_case(entry, named, tables, where) for entry in content["cases"])
    ids = [case.id for case in cases]
    if repeated := {name for name in ids if ids.count(name) > 1}:
        raise InvalidConformanceFile(f"{where}: several cases are called {', '.join(sorted(repeated))}")
    return ConformanceFile(path.stem, content["about"], text, content.get("environ", {}), cases)


def _case(entry: Any, named: Mapping[str, Any], tables: Mapping[str, str], where: str) -> Case:
    where = f"{where}: {entry.get('id')}"
    _only(entry, {*_BASE, "route"} if "route" in entry else _ACCESS, where)
    for field in ("id", "principal", "decision", "rule"):
        if field not in entry:
            raise InvalidConformanceFile(f"{where}: `{field}` is missing")
    rule = entry["rule"]
    if rule is not None and not _RULE.fullmatch(str(rule)):
        raise InvalidConformanceFile(f"{where}: `{rule}` is not a rule")
    if entry["decision"] not in ("permit", "deny"):
        raise InvalidConformanceFile(f"{where}: `{entry['decision']}` is not a decision")
    question = {"principal": _principal(entry["principal"], named, where)}
    question |= _route(entry["route"], where) if "route" in entry else _access(entry, named, tables, where)
    http = _http(entry["http"], where) if "http" in entry else None
    return Case(entry["id"], question, entry["decision"], rule, entry.get("reason"), http)


def _types(kind: str, tables: Mapping[str, str]) -> dict[str, Any]:
    """The type as a question has it: by the table's standard name, with all of its names if it has several."""
    table = kind.removeprefix(RECORD_PREFIX)
    standard = tables.get(table, table)
    names = dict.fromkeys([standard, *(name for name, of in tables.items() if of == standard)])
    if not kind.startswith(RECORD_PREFIX) or len(names) == 1:
        return {"type": kind}
    return {"type": RECORD_PREFIX + standard, "types": [RECORD_PREFIX + name for name in names]}


def _route(text: str, where: str) -> dict[str, Any]:
    method, separator, path = text.partition(" ")
    if not separator or not path.startswith("/"):
        raise InvalidConformanceFile(f"{where}: a route is a method, a blank and a path")
    return {"route": {"method": method, "path": path}}


def _access(entry: Any, named: Mapping[str, Any], tables: Mapping[str, str], where: str) -> dict[str, Any]:
    head, separator, name = entry["resource"].removeprefix(RECORD_PREFIX).partition("::")
    kind = f"{RECORD_PREFIX}{head}" if entry["resource"].startswith(RECORD_PREFIX) else TYPE_SYNONYMS.get(head, head)
    if not separator:
        raise InvalidConformanceFile(f"{where}: a resource is `type::name`")
    resource = {
        **_types(kind, tables),
        "names": [name, *entry.get("aliases", [])],
        "owner": _principal(entry.get("owner"), named, where),
        "origin": Origin(entry.get("origin", Origin.CREATED)).value,
    }
    return {"action": Action(entry["action"]).value, "resource": resource}


def _principal(entry: Any, named: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    if entry is None:
        return None
    if isinstance(entry, str):
        if entry not in named:
            raise InvalidConformanceFile(f"{where}: no principal is called `{entry}`")
        found: dict[str, Any] = named[entry]
        return found
    attributes = {name: values for name, values in entry.items() if name not in ("id", "issuer")}
    texts = [entry["id"], entry.get("issuer", ""), *(value for values in attributes.values() for value in values)]
    if not all(isinstance(value, list) for value in attributes.values()) or not all(isinstance(t, str) for t in texts):
        raise InvalidConformanceFile(f"{where}: a principal has an id, perhaps an issuer, and lists of texts")
    return {"id": entry["id"], "issuer": entry.get("issuer", ""), "attributes": attributes}


def _http(entry: Any, where: str) -> Http:
    _only(entry, _HTTP, where)
    return Http(entry.get("method"), entry.get("path"), entry.get("body"), entry["status"], entry.get("code"))


def _only(entry: Any, known: set[str], where: str) -> None:
    if unknown := set(entry) - known:
        raise InvalidConformanceFile(f"{where}: unknown fields {', '.join(sorted(unknown))}")
