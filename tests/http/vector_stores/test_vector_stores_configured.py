"""Vector stores of the configuration: there from the start, without owners, and kept when they leave it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.support.callers import ADMIN, ALICE, BOB
from tests.support.vector_server import CONFIG, holding, new_token

ENTRY = "- {vector_db_id: docs, embedding_model: words, embedding_dimension: 8, vector_db_name: Documents}"
RULE = """\
        - permit: {actions: [read, update], resource: "vector_store::docs"}
          when: user with writer in roles
        - permit: {actions: [read]}
          when: resource is from config
"""
WRITER = "Authorization: Bearer writer"
"""May fill the store of the configuration."""


@pytest.fixture(scope="module")
def text() -> str:
    """A configuration with a store."""
    return CONFIG.replace("    storage:", f"    vector_dbs:\n    {ENTRY}\n    storage:") + RULE


def test_a_store_of_the_configuration_is_there_and_has_no_owner(opa_binary: Path, tmp_path: Path, text: str) -> None:
    with holding(opa_binary, tmp_path, text=text) as kept:
        shown = kept.got("GET", "/docs", None, BOB)
        assert (shown["id"], shown["name"], shown["embedding_model"]) == ("docs", "Documents", "echo/words")
        assert kept.house.address.get("/v1/vector-dbs/docs", BOB).json["embedding_dimension"] == 8
        assert "docs" in kept.listed("", BOB)
        assert kept.run("SELECT origin, owner_principal FROM \"TABLEs\" WHERE id = 'docs'") == [("config", None)]
        own = kept.made()
        assert {*kept.listed("")} == {"docs", own}
        assert kept.ask("POST", "/docs", {"name": "mine"}).status == 403
        filled = kept.attached("docs", WRITER)
        assert kept.listed("/docs/files", WRITER) == [filled]
        assert kept.listed("/docs/files") == []
        for path in ("/v1/vector_stores/docs", "/v1/vector-dbs/docs"):
            answer = kept.house.address.ask("DELETE", path, ADMIN)
            assert (answer.status, answer.error["code"]) == (409, "defined_by_configuration")
        assert kept.registered("docs", ALICE).status == 409


def test_what_the_configuration_says_otherwise_later_changes_nothing_and_is_told(
    opa_binary: Path, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = new_token()
    with holding(opa_binary, tmp_path, text=text, token=token) as kept:
        kept.attached("docs", WRITER)
        kept.registered("taken", ALICE)
    caplog.clear()
    later = text.replace("vector_db_id: docs", "vector_db_id: taken")
    with (
        caplog.at_level(logging.WARNING, logger="ostiary.vectors"),
        holding(opa_binary, tmp_path, text=later, token=token) as kept,
    ):
        assert kept.got("GET", "/docs", None, WRITER)["file_counts"]["total"] == 1
        assert kept.got("GET", "/taken")["id"] == "taken"
        assert kept.ask("GET", "/taken", None, BOB).status == 404
        told = " ".join(record.getMessage() for record in caplog.records)
        assert "the vector store `docs` is in no configuration any more" in told
        assert "the vector store `taken` of the configuration is not there" in told
        assert kept.got("DELETE", "/docs", None, ADMIN)["deleted"]


def test_the_servers_own_model_is_shown_and_used(opa_binary: Path, tmp_path: Path) -> None:
    text = CONFIG.replace("version: 2", "version: 2\n    apis: [inference, vector_io]").replace(
        "model_type: embedding, metadata: {embedding_dimension: 8}", "model_type: llm"
    )
    with holding(opa_binary, tmp_path, text=text) as kept:
        models = [model["id"] for model in kept.house.address.get("/v1/models", ALICE).json["data"]]
        assert "wordllama/wordllama-256" in models
        assert kept.got("POST", "", {})["embedding_model"] == "wordllama/wordllama-256"
