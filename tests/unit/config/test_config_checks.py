"""What is wrong between fields, what is unknown, and how reports come together."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings, InvalidDocument
from policy.source.document import parse_document
from server.config import load_config, read_config
from tests.support.config_texts import NAME, errors, load, read, warnings, with_models, with_provider, with_server


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
        "1:10: `version` is 2 in every configuration that this version reads",
        "5:20: `provider_type` can't be `remote::opnai`; did you mean `remote::openai`?",
        "8:5: `config` has no `url`",
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
        f"{file}:2:9: error: `models` takes a list, not a mapping",
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


def test_a_model_of_an_unknown_provider_gets_a_suggestion() -> None:
    text = with_models("{model_id: m, provider_id: olama}")
    assert errors(text) == ["5:30: no provider of `inference` is called `olama`; did you mean `ollama`?"]
    assert errors("models: [{model_id: m, provider_id: a}]") == [
        "1:37: no provider of `inference` is called `a`; add it under `providers`"
    ]


def test_a_model_is_not_blamed_for_a_provider_id_that_is_missing_itself() -> None:
    text = with_models("{model_id: m, provider_id: a}", providers=("'${env.NOPE}'",))
    assert [error.split("; ")[0] for error in errors(text)] == ["3:19: the environment lacks `NOPE`"]


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("{model_id: m, provider_id: a}", "{model_id: m, provider_id: a}", "a/m"),
        ("{model_id: m, provider_id: a}", "{model_id: n, provider_id: a, provider_model_id: m}", "a/m"),
        ("{model_id: x, provider_id: a, provider_model_id: m}", "{model_id: a/m, provider_id: b}", "a/m"),
    ],
)
def test_two_models_share_no_name(first: str, second: str, shared: str) -> None:
    column = second.index("model_id: ") + len("model_id: ") + 3
    assert errors(with_models(first, second, providers=("a", "b"))) == [
        f"7:{column}: this model shares the name `{shared}` with the model in line 6;"
        " give one of them another `model_id`"
    ]


def test_two_providers_may_have_a_model_of_one_model_id() -> None:
    models = ("{model_id: m, provider_id: a}", "{model_id: m, provider_id: b}")
    assert errors(with_models(*models, providers=("a", "b"))) == []


def test_a_shared_name_from_the_environment_is_not_shown() -> None:
    text = with_models("{model_id: '${env.A}', provider_id: ollama}", "{model_id: '${env.B}', provider_id: ollama}")
    assert errors(text, A="canary", B="canary") == [
        "6:14: this model shares a name with the model in line 5; give one of them another `model_id`"
    ]


def test_a_model_is_not_blamed_for_a_name_whose_variable_is_missing() -> None:
    text = with_models(
        "{model_id: a, provider_id: ollama}", "{model_id: a, provider_id: ollama, provider_model_id: '${env.NOPE}'}"
    )
    assert [error.split("; ")[0] for error in errors(text)] == ["6:57: the environment lacks `NOPE`"]


def test_hints_neither_show_nor_guess_what_the_environment_holds() -> None:
    text = with_models("{model_id: a, provider_id: canary-2}", providers=("'${env.ID}'", "local"))
    assert errors(text, ID="canary-1") == ["6:30: no provider of `inference` is called `canary-2`; use `local`"]
    text = with_models("{model_id: a, provider_id: '${env.ID}', model_type: '${env.TYPE}'}", providers=("local",))
    assert errors(text, ID="locale", TYPE="lm") == [
        "5:30: no provider of `inference` is called the value of `ID`; use `local`",
        "5:55: `model_type` can't be the value of `TYPE`; use one of `embedding`, `llm`",
    ]


def test_a_store_names_a_backend_that_exists() -> None:
    text = """\
        storage:
          backends:
            kv_default: {type: kv_sqlite, db_path: a.db}
          stores:
            metadata: {backend: kv_defalt, namespace: registry}
            conversations: {backend: sql_default, table_name: "a; drop"}
        """
    assert errors(text) == [
        "5:25: no backend is called `kv_defalt`; did you mean `kv_default`?",
        "6:30: no backend is called `sql_default`; add it under `storage.backends`",
        "6:55: `table_name` takes a table's name: letters, digits and `_`, at most 40, no digit first",
    ]


def test_required_authentication_must_be_on() -> None:
    text = with_server(
        "auth:\n  require: true\n  provider_config:\n    type: ${env.AUTH:+oauth2_token}\n    audience: a\n"
        "    jwks: {uri: 'https://a'}"
    )
    assert load(text, AUTH="1").server.auth.require is True
    assert errors(text) == [
        "3:14: `require` asks for authentication, and no provider is configured in this environment;"
        " set the variable in `provider_config.type`, or write a `provider_config`"
    ]


def test_a_provider_without_a_type_is_no_way_to_switch_authentication_off() -> None:
    head = "auth:\n  provider_config:\n    jwks: {uri: 'https://a'}"
    assert errors(with_server(head)) == [
        "3:5: `provider_config` has no `type`; use one of `api_key`, `custom`, `github_token`, `kubernetes`,"
        " `oauth2_token`"
    ]
    assert errors(with_server(head + "\n    type:")) == ["5:12: `type` needs a value"]
    assert errors(with_server(head + "\n    type: none")) == [
        "5:13: `type` can't be `none`; use one of `api_key`, `custom`, `github_token`, `kubernetes`, `oauth2_token`"
    ]
    assert errors(with_server("auth: {provider_config: []}")) == ["2:27: `provider_config` takes a mapping, not a list"]
    [error] = errors(with_server(head + "\n    type: ${env.TYPE}"))
    assert error.startswith("5:13: the environment lacks `TYPE`")


def test_somebody_must_vouch_for_tokens() -> None:
    text = with_server("auth: {provider_config: {type: oauth2_token, audience: a}}")
    assert errors(text) == [
        "2:10: `provider_config` has no `jwks`; write in `jwks` where the keys are, or in `introspection` where tokens"
        " can be asked about"
    ]
    asked = "introspection: {url: 'https://a', client_id: b, client_secret: c}"
    assert errors(text.replace("audience: a", f"audience: a, {asked}")) == []
    assert errors(text.replace("audience: a", f"audience: a, {asked.replace('https', 'http')}")) == [
        "2:82: `url` takes no unencrypted URL; use `https://` for a host other than this one, or list the host in "
        "`allow_http`"
    ]


def test_several_issuers_each_have_a_name_and_somebody_who_vouches() -> None:
    first = "{issuer: 'https://a', audience: x, jwks: {uri: 'https://a/keys'}}"
    head = "auth:\n  provider_config:\n    type: oauth2_token\n    issuers:\n"
    assert errors(with_server(f"{head}      - {first}\n      - {first.replace('https://a', 'https://b')}")) == []
    assert errors(with_server(f"{head}      - {first}\n      - {first}")) == [
        "7:20: `https://a` is the `issuer` in line 6 already; list each issuer once"
    ]
    assert errors(with_server(f"{head}      - {first.replace('issuer', 'isuer')}")) == [
        "6:12: `isuer` is not a key of `issuers[0]`; did you mean `issuer`?"
    ]
    [lacking] = errors(with_server(f"{head}      - {{issuer: 'https://a', audience: x}}"))
    assert lacking.startswith("6:11: this issuer has no `jwks`; ")
    [beside] = errors(with_server(f"{head}      - {first}\n    audience: y"))
    assert beside == "7:17: `audience` has no effect beside `issuers`; move it into one of them"
    assert warnings(with_server(f"{head}      - {first.replace('audience: x, ', '')}")) == [
        "6:20: without `audience`, tokens that were made for other services are accepted; set `audience`"
    ]


def test_client_certificates_are_asked_for_over_https_alone() -> None:
    [error] = errors(with_server(f"tls_cafile: {Path(__file__)}"))
    assert error == (
        "2:15: `tls_cafile` asks clients for certificates, which takes HTTPS; add `tls_certfile` and `tls_keyfile`"
    )


def test_a_missing_audience_is_a_warning() -> None:
    text = with_server("auth: {provider_config: {type: oauth2_token, jwks: {uri: 'https://a'}}}")
    assert warnings(text) == [
        "2:34: without `audience`, tokens that were made for other services are accepted; set `audience`"
    ]


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
        "1:8: `server` takes a mapping, not an empty value",
        "2:8: `models` takes a list, not an empty value",
    ]


def test_a_file_of_a_hundred_thousand_mistakes_is_reported_in_time() -> None:
    _, found = read("apis: [" + "x, " * 100_000 + "]\n")
    assert len(found) == 100


@pytest.mark.parametrize(
    "auth",
    [
        "acess_policy: []",
        "provider_type: a\nconfig: {}",
        "provider_config: {jwks: {}}",
        "provider_config: {type: }",
        "provider_config: {type: '${env.}'}",
        "provider_config: []",
        "lenient_patterns: maybe",
        "provider_config: {type: '${env.MISSING}'}",
    ],
)
def test_what_both_readers_notice_is_reported_once(auth: str) -> None:
    document = parse_document(with_server("auth:\n" + "".join(f"  {line}\n" for line in auth.splitlines())), NAME)
    findings = Findings()
    assert read_policies(document, {}, findings) is None
    before = len(findings.diagnostics)
    assert read_config(document, {}, findings) is None
    spans = [found.span for found in findings.diagnostics]
    assert len(spans) == len(set(spans)) >= before


@pytest.mark.parametrize("name", ["jwks", "introspection"])
def test_an_address_in_place_of_a_section_is_an_error_at_its_place(name: str) -> None:
    found = errors(f"server: {{auth: {{provider_config: {{type: oauth2_token, {name}: 'http://a'}}}}}}")
    assert any(f"`{name}` takes" in error for error in found), found
    assert all(error.startswith("1:") for error in found)


def test_a_key_with_control_characters_stays_on_its_line_in_messages() -> None:
    [error] = errors('storage: {backends: {"a\\e[31m\\n": {type: kv_sqlite}}}')
    assert error == "1:22: `a\\x1b[31m\\n` has no `db_path`"


def test_a_type_from_the_environment_is_not_shown() -> None:
    text = "storage: {backends: {r: {type: '${env.KIND}'}}, stores: {metadata: {backend: r, namespace: a}}}"
    found = errors(text, KIND="sql_canary")
    assert any("the backend `r` is of type the value of `KIND`" in error for error in found), found
    assert not any("canary" in error for error in found)


def test_records_are_not_kept_where_only_counters_are() -> None:
    text = "storage: {backends: {r: {type: kv_redis}}, stores: {metadata: {backend: r, namespace: a}}}"
    assert errors(text) == [
        "1:73: the backend `r` is of type `kv_redis`, which keeps counters and no records; "
        "use a `kv_sqlite` or a `kv_postgres` backend"
    ]


def test_two_stores_share_no_namespace() -> None:
    stores = "metadata: {backend: k, namespace: a}\n    prompts: {backend: k, namespace: a}"
    backends = "  backends: {k: {type: kv_sqlite, db_path: a.db}}"
    [error] = errors(f"storage:\n{backends}\n  stores:\n    {stores}\n")
    assert error.endswith(": `prompts` and `metadata` would be one table in one backend; give each its own `namespace`")
    assert errors(f"storage:\n{backends}\n  stores:\n    {stores.replace('a}', 'b}', 1)}\n") == []
