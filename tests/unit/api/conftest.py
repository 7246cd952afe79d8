"""A world of vector stores for all tests of a module, since an index and a tokenizer take seconds to load."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from server.storage.vectors.lance_index import LanceIndex
from server.storage.vectors.lance_place import Directory
from tests.support.databases import empty_sqlite
from tests.support.opa_engine import OpaServer, compile_config
from tests.support.vector_world import VectorWorld, vector_world

POLICY = """
    version: 2
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: "/v1/vector_stores*", methods: POST}
          when: user with reader in roles
        - permit: {paths: "*"}
        access_policy:
        - forbid: {actions: [read], resource: "model::local/words"}
          when: user with wordless in roles
        - forbid: {actions: [update], resource: "vector_store::*"}
          when: user with onlooker in roles
        - permit: {actions: [read], resource: "model::*"}
        - permit: {actions: [read, update], resource: "vector_store::*"}
          unless: user with stranger in roles
        - permit: {actions: [create, read, update, delete]}
          when: user is owner
"""

InWorld = Callable[[Callable[[VectorWorld], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def vectors(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InWorld]:
    """Runs a piece of work in the world of the module; each test has stores of its own."""
    with in_world(opa_binary, tmp_path_factory.mktemp("vectors")) as run:
        yield run


@contextmanager
def in_world(opa_binary: Path, folder: Path, *, work: bool = True) -> Iterator[InWorld]:
    """Run pieces of work in a world; without `work` nothing is ingested or purged by itself."""
    with (
        OpaServer(opa_binary, compile_config(dedent(POLICY)).archive) as opa,
        empty_sqlite(folder) as make,
        asyncio.Runner() as runner,
    ):
        world = vector_world(make, folder, opa.address, LanceIndex(Directory(folder / "vectors")), work=work)
        made = runner.run(world.__aenter__())
        yield lambda work: runner.run(work(made))
        runner.run(world.__aexit__(None, None, None))
