"""The examples of the specification that are about configuration, each by its id."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_texts import errors, load, read, warnings, with_models, with_provider, with_server

from policy.diagnostics import Findings, InvalidDocument, Severity
from policy.document import parse_document
from policy.parser import read_policies
from server.config import Config, CorsConfig, OAuth2Config, load_config
from server.config.providers import OllamaSettings, OpenAISettings, VllmSettings

SPEC = Path(__file__).parent / "spec"
NOT_HERE = "is not available in this version"


def parsed(name: str, **environ: str) -> Config:
    return load((SPEC / name).read_text(encoding="utf-8"), **environ)


def test_c1_as_printed_is_refused_for_the_parts_of_later_versions_alone() -> None:
    text = (SPEC / "c1.yaml").read_text(encoding="utf-8")
    assert errors(text, INFERENCE_MODEL="llama3.2") == [
        f"3:3: `agents` {NOT_HERE}",
        f"5:3: `vector_io` {NOT_HERE}",
        f"6:3: `safety` {NOT_HERE}",
        f"15:20: vector_io: `inline::faiss` {NOT_HERE}",
        f"23:20: safety: `inline::llama-guard` {NOT_HERE}",
        f"27:20: agents: `inline::builtin` {NOT_HERE}",
    ]


def test_c1_without_those_parts_loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_config(SPEC / "c1-served.yaml", {"INFERENCE_MODEL": "llama3.2"})
    [ollama] = config.providers["inference"]
    assert (ollama.provider_id, ollama.provider_type) == ("ollama", "remote::ollama")
    assert ollama.config == OllamaSettings(base_url="http://localhost:11434")
    [model] = config.models
    assert model.names == ("ollama/llama3.2", "llama3.2")
    assert model.provider_model_id == "llama3.2"
    backends = config.storage.backends
    home = tmp_path / ".llama/distributions/ollama"
    assert {name: backend.db_path for name, backend in backends.items()} == {
        "kv_default": home / "kvstore.db",
        "sql_default": home / "sqlstore.db",
    }
    assert not home.exists(), "directories are made by whoever opens the files"
    stores = config.storage.stores
    assert stores.inference is not None
    assert (stores.inference.max_write_queue_size, stores.inference.num_writers) == (10_000, 4)
    auth = config.server.auth.provider_config
    assert isinstance(auth, OAuth2Config)
    assert auth.jwks.uri == "https://my-token-issuing-svc.com/jwks"


def test_c1_without_inference_model_names_the_variable() -> None:
    with pytest.raises(InvalidDocument, match="the environment lacks `INFERENCE_MODEL`"):
        load_config(SPEC / "c1-served.yaml", {})


def test_c2_two_instances_of_one_type_work() -> None:
    config = load(with_models(providers=("ollama", "second")).replace("models:\n", ""))
    assert [provider.provider_id for provider in config.providers["inference"]] == ["ollama", "second"]


def test_c2_a_repeated_provider_id_is_an_error() -> None:
    text = with_models(providers=("ollama", "ollama")).replace("models:\n", "")
    assert errors(text) == [
        "4:19: `ollama` is the `provider_id` in line 3 already; give each provider of `inference` its own"
    ]


def test_c3_all_missing_variables_stand_in_one_message() -> None:
    text = with_provider("api_key: ${env.API_KEY}\nbase_url: ${env.SERVICE_URL}")
    assert errors(text) == [
        "6:16: the environment lacks `API_KEY` and `SERVICE_URL` in line 7;"
        " set them, or write a default: `${env.NAME:=default}`"
    ]
    assert errors(text, API_KEY="", SERVICE_URL="http://a") == [
        "6:16: the environment lacks `API_KEY`; set it, or write a default: `${env.NAME:=default}`"
    ]


def test_c4_defaults_hold_for_unset_and_for_empty_variables() -> None:
    text = """
        providers:
          inference:
          - provider_id: ollama
            provider_type: remote::ollama
            config:
              url: ${env.OLLAMA_URL:=http://localhost:11434}
        server:
          port: ${env.PORT:=8321}
          cors:
            max_age: ${env.TIMEOUT:=60}
        """
    for environ in ({}, {"OLLAMA_URL": "", "PORT": "", "TIMEOUT": ""}):
        config = load(text, **environ)
        assert config.providers["inference"][0].config == OllamaSettings(base_url="http://localhost:11434")
        assert config.server.port == 8321
        assert isinstance(config.server.cors, CorsConfig)
        assert config.server.cors.max_age == 60
    assert load(text, PORT="9000").server.port == 9000


def test_c5_an_empty_default_is_none_where_the_field_allows_it() -> None:
    config = load(with_provider("api_key: ${env.OPENAI_API_KEY:=}"))
    assert config.providers["inference"][0].config == OpenAISettings(api_key=None)


def test_c5_an_empty_default_is_an_error_that_names_the_field_elsewhere() -> None:
    assert errors(with_provider("url: ${env.OLLAMA_URL:=}", "remote::ollama")) == [
        "6:12: `url` needs a value, and `${env.OLLAMA_URL:=}` gives none"
    ]


def test_c6_a_conditional_field_holds_its_value_or_is_absent() -> None:
    text = with_server("host: ${env.ENVIRONMENT:+0.0.0.0}")
    assert load(text, ENVIRONMENT="yes").server.host == "0.0.0.0"  # noqa: S104 - a value, not a socket
    assert load(text).server.host == "127.0.0.1"
    assert load(text, ENVIRONMENT="").server.host == "127.0.0.1"


def test_c6_a_required_field_says_that_its_condition_left_it_out() -> None:
    assert errors(with_provider("url: ${env.ENVIRONMENT:+http://vllm:8000}", "remote::vllm")) == [
        "6:12: `config` needs `url`, which is left out while its variable is not set;"
        " write a default: `${env.NAME:=default}`"
    ]


def test_c7_an_empty_conditional_is_none_set_or_not_with_a_hint_when_set() -> None:
    text = with_provider("api_key: ${env.OPTIONAL_TOKEN:+}")
    for environ in ({}, {"OPTIONAL_TOKEN": "secret"}):
        assert load(text, **environ).providers["inference"][0].config == OpenAISettings(api_key=None)
    assert warnings(text) == []
    assert warnings(text, OPTIONAL_TOKEN="secret") == [
        "6:16: `${env.OPTIONAL_TOKEN:+}` is nothing although `OPTIONAL_TOKEN` is set;"
        " `${env.OPTIONAL_TOKEN:=}` gives its value"
    ]


def test_c7_an_empty_conditional_in_a_field_that_needs_a_value() -> None:
    text = with_provider("url: ${env.OLLAMA_URL:+}", "remote::ollama")
    assert load(text).providers["inference"][0].config == OllamaSettings()
    assert errors(text, OLLAMA_URL="http://a") == ["6:12: `url` needs a value, and `${env.OLLAMA_URL:+}` gives none"]


def test_c8_the_same_word_is_a_boolean_or_text_by_its_field() -> None:
    assert load(with_server("auth: {lenient_patterns: '${env.DEBUG:+true}'}"), DEBUG="1").server.auth.lenient_patterns
    text = with_models("{model_id: '${env.DEBUG:+true}', provider_id: ollama}")
    assert load(text, DEBUG="1").models[0].model_id == "true"


@pytest.mark.parametrize("word", ["12345", "true", "nan", "1e5", "0123", "null", "~", "1_000", "0x1F", "2024-01-01"])
def test_c9_text_from_the_environment_stays_text_in_a_text_field(word: str) -> None:
    model = "{model_id: '${env.WORD}', provider_id: ollama, metadata: {word: '${env.WORD}'}}"
    for quote in ("'", ""):
        [loaded] = load(with_models(model.replace("'", quote or '"')), WORD=word).models
        assert loaded.model_id == word
        assert loaded.metadata == {"word": word}
    [settings] = [load(with_provider("api_key: ${env.WORD}"), WORD=word).providers["inference"][0].config]
    assert isinstance(settings, OpenAISettings)
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == word


def test_c9_numbers_and_booleans_come_out_by_the_type_of_their_field() -> None:
    text = with_server("port: ${env.PORT:=8321}\ncors: ${env.CORS:=false}")
    server = load(text).server
    assert (server.port, server.cors) == (8321, False)
    server = load(text, PORT="1", CORS="yes").server
    assert (server.port, server.cors) == (1, True)


def test_c10_a_model_is_known_by_provider_and_provider_model_id() -> None:
    config = load(
        with_models(
            "{model_id: llama3.2, provider_id: ollama, provider_model_id: null}",
            "{model_id: my-llama, provider_id: vllm-inference, provider_model_id: llama-3-2-3b}",
            providers=("ollama", "vllm-inference"),
        )
    )
    assert [model.names for model in config.models] == [
        ("ollama/llama3.2", "llama3.2"),
        ("vllm-inference/llama-3-2-3b", "vllm-inference/my-llama", "my-llama"),
    ]


@pytest.mark.parametrize("operator", [":", ":="])
def test_c11_a_disabled_model_is_not_registered_and_nothing_else_changes(operator: str) -> None:
    expression = f"'${{env.INFERENCE_MODEL{operator}__disabled__}}'"
    text = with_models(
        f"{{metadata: {{a: '${{env.UNSET}}'}}, model_id: {expression}, provider_id: nobody, unknown: key}}",
        "{model_id: other, provider_id: ollama}",
    )
    for environ in ({}, {"INFERENCE_MODEL": ""}):
        assert [model.model_id for model in load(text, **environ).models] == ["other"]
    usual = with_models(f"{{model_id: {expression}, provider_id: ollama, provider_model_id: {expression}}}")
    assert load(usual).models == ()
    assert load(usual, INFERENCE_MODEL="llama3.2").models[0].names == ("ollama/llama3.2", "llama3.2")


def tls_files(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.touch()
    key.touch()
    return certificate, key


def test_c12_tls_files_port_and_cors(tmp_path: Path) -> None:
    certificate, key = tls_files(tmp_path)
    server = load(with_server(f"port: 8321\ntls_certfile: {certificate}\ntls_keyfile: {key}\ncors: true")).server
    assert (server.port, server.tls_certfile, server.tls_keyfile, server.cors) == (8321, certificate, key, True)


def test_c12_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    certificate, _ = tls_files(tmp_path)
    missing = tmp_path / "none.pem"
    assert errors(with_server(f"tls_certfile: {certificate}\ntls_keyfile: {missing}")) == [
        f"3:16: `tls_keyfile` takes a file that can be read, not `{missing}` (No such file or directory)"
    ]


def test_c12_half_a_pair_stops_the_start(tmp_path: Path) -> None:
    certificate, key = tls_files(tmp_path)
    assert errors(with_server(f"tls_certfile: {certificate}")) == [
        "2:17: `tls_certfile` needs `tls_keyfile` beside it; HTTPS takes both, HTTP neither"
    ]
    assert errors(with_server(f"tls_keyfile: {key}")) == [
        "2:16: `tls_keyfile` needs `tls_certfile` beside it; HTTPS takes both, HTTP neither"
    ]


def test_c13_cors_fields_as_listed_and_the_others_at_their_defaults() -> None:
    text = """
        server:
          cors:
            allow_origins: ["https://myapp.com", "https://app.example.com"]
            allow_methods: ["GET", "POST", "PUT", "DELETE"]
            allow_headers: ["Content-Type", "Authorization"]
            allow_credentials: true
            max_age: 3600
        """
    assert load(text).server.cors == CorsConfig(
        allow_origins=("https://myapp.com", "https://app.example.com"),
        allow_origin_regex=None,
        allow_methods=("GET", "POST", "PUT", "DELETE"),
        allow_headers=("Content-Type", "Authorization"),
        allow_credentials=True,
        expose_headers=(),
        max_age=3600,
    )


def test_c14_set_authentication_is_oauth2() -> None:
    auth = parsed("c14.yaml", AUTH_PROVIDER="yes", KEYCLOAK_URL="https://sso.example.com").server.auth
    provider = auth.provider_config
    assert provider is not None
    assert provider.jwks.uri == "https://sso.example.com/realms/llamastack/protocol/openid-connect/certs"
    assert (provider.issuer, provider.audience) == ("https://sso.example.com/realms/llamastack", "llama-stack")


def test_c14_unset_the_provider_is_dropped_with_its_variables_and_loudly() -> None:
    text = (SPEC / "c14.yaml").read_text(encoding="utf-8")
    assert load(text).server.auth.provider_config is None
    assert warnings(text) == [
        "4:13: authentication is off: `${env.AUTH_PROVIDER:+oauth2_token}` is nothing in this environment"
    ]


def test_c14_both_readers_of_the_file_agree_whether_authentication_is_on() -> None:
    document = parse_document((SPEC / "c14.yaml").read_text(encoding="utf-8"), "config.yaml")
    for environ in ({}, {"AUTH_PROVIDER": ""}, {"AUTH_PROVIDER": "x", "KEYCLOAK_URL": "https://sso.example.com"}):
        policies = read_policies(document, environ, Findings())
        config = load((SPEC / "c14.yaml").read_text(encoding="utf-8"), **environ)
        assert policies is not None
        assert policies.authentication == (config.server.auth.provider_config is not None)


def test_c14_a_set_provider_needs_its_variables() -> None:
    text = (SPEC / "c14.yaml").read_text(encoding="utf-8")
    assert errors(text, AUTH_PROVIDER="yes") == [
        "7:14: the environment lacks `KEYCLOAK_URL`; set it, or write a default: `${env.NAME:=default}`"
    ]


def test_c15_kubernetes_keys_with_token_period_and_private_ca(tmp_path: Path) -> None:
    certificate, _ = tls_files(tmp_path)
    text = f"""
        server:
          auth:
            provider_config:
              type: "oauth2_token"
              jwks:
                uri: "https://kubernetes.default.svc:8443/openid/v1/jwks"
                token: "${{env.TOKEN:+}}"
                key_recheck_period: 3600
              tls_cafile: "{certificate}"
              issuer: "https://kubernetes.default.svc"
              audience: "https://kubernetes.default.svc"
        """
    provider = load(text).server.auth.provider_config
    assert provider is not None
    assert (provider.jwks.token, provider.jwks.key_recheck_period) == (None, 3600)
    assert (provider.tls_cafile, provider.verify_tls) == (certificate, True)
    provider = load(text.replace(":+}", "}"), TOKEN="eyJ0").server.auth.provider_config
    assert provider is not None
    assert provider.jwks.token is not None
    assert provider.jwks.token.get_secret_value() == "eyJ0"


@pytest.mark.parametrize(
    ("row", "provider"),
    [
        (
            "c16",
            "{type: kubernetes, api_server_url: 'https://kubernetes.default.svc',"
            " claims_mapping: {username: roles, groups: roles, uid: uid_attr}, verify_tls: true}",
        ),
        ("c17", "{type: github_token, github_api_base_url: 'https://api.github.com'}"),
        ("c18", "{type: custom, endpoint: 'https://auth.example.com/validate'}"),
    ],
)
def test_c16_to_c18_are_refused_by_name_and_nothing_else_is_wrong(row: str, provider: str) -> None:
    kind = provider.split(",")[0].removeprefix("{type: ")
    assert errors(with_server(f"auth:\n  provider_config: {provider}")) == [
        f"3:29: authentication by `{kind}` {NOT_HERE}"
    ], row


def test_k1_cors_true_is_the_switch_for_localhost() -> None:
    assert load(with_server("cors: true")).server.cors is True
    assert load(with_server("cors: false")).server.cors is False
    assert load("version: 2\n").server.cors is False


def test_k2_all_seven_fields_and_all_seven_defaults() -> None:
    assert load(with_server("cors: {}")).server.cors == CorsConfig(
        allow_origins=("*",),
        allow_origin_regex=None,
        allow_methods=("*",),
        allow_headers=("*",),
        allow_credentials=False,
        expose_headers=(),
        max_age=600,
    )
    text = r"""
        server:
          cors:
            allow_origins: ["https://myapp.com", "https://staging.myapp.com"]
            allow_credentials: true
            allow_methods: ["GET", "POST", "PUT", "DELETE"]
            allow_headers: ["Content-Type", "Authorization"]
            allow_origin_regex: "https://.*\\.example\\.com" # Optional regex pattern
            expose_headers: ["X-Total-Count"]
            max_age: 86400
        """
    cors = load(text).server.cors
    assert isinstance(cors, CorsConfig)
    assert cors.allow_origin_regex == r"https://.*\.example\.com"
    assert (cors.expose_headers, cors.max_age, cors.allow_credentials) == (("X-Total-Count",), 86400, True)


QUOTA = """
quota:
  kvstore:
    type: sqlite
    db_path: ./quotas.db
  anonymous_max_requests: 100
  authenticated_max_requests: 1000
  period: day
"""


def test_q1_a_quota_is_well_formed_and_refused_by_name() -> None:
    assert errors(with_server(QUOTA)) == [f"2:3: `quota` {NOT_HERE}"]
    assert errors(with_server(QUOTA.replace("day", "week"))) == ["8:13: `period` can't be `week`; use one of `day`"]
    assert errors(with_server(QUOTA.replace("type: sqlite", "type: redis"))) == [
        "4:13: `type` can't be `redis`; use one of `sqlite`"
    ]


def test_q2_a_quota_with_a_custom_provider_is_refused_for_both() -> None:
    auth = "auth:\n  provider_config:\n    type: custom\n    endpoint: https://auth.example.com/validate\n"
    assert errors(with_server("port: 8321\n" + auth + QUOTA)) == [
        f"5:13: authentication by `custom` {NOT_HERE}",
        f"8:3: `quota` {NOT_HERE}",
    ]


def test_t1_a_provider_may_name_its_own_ca_file(tmp_path: Path) -> None:
    certificate, _ = tls_files(tmp_path)
    text = "url: https://vllm.example.com\ntls_verify: {}"
    for written, meant in (("true", True), ("false", False), (str(certificate), certificate)):
        config = load(with_provider(text.format(written), "remote::vllm"))
        settings = config.providers["inference"][0].config
        assert isinstance(settings, VllmSettings)
        assert settings.tls_verify == meant


def test_s1_a_bedrock_shield_is_refused_for_its_provider_and_for_itself() -> None:
    text = """\
        providers:
          safety:
          - provider_id: bedrock
            provider_type: remote::bedrock
            config:
              aws_access_key_id: ${env.AWS_ACCESS_KEY_ID}
              aws_secret_access_key: ${env.AWS_SECRET_ACCESS_KEY}
        shields:
        - provider_id: bedrock
          params:
            guardrailVersion: ${env.GUARDRAIL_VERSION}
          provider_shield_id: ${env.GUARDRAIL_ID}
        """
    environ = {
        "AWS_ACCESS_KEY_ID": "123456",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "GUARDRAIL_VERSION": "1",
        "GUARDRAIL_ID": "abc",
    }
    assert errors(text, **environ) == [f"4:20: safety: `remote::bedrock` {NOT_HERE}", f"9:3: a shield {NOT_HERE}"]


def test_s2_llama_guard_is_refused_and_both_models_stand() -> None:
    text = (SPEC / "s2.yaml").read_text(encoding="utf-8")
    environ = {"INFERENCE_MODEL": "llama3.2:3b", "SAFETY_MODEL": "llama-guard:3b"}
    assert errors(text, **environ) == [f"4:20: safety: `inline::llama-guard` {NOT_HERE}", f"27:3: a shield {NOT_HERE}"]
    served = text.split("shields:")[0].replace(text[text.index("  safety:") : text.index("  inference:")], "")
    config = load(served, **environ)
    assert [model.names[0] for model in config.models] == ["vllm-0/llama3.2:3b", "vllm-1/llama-guard:3b"]
    urls = [provider.config for provider in config.providers["inference"]]
    assert [url.base_url for url in urls if isinstance(url, VllmSettings)] == [
        "http://localhost:8000",
        "http://localhost:8001",
    ]


def test_findings_of_a_good_example_are_warnings_at_most() -> None:
    _, found = read((SPEC / "c1-served.yaml").read_text(encoding="utf-8"), {"INFERENCE_MODEL": "llama3.2"})
    assert [str(warning) for warning in found if warning.severity is Severity.ERROR] == []
