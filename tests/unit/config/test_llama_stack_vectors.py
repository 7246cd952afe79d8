"""Providers of `vector_io` in configurations of Llama Stack."""

from __future__ import annotations

import pytest

from tests.support.imports import refused, section, started, told, translated

TEXT = """\
distro_name: a
providers:
  vector_io:
  - provider_id: near
    provider_type: inline::faiss
    config: {persistence: {namespace: v, backend: keys}}
  - {provider_id: far, provider_type: "remote::TYPE", config: {url: "http://far:1"}}
storage:
  backends:
    keys: {type: KIND, DATA}
"""
FILE = TEXT.replace("KIND", "kv_sqlite").replace("DATA", "db_path: keys.db")
DATABASE = TEXT.replace("KIND", "kv_postgres").replace("DATA", "user: u, host: h, db: d, port: 1, password: p")


@pytest.mark.parametrize("kind", ["qdrant", "chromadb", "pgvector", "milvus", "weaviate"])
def test_an_index_of_another_kind_becomes_ours(kind: str) -> None:
    found = translated(FILE.replace("TYPE", kind))
    assert (
        f"7: not served: the provider `far` (`remote::{kind}`); vectors are kept by an `inline::lancedb`, which needs "
        "no entry"
    ) in told(found)
    kept = section(found, "providers", "vector_io")
    assert [one["provider_id"] for one in kept] == ["near"]
    assert kept[0]["config"] == {"persistence": {"namespace": "v", "backend": "keys"}}
    assert any("`far` (`remote::" in line for line in refused(started(FILE.replace("TYPE", kind))))


def test_an_index_in_a_database_gets_a_file() -> None:
    text = "\n".join(line for line in DATABASE.splitlines() if "far" not in line)
    found = translated(text)
    assert (
        "6: replaced: `keys` is of the type `kv_postgres`, and this index keeps its vectors in a file; it is in the "
        "user's directory"
    ) in told(found)
    assert section(found, "providers", "vector_io")[0]["config"] == {}
    assert refused(started(text)) == []
