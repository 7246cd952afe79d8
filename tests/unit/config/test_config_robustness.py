"""Whatever stands in the file or in the environment: a configuration, or diagnostics that give nothing away."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.source.diagnostics import Findings, InvalidDocument
from policy.source.document import parse_document
from server.config import Config, load_config, read_config

GOLDEN = Path(__file__).parents[2] / "golden" / "config"
SPEC = Path(__file__).parent / "spec"
TEXTS = [path.read_text(encoding="utf-8") for path in sorted([*GOLDEN.glob("*.yaml"), *SPEC.glob("*.yaml")])]
CANARY = "Kanarienvogel\x00"

FRAGMENTS = [
    *["${env.A}", "${env.A:=}", "${env.A:+}", "${env.B:=1}", "${env.", "__disabled__", "${env.B:__disabled__}"],
    *["null", "~", "[]", "{}", "- ", ": ", "\n", "  ", "'", '"', "&a ", "*a", "<<: ", "true", "1e999", "12:30"],
    *["\u2028", "é", "!!int ", "? ", "|\n", "# "],
    *["type: ", "server:\n", "models:\n", "- model_id: a\n", "provider_id: echo\n", "url: http://a\n"],
]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """An example with a few places cut out, doubled or overwritten."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        middle = draw(st.sampled_from(["", text[start:end] * 2, *FRAGMENTS]))
        text = text[:start] + middle + text[end:]
    return text


SCALARS = [
    *[
        None,
        True,
        False,
        0,
        1,
        -1,
        8321,
        2,
        1.5,
        "",
        "a",
        "a b",
        "http://a",
        "https://a/jwks",
        "file:///a",
        "*",
        "~root",
    ],
    *["oauth2_token", "custom", "echo", "llm", "inline::echo", "inline::faiss", "remote::vllm", "sqlite", "inference"],
    *["${env.A}", "${env.A:=}", "${env.A:+}", "${env.A:+echo}", "x${env.A}${env.B:=}", "${", "${env.}"],
    *["${env.B}", "${env.B:=}", "${env.B:+x}", "${env.B:=__disabled__}"],
]
TREES = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "a", "url"]), inner, max_size=2)
    ),
    max_leaves=4,
)
EVERYTHING: dict[str, Any] = {
    "version": 2,
    "apis": ["inference"],
    "providers": {
        "inference": [
            {
                "provider_id": "openai",
                "provider_type": "remote::openai",
                "config": {"api_key": "sk", "tls_verify": True},
            },
            {"provider_id": "vllm", "provider_type": "remote::vllm", "config": {"url": "http://a", "api_token": "t"}},
            {"provider_id": "echo", "provider_type": "inline::echo", "config": {}},
        ],
        "vector_io": [],
    },
    "storage": {
        "backends": {"kv": {"type": "kv_sqlite", "db_path": "a"}, "sql": {"type": "sql_sqlite", "db_path": "~/b"}},
        "stores": {
            "metadata": {"backend": "kv", "namespace": "registry"},
            "inference": {"backend": "sql", "table_name": "t", "max_write_queue_size": 1, "num_writers": 4},
        },
    },
    "models": [
        {"model_id": "m", "provider_id": "echo", "model_type": "llm", "metadata": {"list": [1, {"a": "b"}]}},
        {"model_id": "n", "provider_id": "vllm", "provider_model_id": None},
    ],
    "shields": [],
    "server": {
        "host": "127.0.0.1",
        "port": 8321,
        "cors": {"allow_origins": ["https://a"], "allow_origin_regex": "a", "allow_credentials": True, "max_age": 600},
        "decision_log": "stdout",
        "auth": {
            "require": True,
            "lenient_patterns": False,
            "access_policy": [],
            "provider_config": {
                "type": "oauth2_token",
                "jwks": {"uri": "https://a/jwks", "token": "t", "key_recheck_period": 3600},
                "claims_mapping": {"sub": "roles"},
                "audience": "a",
            },
        },
    },
}


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a tree with each of its keys or positions."""
    steps = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [(value, step) for step, _ in steps] + [place for _, inner in steps for place in places(inner)]


@st.composite
def misused(draw: st.DrawFn) -> dict[str, Any]:
    """A configuration that says everything, with something else in one place or in a few."""
    tree = copy.deepcopy(EVERYTHING)
    for _ in range(draw(st.integers(1, 3))):
        container, step = draw(st.sampled_from(places(tree)))
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "remove":
            del container[step]
        elif change == "add" and isinstance(container, dict):
            container[draw(st.sampled_from(["type", "url", "a", "config"]))] = draw(TREES)
        else:
            container[step] = draw(TREES)
    return tree


def outcome(text: str, environ: dict[str, str]) -> Config | list[str]:
    findings = Findings()
    try:
        config = read_config(parse_document(text, "config.yaml"), environ, findings)
    except InvalidDocument as invalid:
        return list(map(str, invalid.diagnostics))
    assert (config is None) == findings.has_errors
    return list(map(str, findings.diagnostics)) if config is None else config


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "config.yaml"


@settings(max_examples=100, deadline=None)
@given(text=mutated())
def test_a_mutated_file_loads_or_raises_invalid_document(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="")
    try:
        load_config(file, {"A": CANARY})
    except InvalidDocument as invalid:
        assert CANARY[:-1] not in str(invalid)


@settings(max_examples=200, deadline=None)
@given(tree=misused(), value=st.sampled_from([CANARY, CANARY[:-1], "", "8321", "true"]))
def test_any_shape_loads_or_is_explained_without_what_the_environment_holds(tree: dict[str, Any], value: str) -> None:
    result = outcome(json.dumps(tree), {"A": value})
    if isinstance(result, list):
        assert result
        assert CANARY[:-1] not in "\n".join(result)
        assert not any("can't be used as it is" in line or "Input should" in line for line in result)


def test_no_secret_is_in_a_representation() -> None:
    text = """
providers:
  inference:
  - {provider_id: a, provider_type: remote::openai, config: {api_key: "sk-literal"}}
  - {provider_id: b, provider_type: remote::vllm, config: {url: "http://a", api_token: "${env.A}"}}
server: {auth: {provider_config: {type: oauth2_token, jwks: {uri: "https://a", token: "${env.A}"}}}}
"""
    config = outcome(text, {"A": "sk-environment"})
    assert isinstance(config, Config)
    for shown in (repr(config), str(config), repr(config.model_dump()), config.model_dump_json()):
        assert "sk-" not in shown


def test_the_tree_that_is_misused_is_a_good_one() -> None:
    assert isinstance(outcome(json.dumps(EVERYTHING), {}), Config)
