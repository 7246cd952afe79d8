"""Fields that say where something is: URLs, keys, files."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.config.providers import OllamaSettings, VllmSettings
from tests.support.config_texts import errors, load, one_error, with_provider, with_server


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://localhost:11434", "http://localhost:11434"),
        ("https://a.example.com/v1/", "https://a.example.com/v1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://my_service:8000/", "http://my_service:8000"),
    ],
)
def test_a_base_url_loses_its_final_slash_alone(url: str, meant: str) -> None:
    [provider] = load(with_provider(f"url: {url}", "remote::ollama")).providers["inference"]
    assert provider.config == OllamaSettings(base_url=meant)


@pytest.mark.parametrize(
    "url",
    ["localhost:11434", "ftp://a", "http://", "http:///v1", "//a", "file:///etc/passwd", "http://a:99999", "http://a:0",
     "http://a b", "http://[::1", "http://[zz]", r"http://a\b", r"http://a/b\c", "HTTP:a", "http://a.%2e/"],
)  # fmt: skip
def test_what_is_no_http_url_is_refused(url: str) -> None:
    text = with_provider(f"url: '{url}'", "remote::ollama")
    assert one_error(text) == "`url` takes an http or https URL with a host"


@pytest.mark.parametrize("url", ["http://user:pass@a", "http://user@a", "https://:@a", "http://user:pass@a/v1?x"])
def test_a_url_with_credentials_is_refused_without_being_shown(url: str) -> None:
    error = one_error(with_provider(f"url: '{url}'", "remote::ollama"))
    assert error == "`url` takes no URL with a user name or a password in it; URLs are shown in logs"


@pytest.mark.parametrize("url", ["http://a/v1?key=1", "http://a#b", "http://a?"])
def test_a_base_url_has_nothing_behind_its_path(url: str) -> None:
    error = one_error(with_provider(f"url: '{url}'", "remote::ollama"))
    assert error == "`url` takes a URL without `?` and `#`: paths are appended to it"


@pytest.mark.parametrize("kind", ["remote::ollama", "remote::vllm"])
def test_a_url_may_be_called_base_url_too(kind: str) -> None:
    for key in ("url", "base_url"):
        [provider] = load(with_provider(f"{key}: http://a", kind)).providers["inference"]
        assert isinstance(provider.config, OllamaSettings | VllmSettings)
        assert provider.config.base_url == "http://a"
    assert one_error(with_provider("base_url: http://a\nurl: http://b", kind)) == (
        "`config` has `base_url` under its other name already"
    )


def test_tls_verification_is_a_switch_or_a_file() -> None:
    for written, sentence in (
        ("null", "needs a value"),
        ("[]", "takes `true`, `false` or the path of a file, not a list"),
        ("/nowhere", "takes a file that can be read, not `/nowhere` (No such file or directory)"),
    ):
        assert one_error(with_provider(f"tls_verify: {written}")) == f"`tls_verify` {sentence}"


def jwks(uri: str) -> str:
    return with_server(f"auth: {{provider_config: {{type: oauth2_token, audience: a, jwks: {{uri: '{uri}'}}}}}}")


@pytest.mark.parametrize(
    "uri", ["https://a/jwks?x=1", "http://localhost:80/jwks", "http://127.0.0.2/", "http://[::1]/k"]
)
def test_keys_come_over_tls_or_from_this_machine(uri: str) -> None:
    provider = load(jwks(uri)).server.auth.provider_config
    assert provider is not None
    assert provider.jwks.uri == uri


@pytest.mark.parametrize("uri", ["http://a/jwks", "http://10.0.0.1/jwks", "http://localhost.example.com/"])
def test_keys_that_come_unencrypted_are_refused(uri: str) -> None:
    assert one_error(jwks(uri)) == (
        "`uri` takes no unencrypted URL; use `https://` for a host other than this one, or list the "
        "host in `allow_http`"
    )


def test_keys_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "ho me"))
    monkeypatch.chdir(tmp_path)
    for written, meant in (
        ("file:///var/keys.json", "file:///var/keys.json"),
        ("file://localhost/var/keys.json", "file:///var/keys.json"),
        ("file://~/keys.json", (tmp_path / "ho me/keys.json").as_uri()),
        ("file://./keys.json", (tmp_path / "keys.json").as_uri()),
    ):
        provider = load(jwks(written)).server.auth.provider_config
        assert provider is not None
        assert provider.jwks.uri == meant


@pytest.mark.parametrize("uri", ["file://", "file://keys.json", "file://host/keys.json", "file://../k", "file:///a%00"])
def test_a_file_of_keys_is_given_by_its_path(uri: str) -> None:
    hint = "write `file:///…`, `file://~/…` or `file://./…`"
    assert one_error(jwks(uri)) == f"`uri` takes a file by its path; {hint}"


def test_a_file_must_be_a_file(tmp_path: Path) -> None:
    text = with_server(f"tls_certfile: {tmp_path}\ntls_keyfile: '${{env.KEY}}'")
    assert errors(text, KEY=str(tmp_path / ("k" * 300))) == [
        f"2:17: `tls_certfile` takes a file, and `{tmp_path}` is something else",
        "3:16: `tls_keyfile` takes a file that can be read, not the value of `KEY` (File name too long)",
    ]


def test_a_home_that_no_user_has() -> None:
    assert one_error(with_server("decision_log: ~nobody-of-that-name/log")) == (
        "`decision_log` starts with `~`, and that home directory isn't known"
    )


def test_the_decision_log_goes_to_stdout_or_to_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("version: 2\n").server.decision_log == "stdout"
    assert load(with_server("decision_log: stdout")).server.decision_log == "stdout"
    assert load(with_server("decision_log: ~/decisions.jsonl")).server.decision_log == tmp_path / "decisions.jsonl"
