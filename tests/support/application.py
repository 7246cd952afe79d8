"""The whole application, with only what a test is not about replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from starlette.applications import Starlette
from starlette.types import Scope

from policy.vocabulary import Principal
from server.api.chat.files import ChatFiles
from server.api.chat.routes import ChatCompletions
from server.api.chat.store import Chats
from server.api.files.blob_leases import BlobLeases
from server.api.files.store import FileStore
from server.api.models.asking import Asking
from server.api.models.catalogue import Catalogue
from server.api.models.model import Model
from server.api.models.pages import ModelPage, Part
from server.api.models.routes import Models
from server.api.system.health import HealthRoutes
from server.api.system.metrics import MetricsPage
from server.api.system.providers import ProviderEntry, ProviderRoutes
from server.app import Components, create_app
from server.authn import AuthenticationFailed, Authenticator, IdentityUnavailable
from server.authn.stamps import Stamps
from server.authz.readiness import AuthenticationMode, Readiness
from server.authz.request_authorization import EnforcementPoint, Gate
from server.http.cors import Cors, CorsPolicy
from server.http.drain_guard import Shutdown
from server.http.open_streams import OpenStreams
from server.inference.members import MemberRules
from server.inference.provider import ChatModel, Connection, Provider
from server.inference.providers.echo import Echo
from server.json_input.reader import Reader
from server.storage.blobs.directory import DirectoryBlobs
from server.storage.database.sqlite import SqliteDatabase
from server.storage.records.guarded import GuardedStore, NotFound
from server.storage.records.parts import RecordParts
from server.storage.records.table import RecordTable
from server.storage.usage.tally import UsageTally
from server.storage.write_queue import WriteQueue
from server.telemetry.dependencies import Dependencies
from server.telemetry.exposition import Exposition
from server.telemetry.metrics import Metrics
from tests.support.unsafe_policy import UnsafePermitAll

CREATED = 1_700_000_000

MODELS = (
    Model("llama", "echo", "llama3.2", "llm", {"context": 8192}),
    Model("meta/llama", "echo", "meta/llama-3", "llm", {}),
    Model("minilm", "echo", "minilm", "embedding", {}),
)


class AlwaysReady:
    """A policy engine in the best of health."""

    async def check(self) -> Readiness:
        """Ready."""
        return Readiness("r1", "r1", 12.3456, AuthenticationMode.OFF, None)


class NothingRegistered:
    """A registry without models."""

    async def get(self, gate: Gate, name: str) -> Model:
        """There is none."""
        await gate.enter()
        raise NotFound(name)

    async def page(self, gate: Gate, part: Part) -> ModelPage:
        """Nothing, and no cursor is part of it."""
        for cursor in filter(None, (part.after, part.before)):
            raise NotFound(cursor)
        return ModelPage((), has_more=False)

    async def delete(self, gate: Gate, name: str) -> Model:
        """There is none."""
        return await self.get(gate, name)

    async def look_for(self, name: str) -> None:
        """There is nothing to find."""


class ByToken:
    """Knows callers by their tokens alone, `NAME` or `NAME+ROLE`; `down` stands for an identity provider that does not
    answer.
    """

    async def authenticate(self, token: str, request: Scope, /) -> Principal:
        """The principal named like the token, with that role, or one of its own name."""
        if token == "down":
            raise IdentityUnavailable("the keys of the token's issuer can't be fetched now")
        if token == "bad":
            raise AuthenticationFailed("the token is not valid")
        name, _, role = token.partition("+")
        return Principal(name, "issuer", {"roles": (role or name,)})

    async def close(self) -> None:
        """There is nothing to close."""


def nothing_stored() -> Chats:
    """Where no test of this house stores anything: a database that nobody has opened."""
    database = SqliteDatabase(Path("nowhere.db"))
    answers = GuardedStore(RecordTable(database, "chat_completions"), "sql_record::chat_completions")
    return Chats(answers, RecordParts(RecordTable(database, "chat_completions_messages")), WriteQueue(1, 1))


def no_files() -> ChatFiles:
    """Where no chat names a file: the same, for files."""
    files, claims = (RecordTable(SqliteDatabase(Path("nowhere.db")), name) for name in ("files", "files_claims"))
    records = GuardedStore(files, "sql_record::openai_files")
    return ChatFiles(FileStore(records, BlobLeases(claims), DirectoryBlobs(Path("nowhere"))))


class ChatService(Connection, ChatModel, Protocol):
    """A connection that is a chat model too."""


def house(
    *,
    enforcement: EnforcementPoint | None = None,
    authenticator: Authenticator | None = None,
    cors: CorsPolicy | None = None,
    models: tuple[Model, ...] = MODELS,
    providers: Mapping[str, ChatService] | None = None,
    streams: OpenStreams | None = None,
    metrics: Metrics | None = None,
    members: MemberRules = MemberRules(),  # noqa: B008 - it never changes
) -> Starlette:
    """The application over `providers` (an `Echo` if none are given), permitting everything unless told otherwise."""
    reader = Reader()
    services = {"echo": Echo(reader)} if providers is None else providers
    served = {name: Provider(service, service, members) for name, service in services.items()}
    catalogue = Catalogue(models, served, NothingRegistered())
    entries = [ProviderEntry("inference", name, "inline::echo", {}, provider) for name, provider in served.items()]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        for service in services.values():
            await service.start()
        yield
        for service in services.values():
            await service.close()
        await reader.close()

    counted = metrics or Metrics("1.2.3")
    return create_app(
        Components(
            groups=[
                ChatCompletions(
                    Asking(catalogue, reader, streams or OpenStreams(), Stamps(lambda: bytes(32)), UsageTally()),
                    nothing_stored(),
                    no_files(),
                ),
                HealthRoutes(AlwaysReady(), "1.2.3", list, Dependencies()),
                MetricsPage(Exposition(counted)),
                Models(catalogue, CREATED),
                ProviderRoutes(entries, (), catalogue.resource_of),
            ],
            enforcement=enforcement or UnsafePermitAll(),
            authenticator=authenticator,
            cors=None if cors is None else Cors(cors),
            ending=Shutdown(),
            lifespan=lifespan,
            metrics=counted,
        )
    )
