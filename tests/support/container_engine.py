"""A Docker engine to run compose.yaml on: the one that answers here, or one of the test's own.

An engine of our own is started from what `tools/engine/obtain` left in the user's cache. It has no registry, so the two
public base images are made here under their official names: Python from Debian's packages, OPA from the pinned binary.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import docker

PYTHON_IMAGE: Final = "python:3.11-slim"
OPA_IMAGE: Final = "openpolicyagent/opa:1.22.2-static"

_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ostiary" / "engine"
_OPA_RECIPE: Final = 'FROM scratch\nCOPY opa /opa\nUSER 1000:1000\nENTRYPOINT ["/opa"]\nCMD ["run"]\n'
_OBTAIN: Final = "`make compose` obtains what is missing on Debian as root"


class NoEngine(Exception):
    """No engine can be had on this machine; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Where an engine listens. `environ` is for the `docker` command and the `docker` package alike; `own` is whether
    the test started it, with base images of its own.
    """

    environ: dict[str, str]
    own: bool

    def client(self) -> docker.DockerClient:
        """A new client; whoever asks for it closes it."""
        return docker.DockerClient.from_env(environment=self.environ, timeout=120)

    def attempt(self, *command: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command run to its end, well or not."""
        environ = {**self.environ, **variables}
        return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=900, check=False)

    def run(self, *command: str, cwd: Path | None = None, **variables: str) -> str:
        """What a command prints; fails with what it complained about."""
        done = self.attempt(*command, cwd=cwd, **variables)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}\n{done.stderr}"
        return done.stdout


def check() -> None:
    """Return if an engine answers or can probably be started, without starting one; else raise NoEngine."""
    if _here() is None:
        _parts()


@contextlib.contextmanager
def engine(opa: Path) -> Iterator[Engine]:
    """An engine that answers; one of our own is gone at the end, with everything in it. Raises NoEngine."""
    if here := _here():
        yield here
        return
    plugin, python = _parts()
    scratch = Path(tempfile.mkdtemp(prefix="ostiary-engine-"))
    try:
        own = Engine(_environ(scratch, plugin), own=True)
        with _firewall_as_before(), _daemon(scratch, own):
            own.run("docker", "import", str(python), PYTHON_IMAGE)
            _opa_image(own, opa, scratch / "opa")
            yield own
    finally:
        shutil.rmtree(scratch)


def _here() -> Engine | None:
    """The engine that the `docker` command talks to, if it answers and Docker Compose is there."""
    facts = (["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"], ["version"], ["compose", "version"])
    said = []
    for arguments in facts:
        answer = _quietly("docker", *arguments)
        if answer is None:
            return None
        said.append(answer.strip())
    # The package knows nothing of the command's contexts, but both know the variable.
    return Engine({**os.environ, "DOCKER_HOST": said[0]}, own=False)


def _parts() -> tuple[Path, Path]:
    """Docker Compose and the base image with Python."""
    if os.geteuid() != 0:
        raise NoEngine("no docker answers, and only root can start an engine")
    missing = [command for command in ("dockerd", "docker", "iptables-save") if shutil.which(command) is None]
    plugins, images = sorted(_CACHE.glob("docker-compose-*")), sorted(_CACHE.glob("python-*.tar"))
    missing += [
        what for what, found in (("docker compose", plugins), ("a base image with python", images)) if not found
    ]
    if missing:
        raise NoEngine(f"no docker answers, and an engine of our own lacks {', '.join(missing)}; {_OBTAIN}")
    return plugins[-1], images[-1]


def _environ(scratch: Path, plugin: Path) -> dict[str, str]:
    """A client without the user's settings, that knows the plugin, and the classic builder, which is all there is."""
    plugins = scratch / "client" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-compose").symlink_to(plugin)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(scratch),
        "DOCKER_CONFIG": str(plugins.parent),
        "DOCKER_HOST": f"unix://{scratch}/docker.sock",
        "DOCKER_BUILDKIT": "0",
    }


@contextlib.contextmanager
def _daemon(scratch: Path, engine: Engine) -> Iterator[None]:
    """dockerd with everything that it keeps below `scratch`; ended by its own id."""
    command = [
        *("dockerd", "--host", engine.environ["DOCKER_HOST"], "--pidfile", str(scratch / "dockerd.pid")),
        *("--data-root", str(scratch / "data"), "--exec-root", str(scratch / "exec")),
    ]
    with (scratch / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_it_answers(process, engine, scratch / "dockerd.log")
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], engine: Engine, log: Path) -> None:
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        if engine.attempt("docker", "version").returncode == 0:
            return
        time.sleep(0.2)
    said = log.read_text(errors="replace").splitlines()[-3:]
    raise NoEngine(f"dockerd can't run here: {' | '.join(said)}")


def _opa_image(engine: Engine, opa: Path, folder: Path) -> None:
    folder.mkdir()
    shutil.copy(opa, folder / "opa")
    (folder / "Dockerfile").write_text(_OPA_RECIPE)
    engine.run("docker", "build", "--quiet", "--tag", OPA_IMAGE, str(folder))


@contextlib.contextmanager
def _firewall_as_before() -> Iterator[None]:
    """dockerd leaves its chains and its bridge behind; nothing else on this machine shall meet them."""
    tables = {table: _quietly("iptables-save", "--table", table) for table in ("filter", "nat")}
    try:
        yield
    finally:
        for rules in filter(None, tables.values()):
            _quietly("iptables-restore", given=rules)
        _quietly("ip", "link", "delete", "docker0")


def _quietly(*command: str, given: str = "") -> str | None:
    """What a command prints; None if it isn't there or goes wrong."""
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
