"""`docker compose up` for real: commands of docs/operate/deploy.md, what containers may do, and OPA's end and return.

Takes minutes, so it runs under OSTIARY_NIGHTLY=1; `make compose` is the way there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ContainerError

from tests.support.compose import ROOT, Composed, blocks, composed
from tests.support.container_engine import OPA_IMAGE, PYTHON_IMAGE, NoEngine, check, engine

if os.environ.get("OSTIARY_NIGHTLY") != "1":
    pytest.skip("compose.yaml is not run for real, which takes minutes; `make compose` does", allow_module_level=True)
try:
    check()
except NoEngine as missing:
    pytest.skip(f"compose.yaml is NOT TESTED here: {missing}", allow_module_level=True)

pytestmark = pytest.mark.timeout(1800)

SERVICES = ["policy", "opa", "ostiary"]
DECISION = "/v1/data/ostiary/decision/answer"
REACHES = """
import socket
try:
    socket.create_connection(("{host}", {port}), 5)
except OSError:
    print(False)
else:
    print(True)
"""
GUARDRAIL = """package ostiary.guardrails

deny contains {"reason": "the assistant is on holiday"} if {
	"assistant" in input.resource.names
}
"""
RESEARCH_RULE = "        unless: user with research in teams\n"


def announce(config: pytest.Config, sentence: str) -> None:
    """Say it where it is seen, whatever pytest captures."""
    plugins = config.pluginmanager
    with plugins.get_plugin("capturemanager").global_and_fixture_disabled():
        plugins.get_plugin("terminalreporter").write_line(f"\n{sentence}", yellow=True)


@pytest.fixture(scope="module")
def house(
    opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Composed]:
    """compose.yaml with a configuration that may be changed, up and healthy."""
    configuration = tmp_path_factory.mktemp("configuration")
    configuration.chmod(0o755)
    shutil.copy(ROOT / "examples/compose/config.yaml", configuration)
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(engine(opa_binary))
        except NoEngine as missing:
            announce(request.config, f"compose.yaml is NOT TESTED here: {missing}")
            pytest.skip("no engine")
        if found.own:
            announce(request.config, f"an engine of the test's own: {PYTHON_IMAGE} and {OPA_IMAGE} are local images")
        yield stack.enter_context(composed(found, configuration, f"ostiary-test-{uuid.uuid4().hex[:8]}"))


@pytest.fixture(scope="module")
def developer(house: Composed) -> str:
    return house.token("user-1", "--role", "developer", "--team", "ml")


def live_revision(house: Composed, token: str) -> str | None:
    policy = house.ask("GET", "/v1/health/ready", token).json()["policy"]
    return policy["live_revision"] if policy["live_revision"] == policy["wanted_revision"] else None


def error_code(answer: Any) -> str:
    return str(answer.json()["error"]["code"])


def test_the_developers_answer_streams(house: Composed) -> None:
    lines = [line for line in house.shell("tokens", "chat").splitlines() if line]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert lines[-1] == "data: [DONE]"
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "echo: hello there"


def test_the_refused_route_and_the_hidden_model(house: Composed) -> None:
    said = house.shell("tokens", "refused").replace("}{", "}\n{").splitlines()
    assert [json.loads(line)["error"]["code"] for line in said] == ["insufficient_permissions", "model_not_found"]


def test_each_sees_their_own_models(house: Composed) -> None:
    said = house.shell("tokens", "models").replace("}{", "}\n{").splitlines()
    seen = [{model["id"] for model in json.loads(line)["data"]} for line in said]
    assert seen == [{"echo/llama-3-2-3b", "echo/mistral-7b", "echo/assistant"}, {"echo/assistant"}]


def test_the_log_names_the_rule_and_its_line(house: Composed, developer: str) -> None:
    house.chat(developer, "research-preview")
    house.wait("the line of the refusal", lambda: '"deny"' in house.shell("log"))
    record = next(json.loads(line) for line in house.shell("log").splitlines()[::-1] if '"deny"' in line)
    assert record["principal"] == "user-1"
    assert record["description"] == "research models are for the research team"
    file, line = record["source"].split(":")
    assert "forbid" in (house.configuration / file).read_text().splitlines()[int(line) - 1]


def test_explain_has_opa_in_the_image_of_the_policy(house: Composed) -> None:
    assert "research models are for the research team" in house.shell("explain")


def test_no_block_of_the_paper_goes_untested() -> None:
    assert set(blocks()) == {"up", "tokens", "chat", "refused", "models", "log", "explain", "change"}


def test_only_health_and_version_answer_without_a_token(house: Composed) -> None:
    assert house.ask("GET", "/v1/health").status_code == 200
    assert house.ask("GET", "/v1/version").status_code == 200
    assert house.ask("GET", "/v1/models").status_code == 401
    assert house.ask("GET", "/v1/models", "forged").status_code == 401
    assert house.chat(None).status_code == 401


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_closed_as_compose_yaml_says(house: Composed, service: str) -> None:
    facts = house.container(service).attrs
    limits = facts["HostConfig"]
    assert facts["Config"]["User"] == "10001:10001"
    assert limits["ReadonlyRootfs"] is True
    assert limits["Privileged"] is False
    assert (limits["CapDrop"], limits["CapAdd"]) == (["ALL"], None)
    assert "no-new-privileges:true" in limits["SecurityOpt"]
    assert 0 < limits["Memory"] <= 2**30
    assert 0 < limits["PidsLimit"] <= 256


@pytest.mark.parametrize("service", ["opa", "ostiary"])
def test_a_running_process_has_no_rights(house: Composed, service: str) -> None:
    said = house.inside(service, "print(open('/proc/1/status').read())", sharing="processes")
    status = {name: value.split() for name, _, value in (line.partition(":") for line in said.splitlines())}
    assert status["Uid"] == ["10001"] * 4
    assert status["Gid"] == ["10001"] * 4
    assert [int(status[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")] == [0] * 5
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]


def test_the_servers_files_can_not_be_changed_from_inside(house: Composed) -> None:
    for folder in ("/", "/opt/ostiary", "/etc/ostiary", "/secrets"):
        done = house.container("ostiary").exec_run(["touch", f"{folder}/planted"])
        assert done.exit_code != 0, folder
        assert b"Read-only file system" in done.output or b"Permission denied" in done.output


def test_the_servers_image_holds_no_opa_and_no_installer(house: Composed) -> None:
    for command in ("opa", "pip"):
        assert house.container("ostiary").exec_run(["sh", "-c", f"command -v {command}"]).exit_code != 0


def test_only_the_servers_port_is_published(house: Composed) -> None:
    published = {service: house.container(service).ports for service in SERVICES}
    assert published["ostiary"] == {"8321/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(house.port)}]}
    assert not any(published["opa"].values())
    assert not any(published["policy"].values())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", DECISION, 401),
        ("PUT", "/v1/policies/mine", 401),
        ("PUT", "/v1/data/ostiary_tokens", 401),
        ("GET", "/v1/data/ostiary_tokens", 401),
        ("GET", "/metrics", 401),
        ("GET", "/health", 200),
    ],
)
@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer " + "x" * 43}], ids=["no-token", "wrong-token"])
def test_opa_is_locked_for_its_neighbours(
    house: Composed, method: str, path: str, status: int, header: dict[str, str]
) -> None:
    """From inside the server's own network, where OPA can be reached: whoever gets there still lacks the token."""
    said = house.inside(
        "ostiary",
        "from http.client import HTTPConnection",
        "connection = HTTPConnection('opa', 8181, timeout=20)",
        f"connection.request({method!r}, {path!r}, b'{{}}', {header!r})",
        "print(connection.getresponse().status)",
    )
    assert said == str(status)


def test_opa_and_the_server_are_alone_with_each_other(house: Composed) -> None:
    networks = {
        service: set(house.container(service).attrs["NetworkSettings"]["Networks"]) for service in ("opa", "ostiary")
    }
    decisions, outside = f"{house.project}_decisions", f"{house.project}_default"
    assert networks == {"opa": {decisions}, "ostiary": {decisions, outside}}
    assert house.docker.networks.get(decisions).attrs["Internal"] is True
    address = house.container("ostiary").attrs["NetworkSettings"]["Networks"][outside]["IPAddress"]
    assert house.inside("opa", REACHES.format(host=address, port=8321)) == "False"
    assert house.inside("opa", REACHES.format(host="ostiary", port=8321)) == "True"
    assert house.python(REACHES.format(host="opa", port=8181), network=outside) == "False"


def test_the_token_between_server_and_opa_shows_nowhere(house: Composed, developer: str) -> None:
    house.chat(developer)
    token = house.container("ostiary").exec_run(["cat", "/secrets/server-token"]).output.decode().strip()
    assert len(token) >= 32
    modes = house.container("ostiary").exec_run(["stat", "-c", "%a %u", "/secrets", "/secrets/server-token"]).output
    assert modes.decode().split() == ["700", "10001", "600", "10001"]
    for service in SERVICES:
        container = house.container(service)
        assert token not in json.dumps(container.attrs)
        assert token not in json.dumps(container.image.attrs)
        assert token not in container.logs().decode()
    assert developer not in house.container("ostiary").logs().decode()


def test_without_opa_there_is_503_and_with_it_again_an_answer(house: Composed, developer: str) -> None:
    opa = house.container("opa")
    opa.kill()
    house.wait("the refusal", lambda: house.chat(developer).status_code == 503)
    refused = house.chat(developer)
    assert (refused.status_code, error_code(refused)) == (503, "policy_unavailable")
    assert refused.headers["retry-after"]
    assert house.ask("GET", "/v1/models", developer).status_code == 503
    assert house.ask("GET", "/v1/health").status_code == 503
    house.wait("the ill health", lambda: house.container("ostiary").attrs["State"]["Health"]["Status"] == "unhealthy")
    opa.start()
    house.wait("the recovery", lambda: house.chat(developer).status_code == 200)
    house.wait("the health", lambda: house.container("ostiary").attrs["State"]["Health"]["Status"] == "healthy")


@pytest.mark.parametrize("service", ["opa", "ostiary"])
def test_a_process_that_ends_is_started_again(house: Composed, developer: str, service: str) -> None:
    before = house.container(service).attrs["State"]["StartedAt"]
    try:
        house.inside(service, "import os, signal", "os.kill(1, signal.SIGTERM)", sharing="processes")
    except ContainerError as ended:
        # The kernel kills all that share the processes of a container whose first process has ended, this code too.
        assert ended.exit_status == 128 + signal.SIGKILL
    house.wait("the new start", lambda: house.container(service).attrs["State"]["StartedAt"] != before)
    assert house.container(service).attrs["State"]["ExitCode"] == 0
    house.wait("the recovery", lambda: house.chat(developer).status_code == 200)


@pytest.mark.parametrize(("right", "wrong"), [("actions: [read]", "actions: [raed]"), ("  port: ", "  prot: ")])
def test_a_mistake_stops_nothing(house: Composed, developer: str, right: str, wrong: str) -> None:
    config = house.configuration / "config.yaml"
    whole, before = config.read_text(), house.container("ostiary").id
    config.write_text(whole.replace(right, wrong, 1))
    said = house.refused("change")
    config.write_text(whole)
    assert "/etc/ostiary/config.yaml:" in said
    assert wrong.split()[-1].strip("[]:") in said
    assert house.container("ostiary").id == before
    assert house.chat(developer).status_code == 200


def test_a_changed_policy_and_a_guardrail_come_into_force(house: Composed, developer: str) -> None:
    config, before = house.configuration / "config.yaml", live_revision(house, developer)
    assert error_code(house.chat(developer, "research-preview")) == "model_not_found"
    assert house.chat(developer, "echo/assistant").status_code == 200
    opened = config.read_text().replace(RESEARCH_RULE, "        unless: user with ml in teams\n")
    config.write_text(opened.replace("    access_policy:\n", "    guardrails: guardrails\n    access_policy:\n"))
    (house.configuration / "guardrails").mkdir()
    (house.configuration / "guardrails/assistant.rego").write_text(GUARDRAIL)
    house.shell("change")
    after = live_revision(house, developer)
    assert before is not None
    assert after is not None
    assert before != after
    assert house.chat(developer, "research-preview").status_code == 200
    assert house.chat(developer, "echo/assistant").status_code in {403, 404}
    house.wait("the line of the guardrail", lambda: "the assistant is on holiday" in house.shell("log"))


def test_down_leaves_nothing(house: Composed) -> None:
    house.compose("stop", "ostiary")
    assert house.container("ostiary").attrs["State"]["ExitCode"] == 0  # it drained in time
    house.compose("down", "--volumes")
    assert house.left() == []
