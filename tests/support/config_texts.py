"""Short ways from the text of a configuration to a `Config` or to its diagnostics."""

from __future__ import annotations

from textwrap import dedent

from policy.source.diagnostics import Diagnostic, Findings, Severity
from policy.source.document import parse_document
from server.config import Config, read_config

NAME = "config.yaml"


def read(text: str, environ: dict[str, str] | None = None) -> tuple[Config | None, list[Diagnostic]]:
    """The configuration and everything that was found."""
    findings = Findings()
    config = read_config(parse_document(dedent(text), NAME), environ or {}, findings)
    return config, findings.diagnostics


def load(text: str, **environ: str) -> Config:
    """A configuration without errors."""
    config, found = read(text, environ)
    assert config is not None, list(map(str, found))
    return config


def errors(text: str, **environ: str) -> list[str]:
    """The errors as `LINE:COLUMN: message; hint`, in the order of the file."""
    config, found = read(text, environ)
    wrong = sorted((error for error in found if error.severity is Severity.ERROR), key=lambda error: error.span)
    assert (config is None) == bool(wrong)
    return [str(error).removeprefix(f"{NAME}:").replace(" error:", "", 1) for error in wrong]


def warnings(text: str, **environ: str) -> list[str]:
    """The warnings, likewise."""
    found = [found for found in read(text, environ)[1] if found.severity is Severity.WARNING]
    return [str(warning).removeprefix(f"{NAME}:").replace(" warning:", "", 1) for warning in found]


def with_provider(settings: str, provider_type: str = "remote::openai") -> str:
    """A configuration with one inference provider; `settings` are lines under its `config`."""
    head = ["providers:", "  inference:", "  - provider_id: one", f"    provider_type: {provider_type}", "    config:"]
    return "\n".join(head + [f"      {line}" for line in dedent(settings).strip().splitlines()]) + "\n"


def with_models(*models: str, providers: tuple[str, ...] = ("ollama",)) -> str:
    """A configuration with Ollama providers of these ids; each model is a flow mapping such as `{model_id: a}`."""
    lines = ["providers:", "  inference:"]
    lines += [f"  - {{provider_id: {provider}, provider_type: remote::ollama}}" for provider in providers]
    return "\n".join([*lines, "models:", *(f"- {model}" for model in models)]) + "\n"


def with_server(settings: str) -> str:
    """A configuration that has these lines under `server`."""
    return "server:\n" + "".join(f"  {line}\n" for line in dedent(settings).strip().splitlines())


def one_error(text: str, **environ: str) -> str:
    """The sentence of the only error, without its place."""
    [error] = errors(text, **environ)
    return error.split(": ", 1)[1]
