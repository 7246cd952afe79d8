"""`ostiary`: the command line, and the one place that knows the compiler and the server."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from policy.diagnostics import Findings, InvalidDocument
from policy.document import read_document
from translators.commands import app as policy_commands
from translators.commands.directory import ARCHIVE, CompiledDirectory
from translators.commands.loading import UNUSABLE, Loaded, compiled, show
from translators.opa import OpaNotFound, find

if TYPE_CHECKING:
    from server.config import Config

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="An OpenAI-compatible server in which a policy engine decides everything.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(policy_commands, name="policy")

HOME_VARIABLE = "OSTIARY_HOME"


@app.command()
def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration file.")],
    port: Annotated[int | None, typer.Option(help="Listen here instead of on `server.port`.")] = None,
) -> None:
    """Check and compile CONFIG, start OPA as a child process, and serve until Ctrl-C."""
    # Here and not above, so that the commands that start no server don't wait for it to be imported.
    from server.authn.development import DevelopmentKeyUnusable
    from server.authz.opa_command import OpaStartFailed
    from server.authz.runtime_directory import UnsafeDirectory
    from server.serving import PortInUse

    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        _run(config, port)
    except InvalidDocument as invalid:
        show(invalid.diagnostics, as_json_lines=False)
        raise typer.Exit(UNUSABLE) from None
    except (DevelopmentKeyUnusable, OpaNotFound, OpaStartFailed, PortInUse, UnsafeDirectory) as failure:
        sys.stderr.write(f"error: {failure}\n")
        raise typer.Exit(UNUSABLE) from None
    except ssl.SSLError as failure:
        sys.stderr.write(f"error: a certificate or key of the configuration can't be used: {failure.reason}\n")
        raise typer.Exit(UNUSABLE) from None
    except OSError as failure:
        if failure.filename is None:  # nothing of the configuration
            raise
        sys.stderr.write(f"error: `{failure.filename}` can't be opened: {failure.strerror}; choose another path\n")
        raise typer.Exit(UNUSABLE) from None


@app.command()
def token(
    subject: Annotated[str, typer.Option(help="Who the token is for.")],
    role: Annotated[list[str] | None, typer.Option(help="A role of theirs; may be repeated.")] = None,
    team: Annotated[list[str] | None, typer.Option(help="A team of theirs; may be repeated.")] = None,
    project: Annotated[list[str] | None, typer.Option(help="A project of theirs; may be repeated.")] = None,
    namespace: Annotated[list[str] | None, typer.Option(help="A namespace of theirs; may be repeated.")] = None,
    seconds: Annotated[int, typer.Option(help="How long it is valid.")] = 3600,
) -> None:
    """Print a token that is signed with the development key, which is made on first use."""
    from server.authn.development import DevelopmentKeyUnusable, issue_token

    try:
        made = issue_token(
            home(),
            subject,
            roles=role or (),
            teams=team or (),
            projects=project or (),
            namespaces=namespace or (),
            lifetime_seconds=seconds,
        )
    except (DevelopmentKeyUnusable, ValueError) as failure:
        sys.stderr.write(f"error: {failure}\n")
        raise typer.Exit(UNUSABLE) from None
    sys.stdout.write(f"{made}\n")


def _make_development_key(config: Config) -> None:
    """Make the development key if it is the one that the configuration trusts."""
    from server.authn.development import JWKS_FILE, development_jwks

    provider = config.server.auth.provider_config
    if provider is not None and provider.jwks.uri == f"file://{home() / JWKS_FILE}":
        development_jwks(home())


def home() -> Path:
    """The user's directory for the development key: `OSTIARY_HOME`, or `~/.ostiary`."""
    return Path(os.environ.get(HOME_VARIABLE) or "~/.ostiary").expanduser()


def _run(path: Path, port: int | None) -> None:
    from server import serving, wiring
    from server.banner import Policies, banner

    config, loaded = _read(path)
    if port is not None:
        config = config.model_copy(update={"server": config.server.model_copy(update={"port": port})})
    show(loaded.warnings, as_json_lines=False)
    opa = find()
    _make_development_key(config)
    listener = serving.listen(config.server.host, config.server.port)
    address, number = listener.getsockname()[:2]
    directory = serving.runtime_directory(number)
    rego = directory.path / "policy"
    CompiledDirectory(rego).write(loaded.bundle)
    policies = Policies(len(loaded.bundle.access), loaded.policies.access_name, len(loaded.bundle.routes), rego)
    authenticator = wiring.authenticator(config.server.auth)
    plan = wiring.Plan(config, rego / ARCHIVE, loaded.bundle.revision, opa, authenticator)

    def announce() -> None:
        sys.stderr.write(banner(path, config, policies, loaded.bundle.revision, address, number))
        sys.stderr.flush()

    with asyncio.Runner(loop_factory=serving.loop_factory) as runner:
        runner.run(serving.serve(plan, directory, listener, announce))


def _read(path: Path) -> tuple[Config, Loaded]:
    """The configuration and its policies; raises InvalidDocument with the findings of both."""
    from server.config import read_config

    document, findings = read_document(path), Findings()
    loaded = compiled(path, document, findings)
    config = read_config(document, os.environ, findings)
    findings.raise_errors()
    if loaded is None or config is None:
        raise InvalidDocument(findings.diagnostics)
    return config, replace(loaded, warnings=tuple(findings.diagnostics))


def main() -> None:
    """The console script."""
    app(prog_name="ostiary")


if __name__ == "__main__":
    main()
