"""What each type of field takes, and how it refuses the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_texts import errors, load, with_models, with_provider, with_server
from pydantic import SecretStr

from server.config import CorsConfig, ModelConfig, ServerConfig
from server.config.providers import OllamaSettings, OpenAISettings, VllmSettings


def one_error(text: str, **environ: str) -> str:
    [error] = errors(text, **environ)
    return error.split(": ", 1)[1]


@pytest.mark.parametrize("written", ["8321", '"8321"', "'${env.PORT:=8321}'", "+8321"])
def test_a_number_may_be_quoted(written: str) -> None:
    assert load(with_server(f"port: {written}")).server.port == 8321


@pytest.mark.parametrize(
    "written", ["abc", "-1", "65536", "083", "8_321", "2:15", "0x50", "1e3", "80.0", "true", "9" * 30]
)
def test_a_number_is_written_in_plain_digits_and_within_its_limits(written: str) -> None:
    assert one_error(with_server(f"port: {written}")) == (
        f"`port` takes a whole number from 0 to 65535, not `{written}`"
    )


def test_port_zero_is_any_free_one() -> None:
    assert load(with_server("port: 0")).server.port == 0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True),
        ("yes", True),
        ("'on'", True),
        ("1", True),
        ("No", False),
        ("off", False),
        ("FALSE", False),
        ("0", False),
    ],
)
def test_a_boolean_has_the_spellings_of_yaml(written: str, meant: bool) -> None:
    assert load(with_server(f"cors: {written}")).server.cors is meant


def test_a_boolean_is_nothing_else() -> None:
    assert one_error(with_server("cors: maybe")) == "`cors` takes `true` or `false`, not `maybe`"
    assert one_error(with_server("cors: []")) == "`cors` takes `true` or `false`, not a list"
    assert one_error(with_server("cors:")) == "`cors` needs a value"


@pytest.mark.parametrize(
    ("written", "kind"),
    [("12345", "a number"), ("1e5", "text"), ("1.5", "a number"), ("no", "a boolean"), ("12:30", "a number")],
)
def test_a_number_in_a_text_field_is_to_be_quoted(written: str, kind: str) -> None:
    text = with_models(f"{{model_id: {written}, provider_id: ollama}}")
    if kind == "text":
        assert load(text).models[0].model_id == written
    else:
        assert one_error(text) == f"`model_id` takes text, and YAML reads it as {kind}; write it in quotes"
    assert load(with_models(f"{{model_id: '{written}', provider_id: ollama}}")).models[0].model_id == written


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("''", "needs a value, and its text is empty"),
        ("null", "needs a value"),
        ("' a'", "starts or ends with a blank"),
        (r'"a\nb"', "holds a line break or another control character"),
        (r'"a\u2028b"', "holds a line break or another control character"),
        ("[a]", "takes text, not a list"),
        ("{a: b}", "takes text, not a mapping"),
    ],
)
def test_text_is_one_clean_line(written: str, sentence: str) -> None:
    assert one_error(with_models(f"{{model_id: {written}, provider_id: ollama}}")) == f"`model_id` {sentence}"


def test_a_secret_with_a_line_break_from_the_environment_is_refused_without_being_shown() -> None:
    assert one_error(with_provider("api_key: ${env.KEY}"), KEY="sk-123\n") == (
        "`api_key` holds a line break or another control character"
    )


def test_bytes_that_are_no_text_in_the_environment_are_refused() -> None:
    odd = b"\xff".decode("utf-8", "surrogateescape")
    assert one_error(with_provider("api_key: ${env.KEY}"), KEY=odd).startswith("`api_key` holds")
    model = "{model_id: a, provider_id: ollama, metadata: {a: '${env.KEY}'}}"
    assert one_error(with_models(model), KEY=odd) == "`a` holds a character that is no text"


def test_nothing_is_expanded_twice() -> None:
    text = with_models("{model_id: '${env.A}', provider_id: ollama}")
    assert load(text, A="${env.B}", B="wrong").models[0].model_id == "${env.B}"


def test_several_expressions_in_one_text() -> None:
    text = with_provider("base_url: http://${env.HOST}:${env.PORT:=80}${env.PATH:+/v1}")
    [provider] = load(text, HOST="a", PATH="x").providers["inference"]
    assert provider.config == OpenAISettings(base_url="http://a:80/v1")


def test_metadata_holds_what_yaml_says_and_text_from_the_environment() -> None:
    text = """
        providers: {inference: [{provider_id: echo, provider_type: inline::echo}]}
        models:
        - model_id: a
          provider_id: echo
          model_type: embedding
          metadata:
            embedding_dimension: 384
            quoted: "384"
            substituted: ${env.DIMENSION}
            list: [1, 2.5, true, null, {deep: "no"}]
        """
    [model] = load(text, DIMENSION="384").models
    assert model.model_type == "embedding"
    assert model.metadata == {
        "embedding_dimension": 384,
        "quoted": "384",
        "substituted": "384",
        "list": (1, 2.5, True, None, {"deep": "no"}),
    }


@pytest.mark.parametrize("written", [".nan", ".inf", "-.inf"])
def test_metadata_holds_what_json_can_say(written: str) -> None:
    model = f"{{model_id: a, provider_id: ollama, metadata: {{score: {written}}}}}"
    assert one_error(with_models(model)) == "`score` holds a number that JSON has no word for"


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
     "http://a b", "http://[::1", "http://[zz]", r"http://a\b", "HTTP:a", "http://a.%2e/"],
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
    assert one_error(jwks(uri)) == "`uri` takes no unencrypted URL; use `https://` for a host other than this one"


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


def test_a_home_that_nobody_has() -> None:
    assert one_error(with_server("decision_log: ~nobody-of-that-name/log")) == (
        "`decision_log` starts with `~`, and nobody knows that home directory"
    )


def test_the_decision_log_goes_to_stdout_or_to_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("version: 2\n").server.decision_log == "stdout"
    assert load(with_server("decision_log: stdout")).server.decision_log == "stdout"
    assert load(with_server("decision_log: ~/decisions.jsonl")).server.decision_log == tmp_path / "decisions.jsonl"


@pytest.mark.parametrize("origins", ['["*"]', '["https://a", "*"]'])
def test_credentials_for_every_origin_are_refused(origins: str) -> None:
    text = with_server(f"cors: {{allow_origins: {origins}, allow_credentials: true}}")
    assert one_error(text) == (
        "`allow_credentials` needs origins that are named; list them in `allow_origins`, which is `*` unless you do"
    )
    assert one_error(with_server("cors: {allow_credentials: true}")).startswith("`allow_credentials` needs")


@pytest.mark.parametrize(
    "pattern",
    [
        ".*",
        "https://.*",
        "https?://.+",
        r"https?://[^/]+",
        r"(?s).+",
        "",
        r"[\s\S]*",
        "https://a|.*",
        r"null|https://x",
        r"\w+://\S*",
    ],
)
def test_credentials_for_a_pattern_that_matches_anybody_are_refused(pattern: str) -> None:
    text = with_server(f"cors: {{allow_origins: [], allow_origin_regex: '{pattern}', allow_credentials: true}}")
    if pattern:
        assert one_error(text).startswith("`allow_credentials` needs origins that are named, and `allow_origin_regex`")
    else:
        assert one_error(text) == "`allow_origin_regex` needs a value, and its text is empty"


@pytest.mark.parametrize("pattern", [r"https://.*\.example\.com", r"https?://localhost(:\d+)?", "tauri://localhost"])
def test_credentials_for_a_pattern_that_names_a_domain_are_fine(pattern: str) -> None:
    text = with_server(f"cors: {{allow_origins: [], allow_origin_regex: '{pattern}', allow_credentials: true}}")
    cors = load(text).server.cors
    assert isinstance(cors, CorsConfig)
    assert cors.allow_origin_regex == pattern


@pytest.mark.parametrize(
    "origin",
    ["https://a/", "https://a/b", "a.example.com", "null", "https://A", "https://*.a", "https://u@a", "https://a b"],
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    error = one_error(with_server(f"cors: {{allow_origins: ['{origin}']}}"))
    assert error.startswith("`allow_origins[0]` takes `*` or origins like `https://app.example.com`, without a path")


def test_a_broken_pattern_of_origins() -> None:
    assert one_error(with_server("cors: {allow_origin_regex: '('}")) == (
        "`allow_origin_regex` takes a regular expression, and this is none"
    )


def test_a_header_name_that_could_split_a_header() -> None:
    assert one_error(with_server("cors: {expose_headers: ['a: b']}")) == (
        "`expose_headers[0]` takes names that a header can carry"
    )


def test_shapes_can_be_built_in_python_and_never_change() -> None:
    model = ModelConfig(model_id="a", provider_id="b")
    assert model.provider_model_id == "a"
    assert ServerConfig(port=0).port == 0
    settings = OpenAISettings(api_key=SecretStr("sk-1"))
    assert "sk-1" not in repr(settings)
    with pytest.raises(ValueError, match="frozen"):
        model.model_id = "c"  # type: ignore[misc]
