"""What is in force, said once at the start, to the person who started it."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from policy.diagnostics import visible
from server.config import Config
from server.config.auth import (
    ApiKeyConfig,
    CustomConfig,
    GitHubConfig,
    KubernetesConfig,
    OAuth2Config,
    ProviderOfIdentity,
)
from server.config.decision_log import DecisionLogSetting, RotatedLog

PROGRAM: Final = "ostiary"

AUTHENTICATION_OFF = """
  !! AUTHENTICATION IS OFF: every caller is anonymous, every access question is permitted, and rules
  !! with conditions are skipped. Configure `server.auth.provider_config` before anyone else can reach this server.
"""


@dataclass(frozen=True, slots=True)
class Policies:
    """How many rules there are (of routes: None without a `route_policy`) and how many guardrails, what the access
    policy is called, and the directory of the Rego.
    """

    access_rules: int
    access_name: str
    route_rules: int | None
    guardrails: int
    rego: Path


def banner(path: Path, config: Config, policies: Policies, revision: str, host: str, port: int) -> str:
    """The text that `ostiary run` prints once requests can be decided."""
    address = f"{'https' if config.server.tls_certfile else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    facts = "".join(f"  {name:<15} {value}\n" for name, value in _facts(path, config, policies, revision))
    loud = "" if config.server.auth.provider_config else AUTHENTICATION_OFF
    attempts = "".join(f"  {line}\n" for line in _attempts(path, config, address))
    return (
        f"\nOstiary {version('ostiary')} serves on {address}\n\n{facts}{loud}\nTry in another terminal:\n{attempts}\n"
    )


def _facts(path: Path, config: Config, policies: Policies, revision: str) -> Iterator[tuple[str, str]]:
    yield "configuration", visible(str(path))
    for api, providers in config.providers.items():
        yield api, ", ".join(f"{provider.provider_id} ({provider.provider_type})" for provider in providers)
    yield "models", ", ".join(model.names[0] for model in config.models) or "none"
    provider = config.server.auth.provider_config
    yield "authentication", "OFF" if provider is None else f"{provider.type}, {_who_vouches(provider)}"
    default = " (the default policy)" if policies.access_name == "default_policy" else ""
    routes = "no route policy" if policies.route_rules is None else _counted(policies.route_rules, "route rule")
    yield "policy", f"{_counted(policies.access_rules, 'access rule')}{default}, {routes}"
    yield "guardrails", str(policies.guardrails or "none")
    yield "revision", revision
    yield "rego", f"{policies.rego} (try: opa inspect -a {policies.rego})"
    opa = config.server.opa.url
    yield "decided by", "its own OPA" if opa is None else f"the OPA at {opa}, once that is ready"
    if config.server.workers > 1:
        yield "workers", str(config.server.workers)
    yield "decision log", _log_place(config.server.decision_log)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _who_vouches(provider: ProviderOfIdentity) -> str:
    match provider:
        case OAuth2Config():
            names = [issuer.issuer or "any" for issuer in provider.issuers or (provider,)]
            return f"issuer{'s' if len(names) > 1 else ''} {', '.join(names)}"
        case KubernetesConfig():
            return provider.api_server_url
        case GitHubConfig():
            return provider.github_api_base_url
        case CustomConfig():
            return provider.endpoint
        case ApiKeyConfig():
            return "keys of `ostiary key create`"


def _log_place(setting: DecisionLogSetting) -> str:
    if isinstance(setting, RotatedLog):
        return f"{setting.path}, rotated at {setting.rotate_at} bytes, {setting.keep} kept"
    return str(setting)


def _attempts(path: Path, config: Config, address: str) -> Iterator[str]:
    name = config.models[0].names[0] if config.models else "some-model"
    bearer = ""
    provider = config.server.auth.provider_config
    if provider is not None:
        bearer = ' -H "Authorization: Bearer $TOKEN"'
        yield f"TOKEN={_a_token(provider)}"
    yield f"curl {address}/v1/models{bearer}"
    yield f"{_program()} policy explain {shlex.quote(str(path))} --as user-1 --role developer --resource model::{name}"


def _a_token(provider: ProviderOfIdentity) -> str:
    match provider:
        case OAuth2Config():
            return f"$({_program()} token --subject user-1 --role developer --team ml)"
        case ApiKeyConfig():
            keys = "" if provider.db_path is None else f" --keys {provider.db_path}"
            return f"$({_program()} key create --principal user-1 --role developer --team ml{keys})"
    return "..."


def _program() -> str:
    """What the reader types to run this program: its name where the shell finds it, else the path that was typed."""
    typed = Path(sys.argv[0])
    found = shutil.which(PROGRAM)
    return str(typed) if typed.name == PROGRAM and (found is None or not typed.samefile(found)) else PROGRAM
