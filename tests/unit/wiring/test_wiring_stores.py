"""The stores of a configuration keep their records apart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.config import read_config
from server.storage.database.migrate import SchemaMismatch
from server.telemetry.dependencies import Dependencies
from server.wiring.stores import Stores


def opened(folder: Path, stores: str) -> None:
    """Open and close the stores of a configuration."""
    text = (
        "version: 2\napis: [inference]\nstorage:\n"
        f"  backends: {{sql: {{type: sql_sqlite, db_path: {folder / 'records.db'}}}}}\n"
        f"  blobs: {{type: local, path: {folder / 'blobs'}}}\n  stores: {{{stores}}}\n"
    )
    findings = Findings()
    config = read_config(parse_document(text, "config.yaml"), {}, findings)
    assert config is not None, findings.diagnostics

    async def run() -> None:
        async with Stores(config, Dependencies()).running():
            pass

    asyncio.run(run())


@pytest.mark.parametrize(
    "stores",
    [
        "conversations: {backend: sql, table_name: mine}, files: {backend: sql, table_name: mine_items}",
        "files: {backend: sql, table_name: mine}, inference: {backend: sql, table_name: mine_claims}",
        "inference: {backend: sql, table_name: mine}, conversations: {backend: sql, table_name: mine_messages}",
    ],
)
def test_a_table_that_lies_beside_another_one_is_not_given_to_a_second_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stores: str
) -> None:
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "home"))
    with pytest.raises(SchemaMismatch, match="two stores would share the table `mine_"):
        opened(tmp_path, stores)
    opened(tmp_path, stores.replace("mine_", "theirs_"))
