"""Vector stores in a configuration: the list, the settings, what is wrong, and the server's own embedding model."""

from __future__ import annotations

import pytest

from server.config import Config, vector_store_checks, vector_stores
from server.config.vector_stores import VectorStoreSettings, speaks_of_vectors
from tests.support.config_texts import errors, load, warnings

MODELS = """\
apis: [inference, vector_io]
providers:
  inference:
  - {provider_id: echo, provider_type: inline::echo}
  vector_io:
  - {provider_id: near, provider_type: inline::lancedb}
models:
- {model_id: words, provider_id: echo, model_type: embedding, metadata: {embedding_dimension: 8}, aliases: [w]}
- {model_id: talk, provider_id: echo}
"""


@pytest.mark.parametrize("section", ["vector_stores", "vector_dbs"])
def test_stores_have_the_members_of_llama_stack(section: str) -> None:
    entry = "{vector_db_id: docs, embedding_model: w, embedding_dimension: 8, provider_id: near, "
    config = load(f"{MODELS}{section}:\n- {entry}provider_vector_db_id: null, vector_db_name: Docs}}\n")
    [store] = config.stores_of_vectors
    assert (store.vector_store_id, store.embedding_model, store.embedding_dimension) == ("docs", "w", 8)
    assert (store.provider_id, store.provider_vector_store_id, store.vector_store_name) == ("near", None, "Docs")
    assert config.vector_defaults == VectorStoreSettings()


def test_settings_stand_under_the_same_key() -> None:
    model = "{provider_id: echo, model_id: words}"
    config = load(f"{MODELS}vector_stores: {{default_provider_id: near, default_embedding_model: {model}}}\n")
    assert config.stores_of_vectors == ()
    assert config.vector_defaults.default_provider_id == "near"
    wanted = config.vector_defaults.default_embedding_model
    assert wanted is not None
    assert (wanted.provider_id, wanted.model_id) == ("echo", "words")


WRONG = [
    (
        "- {embedding_model: words}",
        "11:3: `vector_stores[0]` has no `vector_store_id`; write `vector_store_id: …` in it",
    ),
    ("- {vector_db_id: a}", "11:3: `vector_stores[0]` has no `embedding_model`; write `embedding_model: …` in it"),
    (
        "- {vector_db_id: a, embedding_model: word}",
        "11:38: no model of the configuration is called `word`; use `echo/words`",
    ),
    (
        "- {vector_db_id: a, embedding_model: talk}",
        "11:38: the model `talk` makes no embeddings; name one whose `model_type` is `embedding`",
    ),
    (
        "- {vector_db_id: a, embedding_model: words, embedding_dimension: 9}",
        "11:66: the embeddings of `words` have 8 dimensions, not `9`; leave it out, or name another model",
    ),
    (
        "- {vector_db_id: a, embedding_model: words, provider_id: nearer}",
        "11:58: no provider of `vector_io` is called `nearer`; did you mean `near`?",
    ),
    (
        "- {vector_db_id: a, embedding_model: words}\n- {vector_store_id: a, embedding_model: words}",
        "12:21: `a` is the id of the vector store in line 11 already; give each vector store its own",
    ),
    (
        "- {vector_db_id: a/b, embedding_model: words}",
        "11:18: `vector_db_id` takes an id of at most 256 bytes without `/`, `\\`, `%`, `?` and `#`, "
        "since paths hold it",
    ),
    (
        "- {vector_db_id: a, vector_store_id: b, embedding_model: words}",
        "11:4: `vector_stores[0]` has `vector_db_id` under its other name already",
    ),
    (
        "  {default_embedding_model: {provider_id: echo, model_id: talk}}",
        "11:59: the model `talk` makes no embeddings; name one whose `model_type` is `embedding`",
    ),
    (
        "  {default_embedding_model: {provider_id: other, model_id: words}}",
        "11:60: no model of the configuration is called `words`; use `echo/words`",
    ),
    (
        "  {default_provider: near}",
        "11:4: `default_provider` is not a key of `vector_stores`; did you mean `default_provider_id`?",
    ),
    ("  near", "11:3: `vector_stores` takes a list, not a text; start each entry with `- `"),
]


@pytest.mark.parametrize(("lines", "error"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_mistake_says_where_it_is(lines: str, error: str) -> None:
    assert errors(f"{MODELS}vector_stores:\n{lines}\n") == [error]


def test_stores_need_their_api() -> None:
    text = "apis: [inference]\nvector_dbs:\n- {vector_db_id: a, embedding_model: words}\n"
    assert errors(text) == ["2:1: `vector_dbs` needs `vector_io`, and `apis` leaves it out; list it there"]


@pytest.mark.parametrize("section", ["vector_stores", "vector_dbs"])
@pytest.mark.parametrize("key", ["vector_store_id", "vector_db_id"])
def test_a_variable_switches_a_store_off_and_with_it_what_it_needs(section: str, key: str) -> None:
    entry = f"{section}:\n- {{{key}: '${{env.VECTORS:+docs}}', embedding_model: words}}\n"
    served = MODELS.replace("apis: [inference, vector_io]", "apis: [inference, '${env.VECTORS:+vector_io}']")
    served = served.replace("provider_id: near", "provider_id: '${env.VECTORS:+near}'") + entry
    assert load(served).stores_of_vectors == ()
    [store] = load(served, VECTORS="1").stores_of_vectors
    assert store.vector_store_id == "docs"
    disabled = MODELS + entry.replace("${env.VECTORS:+docs}", "${env.VECTORS:__disabled__}")
    assert load(disabled).stores_of_vectors == ()
    [store] = load(disabled, VECTORS="docs").stores_of_vectors
    assert store.vector_store_id == "docs"


def names(config: Config) -> list[str]:
    """The canonical names of the models."""
    return [model.names[0] for model in config.models]


def test_where_no_model_makes_embeddings_the_server_brings_one_along() -> None:
    text = (
        "apis: [vector_io, inference]\nproviders: {vector_io: [{provider_id: near, provider_type: inline::lancedb}]}\n"
    )
    config = load(text)
    assert names(config) == ["wordllama/wordllama-256"]
    assert config.models[0].dimensions == 256
    assert [(each.provider_id, each.provider_type) for each in config.providers["inference"]] == [
        ("wordllama", "inline::wordllama")
    ]
    [store] = load(f"{text}vector_dbs: [{{vector_db_id: a, embedding_model: wordllama-256}}]\n").stores_of_vectors
    assert store.embedding_model == "wordllama-256"


@pytest.mark.parametrize(
    ("provider", "own"),
    [
        ("{provider_id: mine, provider_type: inline::wordllama}", "mine"),
        ("{provider_id: wordllama, provider_type: inline::echo}", "wordllama-2"),
    ],
)
def test_its_provider_is_one_that_is_there_or_has_an_id_of_its_own(provider: str, own: str) -> None:
    config = load(f"apis: [inference, vector_io]\nproviders: {{inference: [{provider}]}}\n")
    assert names(config) == [f"{own}/wordllama-256"]
    assert own in {each.provider_id for each in config.providers["inference"]}


@pytest.mark.parametrize("text", ["version: 2\n", "apis: [inference]\n", MODELS])
def test_where_it_is_not_asked_for_there_is_none(text: str) -> None:
    config = load(text)
    assert "wordllama" not in str(names(config))
    assert speaks_of_vectors(config) is (text == MODELS)


def test_without_the_extra_there_is_none_and_a_warning_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (vector_stores, vector_store_checks):
        monkeypatch.setattr(module, "find_spec", lambda _name: None)
    assert names(load("apis: [inference, vector_io]\n")) == []
    assert warnings("apis: [inference, vector_io]\n") == [
        "1:1: no model here makes embeddings, and the server's own needs the extra `local`, which is not installed; "
        "install `ostiary[local]`, or add an embedding model"
    ]
    assert warnings("apis: [inference]\n") == warnings("version: 2\n") == warnings(MODELS) == []
