"""The examples C1 to C11 of the specification: files, variables, models."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy.source.diagnostics import InvalidDocument, Severity
from server.config import CorsConfig, OAuth2Config, load_config
from server.config.providers import OllamaSettings, OpenAISettings
from server.config.vector_io import FaissSettings
from tests.support.config_texts import errors, load, read, warnings, with_models, with_provider, with_server

SPEC = Path(__file__).parent / "spec"


def test_c1_loads_as_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_config(SPEC / "c1.yaml", {"INFERENCE_MODEL": "llama3.2"})
    [guard] = config.providers["safety"]
    assert (guard.provider_id, guard.provider_type, config.shields) == ("llama-guard", "inline::llama-guard", ())
    ollama, own = config.providers["inference"]
    assert (ollama.provider_id, ollama.provider_type) == ("ollama", "remote::ollama")
    assert ollama.config == OllamaSettings(base_url="http://localhost:11434")
    assert own.provider_type == "inline::wordllama", "vector stores need a model that makes embeddings"
    model, embedding = config.models
    assert embedding.names[0] == "wordllama/wordllama-256"
    assert model.names == ("ollama/llama3.2", "llama3.2")
    assert model.provider_model_id == "llama3.2"
    backends = config.storage.backends
    home = tmp_path / ".llama/distributions/ollama"
    assert {name: backend.db_path for name, backend in backends.items()} == {
        "kv_default": home / "kvstore.db",
        "sql_default": home / "sqlstore.db",
    }
    [faiss] = config.providers["vector_io"]
    assert isinstance(faiss.config, FaissSettings)
    assert faiss.config.kvstore is not None
    assert faiss.config.kvstore.db_path == home / "faiss_store.db"
    assert not home.exists(), "directories are made by whoever opens the files"
    stores = config.storage.stores
    assert stores.inference is not None
    assert (stores.inference.max_write_queue_size, stores.inference.num_writers) == (10_000, 4)
    auth = config.server.auth.provider_config
    assert isinstance(auth, OAuth2Config)
    assert auth.jwks.uri == "https://my-token-issuing-svc.com/jwks"


def test_c1_without_inference_model_names_the_variable() -> None:
    with pytest.raises(InvalidDocument, match="the environment lacks `INFERENCE_MODEL`"):
        load_config(SPEC / "c1.yaml", {})


def test_c2_two_instances_of_one_type_work() -> None:
    config = load(with_models(providers=("ollama", "second")).replace("models:\n", ""))
    assert list(config.providers) == ["inference"]
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


@pytest.mark.parametrize("key", ["url", "base_url"])
def test_c5_an_empty_default_is_the_default_of_the_field(key: str) -> None:
    text = with_provider(f"{key}: ${{env.OLLAMA_URL:=}}", "remote::ollama")
    assert load(text).providers["inference"][0].config == OllamaSettings()
    set_to = load(text, OLLAMA_URL="http://ollama:1").providers["inference"][0].config
    assert isinstance(set_to, OllamaSettings)
    assert set_to.base_url == "http://ollama:1"


def test_c5_so_it_is_for_every_field_that_has_one() -> None:
    assert load(with_provider("base_url: ${env.URL:=}\ntls_verify: ${env.TLS:=}")) == load(with_provider("{}"))
    assert load(with_server("port: ${env.PORT:=}\nhost: ${env.HOST:=}\ncors: ${env.CORS:=}")) == load(with_server("{}"))
    model = "{model_id: a, provider_id: ollama, model_type: '${env.T:=}', provider_model_id: '${env.M:=}'}"
    assert load(with_models(model)) == load(with_models("{model_id: a, provider_id: ollama}"))
    github = (
        "auth: {provider_config: {type: github_token, github_api_base_url: '${env.URL:=}', verify_tls: '${env.V:=}'}}"
    )
    assert load(with_server(github)) == load(with_server("auth: {provider_config: {type: github_token}}"))


def test_c5_an_empty_default_is_an_error_that_names_a_field_without_one() -> None:
    assert errors(with_provider("url: ${env.VLLM_URL:=}", "remote::vllm")) == [
        "6:12: `url` needs a value, and `${env.VLLM_URL:=}` gives none"
    ]
    assert errors(with_models("{model_id: '${env.M:=}', provider_id: ollama}")) == [
        "5:14: `model_id` needs a value, and `${env.M:=}` gives none"
    ]


def test_c5_an_empty_default_never_opens_a_list() -> None:
    for value in ("'${env.PAGES:=}'", "['${env.PAGES:=}']"):
        assert len(errors(with_server(f"cors: {{allow_origins: {value}}}"))) == 1


def test_c5_nothing_at_all_is_still_an_error() -> None:
    assert errors(with_provider("url:", "remote::ollama")) == ["6:11: `url` needs a value"]


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


def test_c7_an_empty_conditional_is_the_variables_own_value_with_a_hint_when_set() -> None:
    text = with_provider("api_key: ${env.OPTIONAL_TOKEN:+}")
    for environ in ({}, {"OPTIONAL_TOKEN": ""}):
        assert load(text, **environ).providers["inference"][0].config == OpenAISettings(api_key=None)
    settings = load(text, OPTIONAL_TOKEN="secret").providers["inference"][0].config
    assert isinstance(settings, OpenAISettings)
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "secret"
    assert warnings(text) == []
    assert warnings(text, OPTIONAL_TOKEN="secret") == [
        "6:16: `${env.OPTIONAL_TOKEN:+}` gives the value of `OPTIONAL_TOKEN`;"
        " `${env.OPTIONAL_TOKEN:=}` says the same, and is meant for it"
    ]


def test_c7_an_empty_conditional_in_a_field_that_needs_a_value() -> None:
    text = with_provider("url: ${env.OLLAMA_URL:+}", "remote::ollama")
    assert load(text).providers["inference"][0].config == OllamaSettings()
    settings = load(text, OLLAMA_URL="http://a").providers["inference"][0].config
    assert isinstance(settings, OllamaSettings)
    assert settings.base_url == "http://a"


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


def test_findings_of_a_good_example_are_warnings_at_most() -> None:
    _, found = read((SPEC / "c1.yaml").read_text(encoding="utf-8"), {"INFERENCE_MODEL": "llama3.2"})
    assert [str(warning) for warning in found if warning.severity is Severity.ERROR] == []
