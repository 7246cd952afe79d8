"""compose.yaml, the Dockerfile and their paper, read without an engine: closed as they promise, and of one mind."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path, PurePath
from typing import Any

import pytest
import typer
import yaml

from policy.source.diagnostics import Findings
from policy.source.document import read_document
from server.authz.opa.command import OLDEST
from server.cli.main import app
from server.config import Config, read_config
from server.process.uvicorn_server import GRACE_SECONDS, LAST_SECONDS
from tests.support.compose import BLOCK, PAPER, PORT, ROOT
from tests.support.container_engine import OPA_IMAGE, PYTHON_IMAGE
from translators import opa

EXAMPLE = ROOT / "examples/compose/config.yaml"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
SIDECAR = ROOT / "docs/operate/deploy.md"
TAKE_A_VALUE = {
    *("--addr", "--authentication", "--authorization", "--log-level", "--log-format"),
    *("--set", "--shutdown-grace-period"),
}
OPA_VERSION = ".".join(map(str, opa.VERSION))
VARIABLE = re.compile(r"\$\{([A-Z_]+)")


def instructions(name: str) -> list[str]:
    return [line.removeprefix(f"{name} ") for line in DOCKERFILE if line.startswith(f"{name} ")]


def environment(service: str) -> dict[str, str]:
    return dict(SERVICES[service].get("environment", {}))


@pytest.fixture(scope="module")
def config() -> Config:
    """The example as the server's container reads it."""
    findings = Findings()
    found = read_config(read_document(EXAMPLE), {**os.environ, "OSTIARY_OPA_TOKEN": "t" * 43}, findings)
    findings.raise_errors()
    assert found is not None
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_closed(service: str) -> None:
    facts = SERVICES[service]
    assert facts["user"] == "10001:10001"
    assert facts["read_only"] is True
    assert facts["cap_drop"] == ["ALL"]
    assert facts["security_opt"] == ["no-new-privileges:true"]
    assert facts["mem_limit"]
    assert facts["pids_limit"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & set(facts)


@pytest.mark.parametrize("service", ["opa", "ostiary"])
def test_what_serves_is_watched_and_started_again(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[service]["restart"] == "unless-stopped"


def test_they_start_in_order() -> None:
    assert SERVICES["opa"]["depends_on"] == {"policy": {"condition": "service_completed_successfully"}}
    assert SERVICES["ostiary"]["depends_on"] == {"opa": {"condition": "service_healthy"}}
    assert SERVICES["policy"]["restart"] == "no"


def test_the_server_is_given_the_time_that_it_takes_to_end() -> None:
    assert int(SERVICES["ostiary"]["stop_grace_period"].removesuffix("s")) > GRACE_SECONDS + 2 * LAST_SECONDS


def test_only_the_server_is_published_and_to_this_machine_alone() -> None:
    assert {name for name, facts in SERVICES.items() if "ports" in facts} == {"ostiary"}
    assert SERVICES["ostiary"]["ports"] == [f"${{OSTIARY_ADDRESS:-127.0.0.1}}:${{OSTIARY_PORT:-{PORT}}}:{PORT}"]
    assert SERVICES["policy"]["network_mode"] == "none"
    assert SERVICES["opa"]["networks"] == ["decisions"]
    assert COMPOSE["networks"]["decisions"] == {"internal": True}


def test_opa_is_locked_before_it_listens() -> None:
    command = SERVICES["opa"]["command"]
    assert {"--authentication=token", "--authorization=basic"} <= set(command)
    assert "./rego/system:/law:ro" in SERVICES["opa"]["volumes"]
    loaded = [Path(file) for file in command if file.startswith("/law/")]
    assert [file.name for file in loaded] == ["authz.rego", "mask.rego"]
    assert all((ROOT / "rego/system" / file.relative_to("/law")).is_file() for file in loaded)
    assert "/secrets/opa-tokens.json" in command


def test_opa_is_started_as_the_paper_about_it_says() -> None:
    (written,) = re.findall(
        r"^ +GOGC=400 GOMAXPROCS=4 opa (run .*?)^ +```", SIDECAR.read_text(), re.MULTILINE | re.DOTALL
    )
    words = iter(shlex.split(written.replace("\\\n", "")))
    options = {f"{word}={next(words)}" if word in TAKE_A_VALUE else word for word in words}
    ours = set(SERVICES["opa"]["command"])
    assert {PurePath(word).name for word in options ^ ours} == {
        *("--addr=127.0.0.1:8181", "--addr=0.0.0.0:8181"),  # on the host, in the container
        *("bundle.tar.gz", "authz.rego", "mask.rego", "tokens.json", "opa-tokens.json"),
    }
    assert environment("opa") == {"GOGC": "400", "GOMAXPROCS": "4"}


def test_only_what_makes_the_policy_and_the_token_may_write_them() -> None:
    writable = {
        (name, volume.split(":")[0])
        for name, facts in SERVICES.items()
        for volume in facts["volumes"]
        if not volume.endswith(":ro")
    }
    assert writable == {("policy", "policy"), ("policy", "secrets"), ("ostiary", "state")}


def test_policy_and_server_read_the_same_configuration() -> None:
    mounted = [
        [volume for volume in SERVICES[name]["volumes"] if "/etc/ostiary" in volume] for name in ("policy", "ostiary")
    ]
    assert mounted[0] == mounted[1] == ["${OSTIARY_CONFIG:-./examples/compose}:/etc/ostiary:ro"]
    assert environment("policy") == environment("ostiary")


def test_no_file_holds_a_token() -> None:
    given = {name for service in SERVICES for name in environment(service)}
    assert not [name for name in given if re.search("TOKEN|KEY|SECRET|PASSWORD", name)]


def test_one_version_of_opa_everywhere() -> None:
    assert SERVICES["opa"]["image"] == OPA_IMAGE == f"openpolicyagent/opa:{OPA_VERSION}-static"
    assert f"OPA_IMAGE={OPA_IMAGE}" in instructions("ARG")
    assert f"github.com/open-policy-agent/opa v{OPA_VERSION} " in (ROOT / "tools/go.mod").read_text()
    assert OLDEST == opa.VERSION
    assert OPA_IMAGE in PAPER.read_text()


def test_the_python_of_the_image_is_one_that_the_project_supports() -> None:
    assert f"PYTHON_IMAGE={PYTHON_IMAGE}" in instructions("ARG")
    assert PYTHON_IMAGE.startswith("python:3.11")


def test_the_dockerfile_needs_no_particular_builder() -> None:
    text = "\n".join(DOCKERFILE)
    assert not re.search(r"--mount|--chmod|--chown|--link|<<|syntax=", text)
    assert "--require-hashes -r tools/requirements.txt" in text


def test_no_stage_that_is_run_is_root_and_only_the_policy_has_opa() -> None:
    stages = [stage.split(" AS ") for stage in instructions("FROM")]
    assert [name for _, name in stages] == ["build", "server", "opa", "policy"]
    assert dict(map(reversed, stages))["policy"] == "server"
    assert instructions("USER") == ["10001:10001"]
    assert {SERVICES[name]["build"]["target"] for name in ("policy", "ostiary")} == {"policy", "server"}
    copied = "\n".join(DOCKERFILE[: DOCKERFILE.index("FROM ${OPA_IMAGE} AS opa")])
    assert "--from=opa" not in copied


def test_what_the_dockerfile_copies_is_there_and_let_through() -> None:
    let_through = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied = [word for line in instructions("COPY") if not line.startswith("--from") for word in line.split()[:-1]]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert name in let_through or str(Path(name).parent) in let_through, name


@pytest.mark.parametrize("script", ["tools/docker/prepare", "tools/docker/serve", "tools/engine/obtain"])
def test_the_scripts_can_be_run(script: str) -> None:
    path = ROOT / script
    shell = path.read_text().splitlines()[0].removeprefix("#!").split()
    assert os.access(path, os.X_OK)
    assert subprocess.run([*shell, "-n", str(path)], check=False).returncode == 0


def test_the_example_is_what_the_containers_expect(config: Config) -> None:
    server = config.server
    assert (server.host, str(server.port), server.decision_log) == ("0.0.0.0", PORT, "stdout")  # noqa: S104 - the container's
    assert server.opa.location == ("opa", 8181)
    assert "--addr=0.0.0.0:8181" in SERVICES["opa"]["command"]


def test_the_example_has_the_policies_of_the_tour() -> None:
    tour = yaml.safe_load((ROOT / "examples/multi-tenant/config.yaml").read_text())
    example = yaml.safe_load(EXAMPLE.read_text())
    assert example["server"]["auth"] == tour["server"]["auth"]
    for model in example["models"]:
        model["model_id"] = model["model_id"].replace("${env.OSTIARY_EXTRAS:+wordllama-256}", "wordllama-256")
    assert example["models"] == tour["models"]


@pytest.mark.parametrize(("extras", "served"), [("", False), ("local", True)])
def test_the_example_makes_embeddings_where_the_image_can(extras: str, served: bool) -> None:
    findings = Findings()
    environ = {"OSTIARY_OPA_TOKEN": "t" * 43, "OSTIARY_EXTRAS": extras}
    found = read_config(read_document(EXAMPLE), environ, findings)
    assert found is not None, findings.diagnostics
    kinds = {provider.provider_type for provider in found.providers["inference"]}
    assert ("inline::wordllama" in kinds) is served
    assert ("wordllama/wordllama-256" in {model.names[0] for model in found.models}) is served


@pytest.mark.parametrize(
    ("extras", "files"),
    [("", ["tools/requirements.txt"]), ("local", ["tools/requirements.txt", "tools/requirements-local.txt"])],
)
def test_the_image_has_the_extra_that_is_asked_for(tmp_path: Path, extras: str, files: list[str]) -> None:
    assert _installed(tmp_path, extras) == (0, files)


def test_an_extra_that_there_is_none_of_ends_the_build(tmp_path: Path) -> None:
    status, _ = _installed(tmp_path, "locla")
    assert status != 0


def _installed(folder: Path, extras: str) -> tuple[int, list[str]]:
    """The status of the lines that install dependencies, and the files of which all has to match its hash."""
    (folder / "pip").write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n')
    (folder / "pip").chmod(0o700)
    lines = [line for line in instructions("RUN") if "requirements" in line]
    environ = {"PATH": f"{folder}:{os.environ['PATH']}", "EXTRAS": extras}
    done = subprocess.run(["/bin/sh", "-ec", "\n".join(lines)], env=environ, capture_output=True, check=False)
    asked = (folder / "asked").read_text().splitlines()
    return done.returncode, [line.removeprefix("install --quiet --require-hashes -r ") for line in asked]


def test_both_images_have_the_same_extras() -> None:
    arguments = [SERVICES[name]["build"]["args"] for name in ("policy", "ostiary")]
    assert arguments == [{"EXTRAS": "${OSTIARY_EXTRAS:-}"}] * 2
    assert environment("ostiary")["OSTIARY_EXTRAS"] == "${OSTIARY_EXTRAS:-}"
    # Each stage that depends on it has to say so.
    assert instructions("ARG").count("EXTRAS=") == 2


def test_the_paper_names_every_variable_and_every_volume() -> None:
    text, paper = (ROOT / "compose.yaml").read_text(), PAPER.read_text()
    named = set(re.findall(r"`([A-Z_]+)`", paper))
    assert set(VARIABLE.findall(text)) <= named
    volumes = re.findall(r"^\| `(\w+)` \|", paper.split("| volume |")[1].split("\n\n")[0], re.MULTILINE)
    assert volumes == list(COMPOSE["volumes"])


def test_every_command_of_the_paper_exists() -> None:
    group = typer.main.get_command(app)
    code = "\n".join(found["code"] for found in BLOCK.finditer(PAPER.read_text()))
    commands = re.findall(r"(?:exec -T|run --rm) (\w+) ostiary ((?:[a-z]+ ?)+)", code)
    assert len(commands) == 4
    for service, words in commands:
        assert service in SERVICES
        command: Any = group
        for word in words.split():
            command = command.commands[word]
    for service in re.findall(r"compose logs .*?(\w+)(?: \||$)", code, re.MULTILINE):
        assert service in SERVICES
