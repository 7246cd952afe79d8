"""Checks between the fields of a configuration: unknown keys, odd values, and how reports come together."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy.source.diagnostics import InvalidDocument
from server.config import load_config
from tests.support.config_texts import errors, load, read, with_models, with_provider, with_server


def test_all_errors_of_a_file_come_together() -> None:
    text = """\
        version: 3
        providers:
          inference:
          - provider_id: a
            provider_type: remote::opnai
          - provider_id: b
            provider_type: remote::vllm
            config: {api_token: "${env.TOKEN}"}
        models:
        - model_id: m
          provider_id: c
          model_typ: llm
        server:
          port: http
          tls_keyfile: /nowhere
        """
    assert errors(text) == [
        "1:10: `version` is 2 in every configuration that this version reads; write `version: 2`",
        "5:20: `provider_type` can't be `remote::opnai`; did you mean `remote::openai`?",
        "8:5: `config` has no `url`; write `url: …` in it",
        "8:25: the environment lacks `TOKEN`; set it, or write a default: `${env.NAME:=default}`",
        "11:16: no provider of `inference` is called `c`; use one of `a`, `b`",
        "12:3: `model_typ` is not a key of `models[0]`; did you mean `model_type`?",
        "14:9: `port` takes a whole number from 0 to 65535, not `http`",
        "15:16: `tls_keyfile` takes a file that can be read, not `/nowhere` (No such file or directory)",
        "15:16: `tls_keyfile` needs `tls_certfile` beside it; HTTPS takes both, HTTP neither",
    ]


def test_load_config_raises_all_of_them_with_the_name_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("sever: {}\nmodels: {}\n", encoding="utf-8")
    with pytest.raises(InvalidDocument) as raised:
        load_config(file, {})
    assert str(raised.value).splitlines() == [
        f"{file}:1:1: error: `sever` is not a key of the configuration; did you mean `server`?",
        f"{file}:2:9: error: `models` takes a list, not a mapping; start each entry with `- `",
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("server: {prot: 1}", "1:10: `prot` is not a key of `server`; did you mean `port`?"),
        ("server: {auth: {requires: true}}", "1:17: `requires` is not a key of `auth`; did you mean `require`?"),
        (with_provider("apikey: a"), "6:7: `apikey` is not a key of `config`; did you mean `api_key`?"),
        (
            with_provider("a: b", "inline::echo"),
            "6:7: `a` is not a key of `config`; use one of `allow_members`, `allowed_models`",
        ),
        ("providers: {inferense: []}", "1:13: `inferense` is not a key of `providers`; did you mean `inference`?"),
        ("storage: {store: {}}", "1:11: `store` is not a key of `storage`; did you mean `stores`?"),
        ("access_policy: []", "1:1: `access_policy` is not a key of the configuration; it belongs under `server.auth`"),
        ("server: {route_policy: []}", "1:10: `route_policy` is not a key of `server`; it belongs under `server.auth`"),
        ("auth: {}", "1:1: `auth` is not a key of the configuration; it belongs under `server`"),
        ('"a\\e[31m\\n": 1', "1:1: `a\\x1b[31m\\n` is not a key of the configuration;"),
    ],
)
def test_an_unknown_key_gets_a_suggestion(text: str, error: str) -> None:
    [found] = errors(text)
    assert found.startswith(error)


def test_the_old_form_of_authentication_says_what_replaced_it() -> None:
    hint = "write `provider_config` there, with the `type` of the provider and the settings of `config` in it"
    said = "authentication is written in an old form"
    both = "auth:\n  provider_type: oauth2_token\n  config: {jwks: {uri: 'https://a'}}"
    assert errors(with_server(both)) == [f"3:5: {said}: `provider_type` and `config` under `auth`; {hint}"]
    assert errors(with_server(f"{both}\n  require: true")) == errors(with_server(both))
    assert errors(with_server("auth:\n  config: {}")) == [f"3:5: {said}: `config` under `auth`; {hint}"]


def test_a_misspelt_key_is_not_missing_too() -> None:
    assert errors(with_provider("urll: http://vllm:8000", "remote::vllm")) == [
        "6:7: `urll` is not a key of `config`; did you mean `url`?"
    ]
    assert errors(with_models("{modelid: a, provider_id: ollama}")) == [
        "5:4: `modelid` is not a key of `models[0]`; did you mean `model_id`?"
    ]


@pytest.mark.parametrize("api", ["admin", "connectors"])
def test_an_api_of_a_later_version_is_refused_by_name(api: str) -> None:
    assert errors(f"apis: [inference, {api}]") == [f"1:19: `{api}` is not available in this version"]


def test_an_unknown_api_gets_a_suggestion() -> None:
    assert errors("apis: [inferense]") == ["1:8: `apis[0]` can't be `inferense`; did you mean `inference`?"]


def test_providers_of_an_api_that_is_left_out_are_an_error() -> None:
    text = "apis: []\n" + with_provider("{}", "inline::echo")
    assert errors(text) == ["3:3: `inference` has providers, and `apis` leaves it out; list it there"]


def test_a_provider_type_of_another_api_is_refused() -> None:
    [error] = errors(with_provider("{}", "inline::faiss"))
    assert error.startswith("4:20: `provider_type` can't be `inline::faiss`; ")


@pytest.mark.parametrize("key", ["datasets", "scoring_fns", "benchmarks"])
def test_kinds_of_later_versions_may_stand_empty(key: str) -> None:
    load(f"{key}: []\n")
    [error] = errors(f"{key}:\n- provider_id: a\n")
    assert error.startswith("2:3: a ")
    assert error.endswith((" is not available in this version", " is not served"))


def test_disabled_means_something_in_entries_of_lists_alone() -> None:
    assert errors(with_server("host: ${env.HOST_NAME:=__disabled__}")) == [
        "2:9: `__disabled__` switches off a provider, a model, a shield or a vector store, and this is none"
    ]


def test_a_bad_expression_is_an_error_at_its_place() -> None:
    [error] = errors(with_server("host: ${env.1X}"))
    assert error.startswith("2:9: the expression `${env.1X}` ")


def test_policies_are_left_to_their_own_reader() -> None:
    config = load(with_server("auth:\n  access_policy: ${env.ANYTHING}\n  route_policy: [{permt: 1}]"))
    assert config.server.auth.provider_config is None


def test_an_empty_part_is_an_error_and_not_a_default() -> None:
    assert errors("server:\nmodels:\n") == [
        "1:8: `server` takes a mapping, not an empty value; write `key: value` lines",
        "2:8: `models` takes a list, not an empty value; start each entry with `- `",
    ]


def test_a_file_of_a_hundred_thousand_mistakes_is_reported_in_time() -> None:
    _, found = read("apis: [" + "x, " * 100_000 + "]\n")
    assert len(found) == 100


def test_a_key_with_control_characters_stays_on_its_line_in_messages() -> None:
    [error] = errors('storage: {backends: {"a\\e[31m\\n": {type: kv_sqlite}}}')
    assert error == "1:22: `a\\x1b[31m\\n` has no `db_path`; write `db_path: …` in it"


def test_a_type_from_the_environment_is_not_shown() -> None:
    text = "storage: {backends: {r: {type: '${env.KIND}'}}, stores: {metadata: {backend: r, namespace: a}}}"
    found = errors(text, KIND="sql_canary")
    assert any("the backend `r` is of type the value of `KIND`" in error for error in found), found
    assert not any("canary" in error for error in found)
