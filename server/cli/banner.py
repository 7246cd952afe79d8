"""The banner of a start: the settings in force, printed once for the operator."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from textwrap import fill, indent
from typing import Final

from policy.source.diagnostics import visible
from server.cli.suggested_commands import attempts, in_url, is_loopback
from server.config import Config
from server.config.auth import (
    ApiKeyConfig,
    CustomConfig,
    GitHubConfig,
    KubernetesConfig,
    OAuth2Config,
    ProviderOfIdentity,
)
from server.config.decision_log import DecisionLogSetting, RotatedLog, rotated
from server.config.home import FILES_FOLDER, RECORDS_FILE, home
from server.config.server import ServerConfig
from server.config.shield_params import lets_pass
from server.config.storage import LocalBlobs, S3Blobs, StorageConfig
from server.wiring.vectors import DEFAULT, VECTOR_IO

AUTHENTICATION_OFF: Final = (
    "AUTHENTICATION IS OFF: every caller is anonymous, every access question is permitted, and rules with conditions "
    "are skipped; configure `server.auth.provider_config` before anyone else can reach this server"
)
METRICS_OPEN: Final = (
    "METRICS ARE OPEN: `server.metrics.host` lets everybody who can connect read them; have your network let "
    "Prometheus alone connect, or choose 127.0.0.1"
)

SHIELDS_OPEN: Final = (
    "SHIELDS LET TEXTS PASS WHEN THEY FAIL: {names} with `on_error: allow`, where no rule requires them; leave "
    "`on_error` out to block texts that are not checked"
)

_WIDTH: Final = 116


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies in force.

    The number of rules (of routes: None without a `route_policy`) and of guardrails, the access policy's name, the
    directory of the Rego, the OPA that reads it (None: an external one), and the ids of shields that rules require.
    """

    access_rules: int
    access_name: str
    route_rules: int | None
    guardrails: int
    rego: Path
    opa: Path | None = None
    required_shields: frozenset[str] = frozenset()


def alarms(config: Config) -> list[str]:
    """Return the dangers of a configuration, each as one sentence; `ostiary check` shows them as well."""
    found = [] if config.server.auth.provider_config else [AUTHENTICATION_OFF]
    metrics = config.server.metrics
    if metrics is not None and not is_loopback(metrics.host):
        found.append(METRICS_OPEN)
    lenient = [visible(f"`{shield.identity}`") for shield in config.shields if lets_pass(shield.params)]
    return [*found, SHIELDS_OPEN.format(names=", ".join(lenient))] if lenient else found


def banner(
    path: Path,
    config: Config,
    policies: Policies,
    revision: str,
    host: str,
    port: int,
    metrics_port: int | None = None,
) -> str:
    """Return the text that `ostiary run` prints once requests can be decided; the ports are those in use."""
    address = f"{'https' if config.server.tls_certfile else 'http'}://{in_url(host)}:{port}"
    facts = "".join(f"  {name:<15} {value}\n" for name, value in _facts(path, config, policies, revision, metrics_port))
    loud = "".join(f"\n{indent(fill(alarm, _WIDTH), '  !! ')}\n" for alarm in alarms(config))
    offered = "".join(f"  {line}\n" for line in attempts(path, config, host, port))
    return f"\nOstiary {version('ostiary')} serves on {address}\n\n{facts}{loud}\nTry in another terminal:\n{offered}\n"


def _facts(
    path: Path, config: Config, policies: Policies, revision: str, metrics_port: int | None
) -> Iterator[tuple[str, str]]:
    yield "configuration", visible(str(path))
    for api, providers in config.providers.items():
        yield api, ", ".join(f"{provider.provider_id} ({provider.provider_type})" for provider in providers)
    if VECTOR_IO in config.apis and VECTOR_IO not in config.providers:
        yield VECTOR_IO, f"{DEFAULT} (inline::lancedb)"
    yield "models", ", ".join(model.names[0] for model in config.models) or "none"
    provider = config.server.auth.provider_config
    yield "authentication", "OFF" if provider is None else f"{provider.type}, {_who_vouches(provider)}"
    default = " (the default policy)" if policies.access_name == "default_policy" else ""
    routes = "no route policy" if policies.route_rules is None else _counted(policies.route_rules, "route rule")
    yield "policy", f"{_counted(policies.access_rules, 'access rule')}{default}, {routes}"
    yield "guardrails", str(policies.guardrails or "none")
    if config.shields:
        yield "shields", ", ".join(_shields(config, policies.required_shields))
    yield "revision", revision
    yield "rego", _rego(policies)
    opa = config.server.opa.url
    yield "decided by", "its own OPA" if opa is None else f"the OPA at {opa}, once that is ready"
    if config.server.workers > 1:
        yield "workers", str(config.server.workers)
    yield "quotas", _quotas(config.server)
    yield "records", ", ".join(_backends(config.storage))
    yield "files", _place_of_files(config.storage)
    yield "decision log", _log_place(config.server.decision_log)
    yield "metrics", _metrics(config.server, metrics_port)


def _shields(config: Config, required: frozenset[str]) -> Iterator[str]:
    """Yield the shields, each with whether rules require it and what its failure means."""
    for shield in config.shields:
        if shield.identity in required:
            yield visible(f"{shield.identity} (required)")
        else:
            opens = lets_pass(shield.params)
            yield visible(f"{shield.identity} (lets texts pass when it fails)" if opens else shield.identity)


def _rego(policies: Policies) -> str:
    """Return where the compiled policy is, and how to read it with the OPA that decides."""
    if policies.opa is None:
        return str(policies.rego)
    found = shutil.which("opa")
    program = "opa" if found is not None and policies.opa.samefile(found) else shlex.quote(str(policies.opa))
    return f"{policies.rego} (try: {program} inspect -a {shlex.quote(str(policies.rego))})"


def _quotas(settings: ServerConfig) -> str:
    at_once = settings.max_concurrent_requests
    together = [] if at_once is None else [f"{at_once} at once in each process"]
    quota = settings.quota
    if quota is None:
        return ", ".join(["none", *together])
    numbers = [
        (quota.anonymous_max_requests, "requests of each address without a token"),
        (quota.authenticated_max_requests, "requests of each principal"),
        (quota.max_tokens_per_period, "tokens of each caller"),
    ]
    period = "an hour" if quota.period == "hour" else f"a {quota.period}"
    said = [f"{most} {what} {period}" for most, what in numbers if most is not None]
    kept = [(quota.max_records, "records"), (quota.max_bytes, "bytes")]
    said += [f"{most} {what} kept by each owner" for most, what in kept if most is not None]
    rules = [_counted(len(quota.limits), "limit") + " by rule"] if quota.limits else []
    return ", ".join([*said, *rules, *together]) or "none"


def _backends(storage: StorageConfig) -> list[str]:
    """Return the databases of the records, each once, without addresses."""
    stores = {name: getattr(storage.stores, name) for name in type(storage.stores).model_fields}
    if stores["usage"] is None:
        del stores["usage"]  # it is beside the registry
    names = dict.fromkeys(None if store is None else store.backend for store in stores.values())
    return [
        f"`{home() / RECORDS_FILE}` (sqlite)" if name is None else f"`{name}` ({storage.backends[name].type})"
        for name in names
    ]


def _place_of_files(storage: StorageConfig) -> str:
    match storage.blobs:
        case None:
            return f"`{home() / FILES_FOLDER}`"
        case LocalBlobs(path=path):
            return f"`{path}`"
        case S3Blobs(bucket=bucket):
            return f"the bucket `{bucket}`"


def _metrics(settings: ServerConfig, port: int | None) -> str:
    """Return where metrics are served, and to whom."""
    shown = []
    if settings.metrics is not None:
        number = settings.metrics.port if port is None else port
        shown.append(f"http://{in_url(settings.metrics.host)}:{number}/metrics")
    if settings.auth.provider_config is None:
        shown.append("/metrics, for everybody")
    elif settings.auth.route_policy is not None:
        shown.append("/metrics, for those whom the route policy permits it")
    return "; ".join(shown) or "not shown (see `server.metrics`, or write a route rule for `/metrics`)"


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
    if not isinstance(setting, Path | RotatedLog):
        return setting
    file = rotated(setting)
    if file.rotate_at is None:
        return f"{file.path}, never rotated"
    return f"{file.path}, rotated at {file.rotate_at} bytes, {file.keep} kept"
