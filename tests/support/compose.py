"""compose.yaml as docs/operate/deploy.md has it: its commands as they are written, and looks inside the containers."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import docker
import httpx
from docker.models.containers import Container

from tests.support.container_engine import Engine
from tests.support.ports import free_port

ROOT: Final = Path(__file__).parents[2]
PAPER: Final = ROOT / "docs" / "operate" / "deploy.md"
PORT: Final = "8321"
BLOCK: Final = re.compile(r"<!-- compose: (?P<name>\w+) -->\n```sh\n(?P<code>.*?)```", re.DOTALL)
PATIENCE_SECONDS: Final = 120


def blocks() -> dict[str, str]:
    """The commands of the paper that are marked to be run, by name."""
    return {found["name"]: found["code"] for found in BLOCK.finditer(PAPER.read_text())}


@dataclass(frozen=True, slots=True)
class Composed:
    """One project of compose.yaml. `configuration` is the directory that is mounted."""

    engine: Engine
    docker: docker.DockerClient
    project: str
    configuration: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def shell(self, *names: str) -> str:
        """What the named blocks of the paper print; fails if one of their commands does."""
        return self.engine.run("bash", "-c", self._code(names), cwd=ROOT, **self._variables())

    def refused(self, name: str) -> str:
        """What a block of the paper says when it fails, as it must."""
        done = self.engine.attempt("bash", "-c", self._code([name]), cwd=ROOT, **self._variables())
        assert done.returncode != 0
        return done.stdout + done.stderr

    def compose(self, *arguments: str) -> str:
        return self.engine.run("docker", "compose", *arguments, cwd=ROOT, **self._variables())

    def _code(self, names: Sequence[str]) -> str:
        code = "\n".join(["set -e", *(blocks()[name] for name in names)])
        return code.replace(f"localhost:{PORT}", f"localhost:{self.port}")

    def _variables(self) -> dict[str, str]:
        return {
            "COMPOSE_PROJECT_NAME": self.project,
            "OSTIARY_CONFIG": str(self.configuration),
            "OSTIARY_PORT": str(self.port),
        }

    def token(self, subject: str, *options: str) -> str:
        return self.compose("exec", "-T", "ostiary", "ostiary", "token", "--subject", subject, *options).strip()

    def ask(self, method: str, path: str, token: str | None = None, **body: Any) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.request(method, self.url + path, headers=headers, json=body or None, timeout=30)

    def chat(self, token: str | None, model: str = "echo/llama-3-2-3b") -> httpx.Response:
        messages = [{"role": "user", "content": "hello"}]
        return self.ask("POST", "/v1/chat/completions", token, model=model, messages=messages)

    def container(self, service: str) -> Container:
        labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}"]
        (found,) = self.docker.containers.list(all=True, filters={"label": labels})
        return found

    def left(self) -> list[str]:
        """Names of containers, volumes and networks of the project."""
        filters = {"label": f"com.docker.compose.project={self.project}"}
        kinds = (self.docker.containers.list(all=True, filters=filters), self.docker.networks.list(filters=filters))
        return [thing.name for kind in (*kinds, self.docker.volumes.list(filters=filters)) for thing in kind]

    def inside(self, service: str, *code: str, sharing: str = "network") -> str:
        """What Python code prints that shares a service's network or processes; the images of services can't run it."""
        name = f"container:{self.container(service).id}"
        places = {"network": {"network_mode": name}, "processes": {"pid_mode": name, "network_mode": "none"}}
        return self.python("\n".join(code), **places[sharing])

    def python(self, code: str, **options: Any) -> str:
        """What Python code prints in a container of its own, as the same user as the services."""
        said: bytes = self.docker.containers.run(
            self.container("ostiary").image, [code], entrypoint=["python3", "-c"], remove=True, stderr=True, **options
        )
        return said.decode().strip()

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds; a refused or broken connection counts as not yet."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if condition():
                    return
            time.sleep(0.1)
        raise AssertionError(
            f"{what} did not happen; the server said:\n{self.compose('logs', '--tail', '30', 'ostiary', 'opa')}"
        )


@contextlib.contextmanager
def composed(engine: Engine, configuration: Path, project: str) -> Iterator[Composed]:
    """The project, up and healthy by the paper's own command; at the end nothing of it is left but cached layers."""
    with contextlib.closing(engine.client()) as client:
        house = Composed(engine, client, project, configuration, free_port())
        try:
            try:
                house.shell("up")
            except AssertionError as failure:
                failure.add_note(house.compose("logs", "--tail", "30"))
                raise
            yield house
        finally:
            house.compose("down", "--volumes", "--rmi", "local", "--timeout", "5")
