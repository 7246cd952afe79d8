"""A configuration as plain data, for the reference model: variables filled in, nothing else read into it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

VARIABLE = re.compile(r"\$\{env\.(\w+)(?::([=+]?)([^}]*))?\}")


def load(text: str, environ: Mapping[str, str]) -> Any:
    """The configuration; a value that its variable leaves empty is absent."""

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            filled = {key: fill(value) for key, value in node.items()}
            return {key: value for key, value in filled.items() if value is not None or node[key] is None}
        if isinstance(node, list):
            return [fill(item) for item in node]
        return (VARIABLE.sub(variable, node) or None) if isinstance(node, str) and VARIABLE.search(node) else node

    def variable(found: re.Match[str]) -> str:
        value, default = environ.get(found[1]), found[3] or ""
        return (default if value else "") if found[2] == "+" else value or default

    return fill(yaml.safe_load(text))


def auth(config: Any) -> Any:
    """The section `server.auth`."""
    return (config.get("server") or {}).get("auth") or {}


def record_tables(config: Any) -> dict[str, str]:
    """The names that the configuration gives to the tables of records, each with the standard name of its table."""
    stores = (config.get("storage") or {}).get("stores") or {}
    standard = {"inference": "chat_completions", "conversations": "openai_conversations", "files": "openai_files"}
    named = {stores[store]["table_name"]: name for store, name in standard.items() if store in stores}
    for provider in (config.get("providers") or {}).get("agents", []):
        named[provider["config"]["persistence"]["responses"]["table_name"]] = "responses"
    return named


def authentication_configured(config: Any) -> bool:
    """Is there a provider, of a type that no variable left empty?"""
    return bool((auth(config).get("provider_config") or {}).get("type"))
