"""What each type of field takes, and how it refuses the rest."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from server.config import ModelConfig, ServerConfig
from server.config.providers import OpenAISettings
from tests.support.config_texts import load, one_error, with_models, with_provider, with_server


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
    for written, said in (("maybe", "`maybe`"), ("[]", "a list")):
        error = one_error(with_server(f"auth: {{require: {written}}}"))
        assert error == f"`require` takes `true` or `false`, not {said}"
        error = one_error(with_server(f"cors: {written}"))
        assert error.startswith(f"`cors` takes `true`, `false` or a mapping, not {said}")
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


def test_shapes_can_be_built_in_python_and_never_change() -> None:
    model = ModelConfig(model_id="a", provider_id="b")
    assert model.provider_model_id == "a"
    assert ServerConfig(port=0).port == 0
    settings = OpenAISettings(api_key=SecretStr("sk-1"))
    assert "sk-1" not in repr(settings)
    with pytest.raises(ValueError, match="frozen"):
        model.model_id = "c"


def test_a_secret_that_a_conditional_leaves_empty_is_not_shown() -> None:
    assert one_error(with_provider("api_key: ${env.A:+sk-canary}${env.B:=}")) == (
        "`api_key` needs a value, and its text is empty"
    )
