"""The command line `ostiary`, the only module that uses both the compiler and the server."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Annotated

import typer

from policy.parser import read_policies
from policy.source.diagnostics import Findings, InvalidDocument, visible
from policy.source.document import Mapping, read_document
from server.cli.batch import app as batch_commands
from server.cli.commands import Commands
from server.cli.configured import translated
from server.cli.files import app as file_commands
from server.cli.keys import app as key_commands
from server.cli.quota import app as quota_commands
from server.cli.token import token
from server.cli.usage import usage
from server.config.home import home, is_in_home
from translators.commands import app as policy_commands
from translators.commands.directory import ARCHIVE, CompiledDirectory
from translators.commands.loading import FAILED, UNUSABLE, Loaded, compiled, show
from translators.opa import OpaNotFound, find

if TYPE_CHECKING:
    from server.config import Config
    from server.wiring.policy_engine import OwnOpa, Plan

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="An OpenAI-compatible server in which a policy engine decides everything.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"ostiary {version('ostiary')}\n")
        raise typer.Exit


@app.callback()
def ostiary(
    context: typer.Context,
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """An OpenAI-compatible server in which a policy engine decides everything."""
    context.obj = translated


app.add_typer(policy_commands, name="policy")
app.add_typer(key_commands, name="key")
app.add_typer(quota_commands, name="quota")
app.add_typer(file_commands, name="files")
app.add_typer(batch_commands, name="batch")
app.command()(usage)


@app.command()
def run(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="The configuration file.")] = None,
    config_option: Annotated[
        Path | None, typer.Option("--config", metavar="CONFIG", help="The same, as Llama Stack takes it.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Listen here instead of on `server.port`.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="So many processes instead of `server.workers`.")
    ] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Only say what is wrong with CONFIG; nothing starts.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --check: let warnings fail, with exit code 1.")
    ] = False,
) -> None:
    """Check and compile CONFIG, start OPA as a child process, and serve until Ctrl-C.

    CONFIG may be a file of Llama Stack or OGX of which everything is served; `ostiary import` writes one for this
    server.
    """
    # Imported here so that commands without a server start faster.
    from server.net.log_filter import log_to_stderr
    from server.process.startup import start_failure

    log_to_stderr()
    path = config if config_option is None else config_option
    if path is None or (config is not None and config_option is not None):
        raise typer.BadParameter("name one configuration file", param_hint="CONFIG")
    if strict and not check:
        raise typer.BadParameter("it goes with --check alone", param_hint="--strict")
    try:
        if check:
            status = FAILED if _check(path) and strict else 0
        else:
            status = 0
            _run(path, port, workers)
    except InvalidDocument as invalid:
        show(invalid.diagnostics, as_json_lines=False)
    except Exception as fault:
        from server.authn.development import DevelopmentKeyUnusable

        told = isinstance(fault, DevelopmentKeyUnusable | OpaNotFound)
        sentence = str(fault) if told else start_failure(fault)
        if sentence is None:
            raise
        sys.stderr.write(f"error: {sentence}\n")
    else:
        raise typer.Exit(status)
    raise typer.Exit(UNUSABLE)


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A configuration of Llama Stack or OGX.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="What is written; else FILE with `-ostiary.yaml` at its end."
        ),
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the changes as JSON, one a line.")] = False,
) -> None:
    """Write a configuration of this server that says what FILE says, and explain each change.

    Exit code 0: it can be served, once its variables are set. 1: it is written, and something in it has to be mended.
    2: nothing is written.
    """
    from server.cli.importing import Unimported, import_file

    def judge(document: Mapping, findings: Findings) -> Config | None:
        return _judged(file, document, findings)[0]

    try:
        usable = import_file(file, output, judge, force=force, as_json_lines=json_output)
    except Unimported:
        raise typer.Exit(UNUSABLE) from None
    raise typer.Exit(0 if usable else FAILED)


@app.command()
def limits() -> None:
    """Print what the server takes from a client, and the shares of a caller, as Markdown."""
    from server.cli.limits.markdown import report

    sys.stdout.write(report())


app.command()(token)


def _make_development_key(config: Config) -> None:
    """Create the development key if the configuration trusts it."""
    from server.authn.development import JWKS_FILE, development_jwks
    from server.config.auth import OAuth2Config

    provider = config.server.auth.provider_config
    if isinstance(provider, OAuth2Config):
        key_sets = [issuer.jwks for issuer in (provider, *provider.issuers) if issuer.jwks is not None]
        if any(is_in_home(jwks.uri, JWKS_FILE) for jwks in key_sets):
            development_jwks(home())


def _check(path: Path) -> int:
    """Report the mistakes and dangers of CONFIG as a start does; return the number of warnings.

    Raises InvalidDocument as a start does.
    """
    from server.cli.banner import alarms

    config, loaded = _read(path)
    show(loaded.warnings, as_json_lines=False)
    doubts = _look_at_files(config)
    found = alarms(config)
    sys.stderr.writelines(f"warning: {alarm}\n" for alarm in found)
    sys.stdout.write(f"{visible(str(path))} can be served, with the policies of revision {loaded.bundle.revision}\n")
    return len(loaded.warnings) + doubts + len(found)


def _look_at_files(config: Config) -> int:
    """Report dangers of certificates and keys; return the number of warnings.

    Raises the exceptions that `start_failure` describes.
    """
    from server.wiring.preflight import preflight

    doubts = preflight(config)
    sys.stderr.writelines(f"warning: {doubt}\n" for doubt in doubts)
    return len(doubts)


def _run(path: Path, port: int | None, workers: int | None) -> None:
    gc.disable()  # a start makes many objects and drops few; `settled` switches it on again
    import uvloop

    from server.authz.opa.transport import UnixAddress
    from server.cli.banner import Policies, banner
    from server.process import startup
    from server.wiring import policy_engine

    startup.raise_file_limit()
    config, loaded = _read(path)
    config = _overridden(config, port, workers)
    show(loaded.warnings, as_json_lines=False)
    elsewhere = policy_engine.opa_elsewhere(config.server.opa)
    binary = find() if elsewhere is None else None
    listener = startup.listen(config.server.host, config.server.port)
    address, number = listener.getsockname()[:2]
    asked = config.server.metrics
    metrics = None if asked is None else startup.listen(asked.host, asked.port, "server.metrics.port")
    with closing(startup.runtime_directory(number)) as directory:
        rego = directory.path / "policy"
        CompiledDirectory(rego).write(loaded.bundle)
        routes = None if loaded.policies.routes is None else len(loaded.bundle.routes)
        policies = Policies(
            len(loaded.bundle.access),
            loaded.policies.access_name,
            routes,
            loaded.bundle.guardrails,
            rego,
            binary,
            loaded.policies.required_shields,
        )
        metrics_port = None if metrics is None else metrics.getsockname()[1]
        own = None if binary is None else policy_engine.OwnOpa(binary, rego / ARCHIVE, directory)
        plan = policy_engine.Plan(config, loaded.bundle.revision, elsewhere or UnixAddress(directory.socket))

        def announce() -> None:
            revision = loaded.bundle.revision
            sys.stderr.write(banner(path, config, policies, revision, address, number, metrics_port))
            sys.stderr.flush()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(plan, own, listener, directory.path, announce, metrics))


async def _serve(
    plan: Plan,
    own: OwnOpa | None,
    listener: socket,
    directory: Path,
    announce: Callable[[], None],
    metrics: socket | None,
) -> None:
    from server.wiring.policy_engine import engine_at_work

    async with engine_at_work(plan, own) as ready:
        _make_development_key(plan.config)
        _look_at_files(plan.config)
        # Imported here: it takes as long as OPA needs to get ready.
        if plan.config.server.workers == 1:
            from server.process.serving import serve

            await serve(plan, ready, listener, announce, metrics)
        else:
            from server.process.supervisor import supervise

            await supervise(plan, ready, listener, directory, announce, metrics)


def _overridden(config: Config, port: int | None, workers: int | None) -> Config:
    """Return the configuration with the settings of the command line."""
    said = {"port": port, "workers": workers}
    changes = {name: value for name, value in said.items() if value is not None}
    return config.model_copy(update={"server": config.server.model_copy(update=changes)})


def _read(path: Path) -> tuple[Config, Loaded]:
    """Return the configuration and its policies; raise InvalidDocument with the findings of both."""
    findings = Findings()
    config, loaded = _judged(path, translated(read_document(path), findings), findings)
    findings.raise_errors()
    if loaded is None or config is None:
        raise InvalidDocument(findings.diagnostics)
    return config, replace(loaded, warnings=tuple(findings.diagnostics))


def _judged(path: Path, document: Mapping, findings: Findings) -> tuple[Config | None, Loaded | None]:
    """Return the configuration in `document` and its compiled policies; None for either after an error in it."""
    from server.config import read_config

    policies = read_policies(document, os.environ, findings)
    config = read_config(document, os.environ, findings)
    # The deployment of an external OPA's bundle has checked its guardrails. They are part of the revision, so that no
    # others ever decide.
    elsewhere = config is not None and config.server.opa.location is not None
    if policies is None:
        return config, None
    return config, compiled(path, document, policies, findings, check_guardrails=not elsewhere)


def main() -> None:
    """Run the console script."""
    app(prog_name="ostiary")


if __name__ == "__main__":
    main()
