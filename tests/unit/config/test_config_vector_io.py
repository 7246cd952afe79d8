"""The settings of `inline::lancedb` and `inline::faiss`."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.config import vector_io
from server.config.vector_io import BucketOptions, FaissSettings, LanceSettings
from tests.support.config_texts import errors, load, one_error

KEYS = "storage: {backends: {keys: {type: kv_sqlite, db_path: keys.db}, pg: {type: kv_postgres, user: u}}}\n"
BOTH = "access_key_id: k, secret_access_key: s"


def provider(kind: str, config: str = "{}") -> str:
    return f"providers: {{vector_io: [{{provider_id: v, provider_type: 'inline::{kind}', config: {config}}}]}}\n"


def lance(config: str, **environ: str) -> LanceSettings:
    [found] = load(provider("lancedb", config), **environ).providers["vector_io"]
    assert isinstance(found.config, LanceSettings)
    return found.config


def test_lancedb_needs_no_settings() -> None:
    [found] = load("providers: {vector_io: [{provider_id: v, provider_type: 'inline::lancedb'}]}").providers[
        "vector_io"
    ]
    assert (found.provider_id, found.config) == ("v", LanceSettings())
    assert lance("{}").uri is None


@pytest.mark.parametrize("key", ["uri", "db_path", "path"])
def test_a_directory_may_be_called_by_three_names(key: str, tmp_path: Path) -> None:
    assert lance(f"{{{key}: '${{env.V:=~}}/x'}}", V=str(tmp_path)).uri == tmp_path / "x"
    assert lance(f"{{{key}: ~/x}}").uri == Path("~/x").expanduser()


def test_a_bucket_may_have_a_prefix_and_a_service_of_its_own() -> None:
    assert lance("{uri: 's3://bucket'}").uri == "s3://bucket"
    found = lance(f"{{uri: 's3://a.b/c/d/', storage_options: {{region: r, endpoint: 'http://h:1', {BOTH}}}}}")
    assert found.uri == "s3://a.b/c/d"
    assert found.storage_options is not None
    assert (found.storage_options.region, found.storage_options.endpoint) == ("r", "http://h:1")
    theirs = "aws_region: r, aws_endpoint: 'http://h:1', aws_access_key_id: k, aws_secret_access_key: s"
    assert lance(f"{{uri: 's3://a.b', storage_options: {{{theirs}}}}}").storage_options == found.storage_options
    assert lance("{uri: 's3://a.b', storage_options: {region: r}}").storage_options == BucketOptions(region="r")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("{uri: 's3://b/../c'}", "`uri` takes a directory without `@`, `?`, `#` and `://` in its path, or a bucket"),
        ("{uri: 'gs://bucket'}", "`uri` takes a directory without `@`, `?`, `#` and `://` in its path, or a bucket"),
        ("{uri: 's3://b?x=1'}", "`uri` takes a directory without `@`, `?`, `#` and `://` in its path, or a bucket"),
        ("{uri: 's3://B'}", "`uri` takes a directory without `@`, `?`, `#` and `://` in its path, or a bucket"),
        ("{uri: 1}", "`uri` takes text, and YAML reads it as a number"),
        ("{url: x}", "`url` is not a key of `config`; did you mean `uri`?"),
        ("{storage_options: {region: r}}", "`storage_options` are those of a bucket, and `uri` names none"),
        ("{uri: a, storage_options: {region: r}}", "`storage_options` are those of a bucket, and `uri` names none"),
        ("{uri: 's3://bkt', storage_options: {allow_http: yes}}", "`allow_http` is not a key of `storage_options`"),
        ("{uri: 's3://bkt', storage_options: {access_key_id: k}}", "`access_key_id` needs `secret_access_key` beside"),
        ("{uri: 's3://bkt', storage_options: {secret_access_key: k}}", "`secret_access_key` needs `access_key_id`"),
        ("{uri: 's3://bkt', storage_options: {session_token: k}}", "`session_token` needs `access_key_id` and"),
    ],
)
def test_a_mistake_is_told_with_its_place(config: str, sentence: str) -> None:
    assert one_error(provider("lancedb", config)).startswith(sentence)


def test_no_secret_is_shown() -> None:
    found = lance("{uri: 's3://b-k', storage_options: {access_key_id: canary-1, secret_access_key: canary-2}}")
    assert "canary" not in repr(found)


def test_faiss_is_configured_as_llama_stack_writes_it() -> None:
    [found] = load(provider("faiss", "{kvstore: {type: sqlite, namespace: null, db_path: f.db}}")).providers[
        "vector_io"
    ]
    assert isinstance(found.config, FaissSettings)
    assert found.config.kvstore is not None
    assert found.config.kvstore.db_path == Path("f.db")
    [found] = load(KEYS + provider("faiss", "{persistence: {namespace: v, backend: keys}}")).providers["vector_io"]
    assert isinstance(found.config, FaissSettings)
    assert found.config.persistence is not None
    load(provider("faiss"))


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (
            "{kvstore: {type: sqlite, db_path: f.db}, persistence: {namespace: v, backend: keys}}",
            "`kvstore` and `persistence` are two places for the same vectors; leave one of them out",
        ),
        ("{persistence: {namespace: v, backend: key}}", "no backend is called `key`; did you mean `keys`?"),
        (
            "{persistence: {namespace: v, backend: pg}}",
            "the backend `pg` is of type `kv_postgres`; `inline::faiss` takes one of type `kv_sqlite`, or a "
            "`kvstore` of its own",
        ),
        ("{kvstore: {type: redis, db_path: a}}", "`type` can't be `redis`; use `sqlite`"),
    ],
)
def test_faiss_takes_one_file(config: str, error: str) -> None:
    assert error in [one.partition(": ")[2] for one in errors(KEYS + provider("faiss", config))]


def test_faiss_belongs_to_one_process() -> None:
    text = "server: {workers: 2}\n" + provider("faiss")
    assert errors(text) == [
        "1:19: `workers` is more than 1, and the vectors of `inline::faiss` belong to one process; make it 1, or use "
        "`inline::lancedb` under `providers.vector_io`"
    ]
    load(text.replace("faiss", "lancedb"))
    load(text.replace("2", "1"))


def test_without_its_extra_faiss_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_io, "find_spec", lambda name: None)
    load(provider("lancedb"))
    assert one_error(provider("faiss")) == (
        "`inline::faiss` needs the extra `faiss`, which is not installed; install `ostiary[faiss]`, or use "
        "`inline::lancedb`"
    )


def test_ids_of_indexes_are_unique_among_indexes_alone() -> None:
    twice = provider("lancedb").replace("[{", "[{provider_id: v, provider_type: 'inline::faiss'}, {")
    [error] = errors(twice)
    assert "`v` is the `provider_id` in line 1 already; give each provider of `vector_io` its own" in error
    load(
        "providers: {inference: [{provider_id: v, provider_type: 'inline::echo'}], vector_io: [{provider_id: v, "
        "provider_type: 'inline::lancedb'}]}"
    )


def test_an_index_is_none_of_inference_and_the_other_way_round() -> None:
    assert "can't be `inline::lancedb`" in one_error(
        "providers: {inference: [{provider_id: v, provider_type: 'inline::lancedb'}]}"
    )
    assert "can't be `inline::echo`" in one_error(provider("lancedb").replace("inline::lancedb", "inline::echo"))
