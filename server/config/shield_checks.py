"""Checks of shields in a configuration: their names, providers and params, and the models that judge for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic_core import PydanticCustomError

from policy.model_names import model_names
from policy.source.diagnostics import Findings, hint_of
from server.config.llama_guard import DEFAULT, guessed
from server.config.raw_value import UNRESOLVED, RawValue
from server.config.shield_params import LLAMA_GUARD, PARSERS, BadParams, GuardParams, check_identity, guard_params
from server.config.tree import Path, Tree, TreeReader
from server.config.types import as_written

_PROVIDERS: Final = ("providers", "safety")
_DEFAULT: Final = ("safety", "default_shield_id")


def check_shields(reading: TreeReader, findings: Findings) -> None:
    """Add the mistakes in shields, and in the shield of moderations, to the findings."""
    _check_served(reading, findings)
    taken: dict[str, int] = {}
    for path, entry in reading.entries(("shields",)):
        identity = _check_id(path, entry, taken, reading, findings)
        provider = _provider_of(path, entry, reading, findings)
        if provider is not None and identity is not None:
            _check_made(path, entry, provider, identity, reading, findings)
    _check_default(taken, reading, findings)


def _check_served(reading: TreeReader, findings: Findings) -> None:
    apis = reading.find(("apis",))
    if not isinstance(apis, tuple) or not reading.find(("shields",)):
        return
    if not any(api is UNRESOLVED or (isinstance(api, RawValue) and api.text == "safety") for api in apis):
        message = "`shields` needs `safety`, and `apis` leaves it out"
        findings.error("unlisted-api", reading.span(("shields",)), message, "list it there")


def _check_id(
    path: Path, entry: Mapping[str, Tree], taken: dict[str, int], reading: TreeReader, findings: Findings
) -> tuple[str, RawValue] | None:
    """Return the field that holds the id of a shield with its value; None where there is none."""
    if UNRESOLVED in (entry.get("shield_id"), entry.get("provider_shield_id")):
        return None
    key = next((key for key in ("shield_id", "provider_shield_id") if isinstance(entry.get(key), RawValue)), None)
    given = None if key is None else entry[key]
    if key is None or not isinstance(given, RawValue):
        message = "this shield has no id"
        findings.error("missing-key", reading.span(path), message, "write `shield_id` or `provider_shield_id`")
        return None
    if given.text in taken:
        message = f"{given.described()} is the id of the shield in line {taken[given.text]} already"
        findings.error("duplicate-id", reading.span((*path, key)), message, "give each shield its own")
    taken.setdefault(given.text, reading.span((*path, key)).line)
    return key, given


def _provider_of(
    path: Path, entry: Mapping[str, Tree], reading: TreeReader, findings: Findings
) -> Mapping[str, Tree] | None:
    """Return the provider of a shield; None where it is not known, which is reported."""
    listed = [provider for _, provider in reading.entries(_PROVIDERS)]
    wanted = entry.get("provider_id")
    if any(provider.get("provider_id") is UNRESOLVED for provider in listed) or wanted is UNRESOLVED:
        return None
    if not isinstance(wanted, RawValue):
        if len(listed) == 1:
            return listed[0]
        message = "this shield has no `provider_id`"
        findings.error("missing-key", reading.span(path), message, "name one of the providers under `providers.safety`")
        return None
    ids = {given.text: each for each in listed if isinstance(given := each.get("provider_id"), RawValue)}
    if wanted.text in ids:
        return ids[wanted.text]
    span = reading.span((*path, "provider_id"))
    if not wanted.variables and wanted.text in reading.switched_off:
        variable = reading.switched_off[wanted.text]
        message = f"the provider {wanted.described()} is switched off while `{variable}` is not set"
        findings.error("unknown-provider", span, message, "set it, or leave this entry out")
        return None
    message = f"no provider of `safety` is called {wanted.described()}"
    hint = hint_of("" if wanted.variables else wanted.text, list(ids)) if ids else ""
    findings.error("unknown-provider", span, message, hint or "add it under `providers`")
    return None


def _check_made(
    path: Path,
    entry: Mapping[str, Tree],
    provider: Mapping[str, Tree],
    identity: tuple[str, RawValue],
    reading: TreeReader,
    findings: Findings,
) -> None:
    """Report what keeps the provider from making this shield."""
    kind, own = provider.get("provider_type"), entry.get("provider_shield_id")
    key, given = ("provider_shield_id", own) if isinstance(own, RawValue) else identity
    if not isinstance(kind, RawValue) or kind.text not in PARSERS:
        return
    try:
        check_identity(kind.text, given.text)
    except BadParams as wrong:
        sentence = f"`{key}` {wrong.sentence}"
        findings.error("wrong-value", reading.span((*path, key)), sentence, wrong.hint)
    params = _params(path, entry, kind.text, provider, reading, findings)
    if kind.text != LLAMA_GUARD:
        return
    _check_model((*path, key), given, reading, findings)
    if isinstance(params, GuardParams) and params.taxonomy is None:
        try:
            params.check_excluded(guessed(given.text) or DEFAULT)
        except BadParams as wrong:
            _report(path, wrong, reading, findings)


def _params(
    path: Path,
    entry: Mapping[str, Tree],
    kind: str,
    provider: Mapping[str, Tree],
    reading: TreeReader,
    findings: Findings,
) -> object:
    """Return the params of a shield; None where they are wrong, which is reported, or not known yet."""
    given = entry.get("params") or {}
    if not isinstance(given, dict) or _is_unresolved(given):
        return None
    try:
        written = as_written(given)
        if not isinstance(written, dict):
            return None
        return guard_params(written, _excluded(provider)) if kind == LLAMA_GUARD else PARSERS[kind](written)
    except BadParams as wrong:
        _report(path, wrong, reading, findings)
    except PydanticCustomError:
        pass  # the model reports it
    return None


def _report(path: Path, wrong: BadParams, reading: TreeReader, findings: Findings) -> None:
    place = (*path, "params", wrong.key)
    span = next(reading.span(each) for each in (place, place[:-1], path) if each in reading.places)
    findings.error("wrong-value", span, str(wrong), wrong.hint)


def _is_unresolved(value: Tree) -> bool:
    if isinstance(value, dict):
        return any(map(_is_unresolved, value.values()))
    return any(map(_is_unresolved, value)) if isinstance(value, tuple) else value is UNRESOLVED


def _excluded(provider: Mapping[str, Tree]) -> Iterator[str]:
    config = provider.get("config")
    listed = config.get("excluded_categories") if isinstance(config, dict) else None
    for code in listed if isinstance(listed, tuple) else ():
        if isinstance(code, RawValue):
            yield code.text


def _check_model(path: Path, given: RawValue, reading: TreeReader, findings: Findings) -> None:
    """Report a judge that is no model of the configuration, that is several, or that can't chat."""
    found, offered, span = [], [], reading.span(path)
    for _, entry in reading.entries(("models",)):
        provider_id, model_id, own = (entry.get(key) for key in ("provider_id", "model_id", "provider_model_id"))
        if UNRESOLVED in (provider_id, model_id, own):
            return
        if not isinstance(provider_id, RawValue) or not isinstance(model_id, RawValue):
            continue
        aliases = entry.get("aliases")
        listed = [each.text for each in aliases if isinstance(each, RawValue)] if isinstance(aliases, tuple) else []
        own_name = own.text if isinstance(own, RawValue) else None
        names = model_names(provider_id.text, model_id.text, own_name, tuple(listed))
        kind = entry.get("model_type")
        if given.text in names:
            found.append(kind.text if isinstance(kind, RawValue) else "llm")
        if not any(isinstance(each, RawValue) and each.variables for each in (provider_id, model_id, own)):
            offered.append(names[0])
    if len(found) > 1:
        message = f"more than one model is called {given.described()}"
        findings.error("ambiguous-model", span, message, "name its provider too, as `provider_shield_id`")
    elif not found:
        message = f"no model of the configuration is called {given.described()}, which is to judge for this shield"
        hint = hint_of("" if given.variables else given.text, offered) if offered else ""
        findings.error("unknown-model", span, message, hint or "add it under `models`")
    elif found[0] != "llm":
        message = f"the model {given.described()} does not chat, and is to judge for this shield"
        findings.error("unlike-models", span, message, "name another one")


def _check_default(taken: Mapping[str, int], reading: TreeReader, findings: Findings) -> None:
    given = reading.find(_DEFAULT)
    if not isinstance(given, RawValue) or given.text in taken or given.text in reading.unused:
        return  # one that is switched off leaves each request to name a shield
    entries = [entry for _, entry in reading.entries(("shields",))]
    if any(UNRESOLVED in (entry.get("shield_id"), entry.get("provider_shield_id")) for entry in entries):
        return
    message = f"no shield of the configuration is called {given.described()}"
    hint = hint_of("" if given.variables else given.text, list(taken)) if taken else ""
    findings.error("unknown-shield", reading.span(_DEFAULT), message, hint or "add it under `shields`")
