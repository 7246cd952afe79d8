"""`server.opa.url`: the server asks an OPA that somebody else runs, as docs/operate/deploy.md says how to."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.support.ostiary_run import OPEN, Running, children, environment, eventually, running, written
from tests.support.patience import PATIENCE
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
TOKEN = "the-servers-own-token-long-enough-to-be-one"
ELSEWHERE = OPEN + "  opa: {url: 'http://127.0.0.1:PORT', token: '${env.OPA_TOKEN}'}\n"
AS_MEMBERS = """\
  auth:
    provider_config:
      type: oauth2_token
      audience: ostiary
      issuer: ostiary-development
      jwks: {uri: "file://${env.OSTIARY_HOME}/development-jwks.json"}
    access_policy:
      - permit: {actions: [ACTION]}
"""


def documented(port: int) -> list[str]:
    """The command of docs/operate/deploy.md, after the name of the program."""
    text = (ROOT / "docs" / "operate" / "deploy.md").read_text()
    (block,) = re.findall(r"```sh\n\s*(GOGC=400 GOMAXPROCS=4 opa run.*?)```", text, re.DOTALL)
    return shlex.split(block.replace("\\\n", " ").replace("127.0.0.1:8181", f"127.0.0.1:{port}"))[3:]


def compile_bundle(config: Path, environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "server.cli.main", "policy", "compile", str(config), "-o", "policy-bundle"]
    environ = {**environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=config.parent, env=environ, check=True, capture_output=True)


@contextmanager
def opa_at(port: int, binary: Path, folder: Path, token: str = TOKEN) -> Iterator[subprocess.Popen[bytes]]:
    """OPA as documented, in a folder that has what it needs."""
    if not (folder / "rego").exists():
        (folder / "rego").symlink_to(ROOT / "rego")
    (folder / "tokens.json").write_text(json.dumps({"ostiary_tokens": {"server": token}}))
    command = [str(binary), *(part.replace("$PWD", str(folder)) for part in documented(port))]
    opa = subprocess.Popen(command, cwd=folder, env={"GOGC": "400", "GOMAXPROCS": "4"}, stderr=subprocess.DEVNULL)
    try:
        yield opa
    finally:
        opa.kill()
        opa.wait()


@pytest.fixture
def environ(tmp_path: Path, opa_binary: Path) -> dict[str, str]:
    # No OPA of the server's own: it has no use for one.
    home = {**environment(tmp_path, opa_binary), "OPA_TOKEN": TOKEN, "OSTIARY_HOME": str(tmp_path / "home")}
    del home["OSTIARY_OPA"]
    return home


def readiness(server: Running) -> tuple[int, str | None]:
    answer = httpx.get(f"{server.address}/v1/health/ready", timeout=PATIENCE)
    return answer.status_code, answer.json()["policy"]["reason"]


def status(server: Running) -> int:
    return httpx.get(f"{server.address}/v1/health", timeout=PATIENCE).status_code


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_the_server_comes_first_and_serves_as_soon_and_as_long_as_opa_does(
    tmp_path: Path, opa_binary: Path, environ: dict[str, str], options: tuple[str, ...]
) -> None:
    port = free_port()
    config = written(tmp_path, ELSEWHERE.replace("PORT", str(port)))
    with running(config, environ, *options) as server:
        assert f"the OPA at http://127.0.0.1:{port}" in server.banner
        refused = httpx.get(f"{server.address}/v1/models", timeout=PATIENCE)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "policy_unavailable")
        assert refused.headers["retry-after"]
        assert readiness(server) == (503, "opa can't be reached")
        assert status(server) == 503
        assert children(server.process.pid) == server.workers
        compile_bundle(config, environ)
        for _ in range(2):
            with opa_at(port, opa_binary, tmp_path):
                assert eventually(lambda: status(server) == 200)
                # The other worker may notice OPA a moment later.
                assert eventually(lambda: httpx.get(f"{server.address}/v1/models", timeout=PATIENCE).status_code == 200)
                assert eventually(lambda: readiness(server) == (200, None))
                assert server.has_said(f"opa at 127.0.0.1:{port} is ready, revision ")
            assert eventually(lambda: status(server) == 503)
        assert server.has_said(f"not ready: opa can't be reached; requests get 503 until opa at 127.0.0.1:{port} is")
        assert TOKEN not in server.banner


def test_an_opa_with_another_revision_gets_no_say_until_it_has_the_wanted_one(
    tmp_path: Path, opa_binary: Path, environ: dict[str, str]
) -> None:
    port = free_port()
    text = (ELSEWHERE + AS_MEMBERS).replace("PORT", str(port))
    config = written(tmp_path, text.replace("ACTION", "read"))
    compile_bundle(config, environ)
    written(tmp_path, text.replace("ACTION", "create"))
    made = [sys.executable, "-m", "server.cli.main", "token", "--subject", "ann"]
    with running(config, environ) as server:
        token = subprocess.run(made, env=environ, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}

        def ready() -> tuple[int, str]:
            answer = httpx.get(f"{server.address}/v1/health/ready", headers=headers, timeout=PATIENCE)
            return answer.status_code, answer.json()["policy"]["reason"]

        with opa_at(port, opa_binary, tmp_path):
            other = "opa answers from another policy revision than the wanted one"
            assert eventually(lambda: ready() == (503, other))
            assert httpx.get(f"{server.address}/v1/models", headers=headers, timeout=PATIENCE).status_code == 503
        compile_bundle(config, environ)
        with opa_at(port, opa_binary, tmp_path):
            assert eventually(lambda: ready() == (200, None))
            # The old policy would have shown it.
            assert httpx.get(f"{server.address}/v1/models", headers=headers, timeout=PATIENCE).json()["data"] == []


def test_a_wrong_token_is_named(tmp_path: Path, opa_binary: Path, environ: dict[str, str]) -> None:
    port = free_port()
    config = written(tmp_path, ELSEWHERE.replace("PORT", str(port)))
    compile_bundle(config, environ)
    with running(config, environ) as server, opa_at(port, opa_binary, tmp_path, token=TOKEN[::-1]):
        assert eventually(lambda: readiness(server) == (503, "opa answered with status 401"))
        assert status(server) == 503


class OldOpa(BaseHTTPRequestHandler):
    """Calls itself healthy and old, and hands everything else to a real OPA: what it decides is right."""

    version = "1.21.0"
    behind = 0

    def do_GET(self) -> None:
        info = f'# TYPE opa_info gauge\nopa_info{{version="{self.version}"}} 1\n'
        self._answer(200, info.encode() if self.path == "/metrics" else b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {"Authorization": self.headers["Authorization"], "Content-Type": "application/json"}
        real = httpx.post(f"http://127.0.0.1:{self.behind}{self.path}", content=body, headers=headers, timeout=PATIENCE)
        self._answer(real.status_code, real.content)

    def log_message(self, *_: object) -> None:
        return

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_an_opa_that_is_too_old_gets_no_say_although_its_answers_are_right(
    tmp_path: Path, opa_binary: Path, environ: dict[str, str]
) -> None:
    behind = free_port()

    class Old(OldOpa):
        pass

    Old.behind = behind
    with ThreadingHTTPServer(("127.0.0.1", 0), Old) as old:
        serving = threading.Thread(target=old.serve_forever)
        serving.start()
        config = written(tmp_path, ELSEWHERE.replace("PORT", str(old.server_port)))
        compile_bundle(config, environ)
        with running(config, environ) as server, opa_at(behind, opa_binary, tmp_path):
            sentence = "opa is version 1.21.0, which is too old; run 1.22.2 or newer"
            assert server.has_said(f"not ready: {sentence}")
            assert readiness(server) == (503, sentence)
            assert status(server) == 503
            Old.version = "1.22.2"
            assert eventually(lambda: status(server) == 200)
        old.shutdown()
        serving.join()
