"""Keys in files, through the server: each reaches its provider alone, as the file has it now."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.inference.providers import keys
from tests.support.bedrock_stub import IDENTITY, SECRET, bedrock
from tests.support.real_policy import read
from tests.support.relay_server import CHATS, MESSAGES, configuration, relaying, serving_config


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)


def test_a_changed_key_is_sent_and_a_broken_one_is_not(tmp_path: Path) -> None:
    file, other = tmp_path / "key", tmp_path / "other"
    file.write_text("canary-1\n")
    other.write_text("canary-other")
    second = f"config: {{url: URL, api_token: '${{file:{file}}}'}}}}, {{provider_id: q, provider_type: remote::groq, "
    second += f"config: {{base_url: URL, api_key: '${{file:{other}}}'}}"
    models = "- {model_id: other, provider_id: q, provider_model_id: far-o}"
    with relaying(tmp_path, f"provider_type: remote::vllm, {second}", models=models) as running:

        def sent(model: str = "p/m") -> str:
            assert running.chat(model=model).status == 200
            [line] = [line for line in running.head.splitlines() if line.lower().startswith("authorization:")]
            return line.partition(" ")[2]

        assert sent() == "Bearer canary-1"
        assert sent("q/other") == "Bearer canary-other"
        file.write_text("canary-22\n")
        assert sent() == "Bearer canary-22"
        file.write_text("canary 333\n")
        assert sent() == "Bearer canary-22"
        assert sent("q/other") == "Bearer canary-other"
        file.unlink()
        assert sent() == "Bearer canary-22"
        listed = running.address.get("/v1/providers", "Authorization: Bearer alice")
        assert listed.status == 200
        assert b"canary" not in listed.body


def test_requests_are_signed_with_keys_of_files(tmp_path: Path) -> None:
    identity, secret = tmp_path / "identity", tmp_path / "secret"
    identity.write_text(IDENTITY)
    secret.write_text("another")
    with bedrock() as stub:
        keys_of = f"aws_access_key_id: '${{file:{identity}}}', aws_secret_access_key: '${{file:{secret}}}'"
        config = f"{{endpoint: '{stub.url}', region: eu-west-1, {keys_of}}}"
        provider = f"{{provider_id: p, provider_type: remote::bedrock, config: {config}}}"
        with serving_config(read(configuration(tmp_path, provider))) as (address, _telemetry):
            body = {"model": "p/m", "messages": MESSAGES}
            assert address.post(CHATS, body, "Authorization: Bearer alice").status == 502
            secret.write_text(SECRET)
            assert address.post(CHATS, body, "Authorization: Bearer alice").status == 200


def test_requests_are_signed_with_the_machines_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    shared = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with bedrock() as stub:
        config = f"{{endpoint: '{stub.url}', region: eu-west-1, profile_name: work}}"
        provider = f"{{provider_id: p, provider_type: remote::bedrock, config: {config}}}"
        for has_keys in (False, True):
            if has_keys:
                shared.write_text(f"[work]\naws_access_key_id = {IDENTITY}\naws_secret_access_key = {SECRET}\n")
            with serving_config(read(configuration(tmp_path, provider))) as (address, _telemetry):
                body = {"model": "p/m", "messages": MESSAGES}
                answer = address.post(CHATS, body, "Authorization: Bearer alice")
                listed = address.get("/v1/providers", "Authorization: Bearer alice").json
                [health] = [provider["health"] for provider in listed["data"]]
                if has_keys:
                    assert (answer.status, health["status"]) == (200, "OK")
                else:
                    assert answer.status == 502
                    assert "there are no credentials for it" in answer.error["message"]
                    assert "no credentials" in health["message"]
