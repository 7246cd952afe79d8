"""Checks of names in a configuration: models, providers, stores and their namespaces."""

from __future__ import annotations

import pytest

from tests.support.config_texts import errors, with_models


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
