"""Sections of configurations of Llama Stack: what is kept, moved, ignored, replaced and not served."""

from __future__ import annotations

import pytest

from policy.served_routes import SERVED
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.config import read_config
from server.config.api_names import APIS, Standing
from server.config.provider_types import provider_types, settings_of
from tests.support.imports import refused, section, started, told, translated


def test_an_api_is_built_in_if_it_has_a_route() -> None:
    paths = {route.path for route in SERVED}
    for name, api in APIS.items():
        is_served = api.standing in (Standing.PROVIDED, Standing.BUILT_IN)
        assert is_served == bool(api.route), name
        assert not is_served or api.route in paths, name
        assert is_served or api.advice, name


def test_every_type_of_provider_has_settings() -> None:
    assert {"inline::echo", "remote::ollama", "remote::bedrock"} <= provider_types().keys()
    assert all(
        "tls_verify" in settings_of(kind).model_fields for kind in provider_types() if kind.startswith("remote::")
    )


def test_advice_names_what_is_served() -> None:
    found = translated(
        "distro_name: a\nproviders:\n  inference:\n  - {provider_id: a, provider_type: 'inline::vllm'}\n"
        "  - {provider_id: b, provider_type: 'remote::tgi'}\n"
        "  - {provider_id: c, provider_type: 'inline::sentence-transformers'}\n"
    )
    for line in told(found)[1:]:
        kinds = [word.strip("`,;") for word in line.partition("; ")[2].split() if "::" in word]
        assert kinds
        assert set(kinds) <= provider_types().keys()


def test_resources_stand_at_the_top() -> None:
    found = translated(
        """
        image_name: a
        providers: {inference: [{provider_id: e, provider_type: "inline::echo"}]}
        registered_resources:
          models: [{model_id: m, model_validation: true, model_type: null}]
          tool_groups: []
        """
    )
    assert section(found, "models") == [{"model_id": "m", "provider_id": "e"}]
    assert told(found)[-4:] == [
        "4: moved: the lists under `registered_resources` stand at the top: `models`",
        "5: replaced: the model `m` names its provider, `e`",
        "5: kept: the model `m`",
        "5: ignored (harmless): `model_validation` asks for the model at the start, which is not done here",
    ]


def test_a_list_that_is_written_twice_is_refused() -> None:
    found = translated("models: [{model_id: a}]\nregistered_resources: {models: [{model_id: b}]}")
    assert refused(found) == ["2: `models` is in line 1 already; write both lists as one"]


def test_extensions_are_left_out_and_misspellings_stay() -> None:
    text = """
        distro_name: a
        apis: [inference, weather, inferense]
        providers: {weather: [{provider_id: w}], infrence: []}
        registered_resources: {clouds: [1]}
        """
    found = translated(text)
    assert (section(found, "apis"), section(found, "providers")) == (["inference", "inferense"], {"infrence": []})
    assert [line.partition(": ")[0] for line in told(found) if "not served: " in line] == ["3", "4", "5"]
    assert len(refused(started(text))) == 3


@pytest.mark.parametrize("key", ["routing_table", "apis_to_serve", "distribution_spec"])
def test_forms_before_providers_are_refused(key: str) -> None:
    assert len(refused(translated(f"{key}: {{a: b}}\n"))) == 1


def test_stores_at_the_top_become_stores_and_backends() -> None:
    found = translated(
        """
        image_name: a
        metadata_store: {type: sqlite, db_path: r.db, namespace: null}
        inference_store:
          sql_store_config: {type: postgres, host: db, user: u, password: p}
          num_writers: 2
        conversations_store: null
        """
    )
    assert section(found, "storage") == {
        "backends": {
            "kv_metadata": {"type": "kv_sqlite", "db_path": "r.db.ostiary"},
            "sql_inference": {
                "type": "sql_postgres",
                "host": "db",
                "user": "u",
                "password": "p",
                "db": "llamastack",
            },
        },
        "stores": {
            "metadata": {"backend": "kv_metadata", "namespace": "registry"},
            "inference": {"backend": "sql_inference", "table_name": "inference_store", "num_writers": 2},
        },
    }
    assert read_config(found.document, {}, Findings()) is not None


def test_backends_of_other_kinds_take_their_stores_along() -> None:
    found = translated(
        """
        distro_name: a
        storage:
          backends:
            m: {type: kv_mongodb, password: x}
            r: {type: kv_redis, host: h}
            p: {type: sql_postgres, user: u, pool_size: 5, ca_cert_path: /ca}
          stores:
            metadata: {backend: m, namespace: n}
            prompts: {backend: r, namespace: n}
            conversations: {backend: p, table_name: t}
            responses: {backend: p, table_name: t}
            inference: null
        """
    )
    assert section(found, "storage") == {
        "backends": {"r": {"type": "kv_redis", "host": "h"}, "p": {"type": "sql_postgres", "user": "u", "db": "ogx"}},
        "stores": {"conversations": {"backend": "p", "table_name": "t"}},
    }
    kinds = {line.split(": ")[0]: line.split(": ")[1] for line in told(found)}
    assert [kinds[line] for line in ("5", "9", "10", "12")] == ["not served"] * 3 + ["ignored (harmless)"]


def test_files_become_blobs() -> None:
    local = translated(
        """
        distro_name: a
        providers:
          files:
          - provider_id: f
            provider_type: inline::localfs
            config: {storage_dir: ./f, ttl_secs: 10, metadata_store: {type: sqlite, db_path: m.db}}
          - {provider_id: g, provider_type: "inline::localfs"}
        """
    )
    assert section(local, "storage") == {
        "backends": {"sql_files": {"type": "sql_sqlite", "db_path": "m.db"}},
        "stores": {"files": {"backend": "sql_files", "table_name": "files_metadata"}},
        "blobs": {"type": "local", "path": "./f"},
    }
    bucket = translated(
        "distro_name: a\nproviders: {files: [{provider_id: f, provider_type: 'remote::s3', config: {bucket_name: b,"
        " region: r, aws_access_key_id: k, aws_secret_access_key: s, endpoint_url: 'http://s3:9000'}}]}"
    )
    assert section(bucket, "storage", "blobs") == {
        "type": "s3",
        "bucket": "b",
        "region": "r",
        "access_key_id": "k",
        "secret_access_key": "s",
        "endpoint": "http://s3:9000",
    }


def test_vector_stores_keep_what_this_server_has_of_them() -> None:
    text = """
        distro_name: a
        apis: [inference, vector_io]
        providers:
          inference: [{provider_id: echo, provider_type: "inline::echo"}]
          vector_io:
          - {provider_id: near, provider_type: "inline::faiss"}
          - {provider_id: far, provider_type: "remote::qdrant"}
        registered_resources:
          models: [{model_id: words, provider_id: echo, model_type: embedding}]
          vector_stores:
          - {vector_store_id: docs, embedding_model: words, provider_id: near, type: vector_store}
          - {vector_store_id: more, embedding_model: words, provider_id: far}
        """
    found = translated(text)
    assert section(found, "vector_stores") == [
        {"vector_store_id": "docs", "embedding_model": "words", "provider_id": "near"}
    ]
    assert [line for line in told(found) if "vector store" in line or "`type`" in line] == [
        "12: kept: the vector store `docs`",
        "12: ignored (harmless): `type` has no counterpart here",
        "13: not served: the vector store `more` is in an index that is not served; its content stays there",
    ]
    lists = text[text.index("          vector_stores:") :]
    settings = """
        vector_stores:
          default_provider_id: NAME
          default_embedding_model: {provider_id: echo, model_id: MODEL}
          file_batch_params: {max_concurrent_files_per_batch: 2}
        """
    kept = translated(text.replace(lists, settings.replace("NAME", "near").replace("MODEL", "words")))
    assert section(kept, "vector_stores") == {
        "default_provider_id": "near",
        "default_embedding_model": {"provider_id": "echo", "model_id": "words"},
    }
    assert "15: ignored (harmless): `file_batch_params` has no counterpart here" in told(kept)
    dropped = translated(text.replace(lists, settings.replace("NAME", "far").replace("MODEL", "other")))
    assert "vector_stores" not in dropped.document.entries
    assert [line.partition(";")[0] for line in told(dropped) if "is left out" in line] == [
        "13: replaced: `default_provider_id` is left out, since no such provider of `vector_io` is served",
        "14: replaced: `default_embedding_model` is left out, since no such model is listed here",
    ]


def test_a_start_reads_nothing_of_what_a_variable_switches_off() -> None:
    text = """
        distro_name: a
        providers:
          inference: [{provider_id: "${env.ON:+v}", provider_type: "remote::vertexai"}]
          vector_io: [{provider_id: "${env.ON:=__disabled__}", provider_type: "remote::qdrant"}]
          safety: [{provider_id: "${env.ON:+s}", provider_type: "remote::nvidia"}]
          files: [{provider_id: "${env.ON:+f}", provider_type: "remote::openai"}]
        registered_resources:
          shields: [{shield_id: s, provider_id: "${env.ON:+s}"}]
        """
    assert refused(started(text)) == []
    found = refused(started(text, ON="1"))
    assert [line.partition(":")[0] for line in found] == ["4", "5", "6", "7"]
    assert len(told(translated(text))) == 7


@pytest.mark.parametrize(
    "text",
    [
        "providers: {files: []}",
        "vector_stores: {a: b}",
        "telemetry: {a: b}",
        "logging: {}",
        "server: {auth: {config: {}}}",
    ],
)
def test_what_only_llama_stack_has_marks_its_files(text: str) -> None:
    assert started(text).foreign


def test_a_configuration_of_this_server_is_started_as_it_is() -> None:
    document = parse_document("providers: {inference: []}\nvector_stores: []\nserver: {port: 1}\n", "config.yaml")
    assert not started("providers: {inference: []}\nserver: {port: 1}\n").foreign
    assert read_config(document, {}, Findings()) is not None
