"""The rules of both policies: a spelling that Llama Stack reads otherwise than this server is refused.

All other spellings mean the same, or deny more here; those that this server doesn't know are errors of its own parser.
"""

from __future__ import annotations

import re
from typing import Final

from policy.routes import normalize_path
from policy.source.diagnostics import quoted
from policy.source.document import Entry, Mapping, Node, Scalar
from server.config.llama_stack.changes import Journal, Kind
from server.config.llama_stack.nodes import below, items, text_of

_RULE_KEYS: Final = frozenset({"permit", "forbid", "when", "unless", "description"})
_ACCESS_KEYS: Final = frozenset({"principal", "actions", "resource"})
_ROUTE_KEYS: Final = frozenset({"paths"})
_EVERYTHING: Final = ("*", "sql_record", "sql_record::")
_EACH_NAME: Final = (
    "rules match a model by each of its names, `PROVIDER_ID/PROVIDER_MODEL_ID`, `PROVIDER_ID/MODEL_ID` and `MODEL_ID`"
)
_RECORDS: Final = "sql_record::"
_WITHIN_A_TYPE: Final = re.compile(r"(?!regex:)(?:sql_record::[^:]*::.+|(?!sql_record::)[^:]*::.+)::\*")
"""A name that ends in `::*`, behind its type: all names that begin so, for Llama Stack."""


def check_access_policy(entry: Entry, journal: Journal) -> None:
    """Refuse rules of an access policy whose meaning would change."""
    for rule in items(entry.node):
        _keys(rule, _ACCESS_KEYS, journal)
        _conditions(rule, journal)
        for effect in ("permit", "forbid"):
            resource = below(rule, effect, "resource")
            if isinstance(resource, Scalar):
                _resource(resource, journal)
    if any(_names_models(rule) for rule in items(entry.node)):
        journal.add(Kind.REPLACED, entry.key_span, _EACH_NAME, "`ostiary policy matrix` shows who may use which")
    _kept("access_policy", entry, journal)


def check_route_policy(entry: Entry, journal: Journal) -> None:
    """Refuse rules of a route policy whose meaning would change."""
    for rule in items(entry.node):
        _keys(rule, _ROUTE_KEYS, journal)
        _conditions(rule, journal)
        for effect in ("permit", "forbid"):
            paths = below(rule, effect, "paths")
            for path in items(paths) or ([paths] if paths is not None else []):
                _path(path, journal)
        several = below(rule, "unless")
        if len(items(several)) > 1 and several is not None:
            sentence = "`unless` with several conditions holds in a route rule of Llama Stack when none of them does"
            advice = "write each of them turned round under `when`: `user with V not in A`"
            journal.refuse(several.span, sentence, advice)
    _kept("route_policy", entry, journal)


def _names_models(rule: Node) -> bool:
    """Return whether a `permit` is about some models, and not about all of them."""
    text = text_of(below(rule, "permit", "resource")) or ""
    return text.startswith(("model::", "regex:")) and text != "model::*"


def _path(node: Node, journal: Journal) -> None:
    """Refuse a path that no request has in Llama Stack, which compares it as it is written."""
    text = text_of(node) or ""
    if text.startswith("/") and not text.endswith("*") and normalize_path(text) != text:
        sentence = f"{quoted(text)} matches no request in Llama Stack, and here {quoted(normalize_path(text))}"
        journal.refuse(node.span, sentence, "leave the `/` at its end out if that is meant")


def _kept(name: str, entry: Entry, journal: Journal) -> None:
    number = len(items(entry.node))
    journal.add(Kind.KEPT, entry.key_span, f"{quoted(name)} with {number} {'rule' if number == 1 else 'rules'}")


def _keys(rule: Node, of_scope: frozenset[str], journal: Journal) -> None:
    """Refuse keys that Llama Stack ignores: here, some of them narrow a rule, and a narrower `forbid` permits more."""
    if not isinstance(rule, Mapping):
        return
    scopes = [below(rule, effect) for effect in ("permit", "forbid")]
    for block, known in ((rule, _RULE_KEYS), *((scope, of_scope) for scope in scopes)):
        for key, entry in block.entries.items() if isinstance(block, Mapping) else ():
            if key not in known:
                sentence = f"Llama Stack ignores {quoted(key)} in a rule"
                journal.refuse(entry.key_span, sentence, "leave it out, or add it to the file that is written")


def _conditions(rule: Node, journal: Journal) -> None:
    """Refuse quotes in a condition, which are a part of the value in Llama Stack."""
    for clause in ("when", "unless"):
        node = below(rule, clause)
        for condition in items(node) or ([node] if node is not None else []):
            written = text_of(condition) or ""
            if any(word[:1] in "\"'" for word in written.split()):
                sentence = "quotes in a condition are a part of the value in Llama Stack, and around it here"
                journal.refuse(condition.span, sentence, "leave them out")


def _resource(node: Scalar, journal: Journal) -> None:
    """Refuse a pattern that matches other names in Llama Stack than here."""
    text = node.text
    if _WITHIN_A_TYPE.fullmatch(text):
        sentence = f"{quoted(text)} matches a part of a type in Llama Stack, and one name here"
        pattern = f"regex:{re.escape(text.removesuffix('*'))}"
        journal.refuse(node.span, sentence, f"write {quoted(pattern)}")
        return
    table = text.removeprefix(_RECORDS) if text.startswith(_RECORDS) else ""
    is_table = bool(table) and "::" not in table and table != "*"
    if text in _EVERYTHING or is_table or (text.endswith("::") and not text.startswith("regex:")):
        sentence = f"{quoted(text)} matches nothing in Llama Stack, and here every resource of its kind"
        advice = "leave `resource` out" if text == "*" else f"write {quoted(text.rstrip(':') + '::*')}"
        journal.refuse(node.span, sentence, advice + " if that is meant")
