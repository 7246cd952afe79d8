"""Vector stores at work, without HTTP: real tables, blobs, index, extraction and embeddings, and a real OPA."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from starlette.requests import Request

from policy.vocabulary import Anonymous, Principal, Route
from server.api.files.blob_leases import BlobLeases
from server.api.files.deletions import FileDeletions
from server.api.files.store import FileStore, new_file_id
from server.api.files.sweeper import FileSweeper
from server.api.models.asking import Asking
from server.api.models.catalogue import Catalogue
from server.api.models.embedding import Embedder
from server.api.models.model import Model
from server.api.models.registered import RegisteredModels
from server.api.models.reserved import ReservedNames
from server.api.vector_stores.filling import Filling
from server.api.vector_stores.findable import Findable
from server.api.vector_stores.ingestion import Ingestion
from server.api.vector_stores.links import Link, NewLink, Status
from server.api.vector_stores.purging import PurgeSweeper
from server.api.vector_stores.search import Found, Search, Wanted
from server.authn.stamps import Stamps
from server.authz.decision_log.log import DecisionLog
from server.authz.opa.transport import OpaTransport, UnixAddress
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.authz.request_authorization import EnforcementPoint, Gate
from server.authz.request_context import RequestContext
from server.config.local_models import WordLlamaSettings
from server.extraction.extractor import Extractor
from server.http.deferred import DeferredRequests
from server.http.open_streams import OpenStreams
from server.inference.provider import ChatModel, ChatRequest, Pieces, ProviderFailed
from server.inference.providers.vector_answers import VectorRoom
from server.json_input.reader import Reader
from server.quota.admission import Admission, unlimited
from server.storage.blobs.directory import DirectoryBlobs
from server.storage.database.counting import FILES, UNCOUNTED
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.guarded import GuardedStore
from server.storage.records.record import Record
from server.storage.records.table import RecordTable
from server.storage.usage.tally import UsageTally
from server.storage.vectors.index import VectorIndex
from server.wiring.local_models import word_llama
from tests.support.databases import Make, opened
from tests.support.patience import PATIENCE
from tests.support.vector_records import VectorRecords, vector_records

FILE = "sql_record::openai_files"
WORDS = Model("words", "local", "words", "embedding", {"embedding_dimension": 256})


@dataclass
class Watched:
    """An embedding model that notes what it is asked, and fails as a test says before it answers."""

    chat: ChatModel
    failures: list[ProviderFailed] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    held: bytes = b""
    gone_on: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gone_on.set()

    def hold(self, text: bytes = b"") -> None:
        """Let it answer nothing about the text until `gone_on` is set; `arrived` tells that it was asked."""
        self.held = text
        self.gone_on.clear()
        self.arrived.clear()

    async def complete(self, request: ChatRequest) -> Pieces:
        """Answer, or fail."""
        self.asked.append(request.payload)
        if self.held in request.payload:
            self.arrived.set()
            await self.gone_on.wait()
        if self.failures:
            raise self.failures.pop(0)
        return await self.chat.complete(request)

    async def stream(self, request: ChatRequest) -> Any:
        """Embeddings are not streamed."""
        raise NotImplementedError


@dataclass
class VectorWorld:
    """All that works on vector stores in one process."""

    records: VectorRecords
    pep: EnforcementPoint
    files: FileStore
    file_table: RecordTable
    file_sweeper: FileSweeper
    embedder: Embedder
    model: Watched
    index: VectorIndex
    vectors: Path
    ingestion: Ingestion
    purging: PurgeSweeper
    search: Search
    log: Path

    def gate(self, caller: Principal | None, method: str = "POST", path: str = "/v1/vector_stores") -> Gate:
        """The gate of a new request."""
        context = RequestContext("req_1", Anonymous() if caller is None else caller)
        return Gate(self.pep, context, Route(method, path), requires_token=False)

    async def upload(self, caller: Principal | None, content: bytes, name: str = "a.txt", **more: Any) -> str:
        """The id of a new file."""
        identity = new_file_id()
        creation = await self.files.records.permit_create(self.gate(caller, path="/v1/files"), made=[identity])
        async with self.files.uploading(identity, creation) as upload:
            await upload.write(content)
            described = {"filename": name, "content_type": "text/plain", "purpose": "assistants"}
            return (await upload.keep(described, "assistants", more.get("lifetime"))).id

    async def attach(self, store: Record, caller: Principal | None, file_id: str, **more: Any) -> Link:
        """A link that waits."""
        link = await self.records.attach(store, NewLink(file_id, more.pop("attributes", {}), **more), caller)
        self.records.queue.wake()
        return link

    async def ended(self, link: Link, seconds: float = PATIENCE) -> Link:
        """The link once its ingestion is over."""
        async with asyncio.timeout(seconds):
            while True:
                found = await self.records.stores.refreshed(link)
                if found.status is not Status.IN_PROGRESS:
                    return found
                await asyncio.sleep(0.02)

    async def put(self, store: Record, caller: Principal | None, text: str, **more: Any) -> Link:
        """A text as a file that is ingested."""
        file_id = await self.upload(caller, text.encode(), more.pop("name", "a.txt"))
        return await self.ended(await self.attach(store, caller, file_id, **more))

    async def find(self, store: Record, caller: Principal | None, *queries: str, **more: Any) -> list[Found]:
        """What a search finds."""
        present = await self.records.stores.find(store.id)
        assert present is not None
        return await self.search.found(connected(), self.gate(caller), present, Wanted(queries, **more))

    async def purged(self, store: Record, seconds: float = PATIENCE) -> None:
        """Return once nothing of the store waits to be purged."""
        async with asyncio.timeout(seconds):
            while True:
                if not (await self.records.queue.purges([store]))[store.id].pending:
                    return
                await asyncio.sleep(0.02)


def connected() -> Request:
    """A request whose client stays."""

    async def receive() -> Any:
        await asyncio.get_running_loop().create_future()

    return Request({"type": "http", "headers": []}, receive)


@asynccontextmanager
async def vector_world(
    make: Make,
    folder: Path,
    opa: Path,
    index: VectorIndex,
    *,
    admission: Admission | None = None,
    models: Sequence[Model] = (WORDS,),
    work: bool = True,
) -> AsyncIterator[VectorWorld]:
    """The world until the context ends; without `work` nothing is ingested or purged by itself."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(opened(make))
        records = await vector_records(database)
        await bring_up_to_date(database, "openai_files", counting=FILES)
        await bring_up_to_date(database, "claims", counting=UNCOUNTED)
        await bring_up_to_date(database, "models")
        await bring_up_to_date(database, "model_names", "models")
        transport = OpaTransport(UnixAddress(opa), deadline=30.0)
        stack.callback(transport.close)
        log = DecisionLog.to_file(folder / "decisions.jsonl")
        stack.push_async_callback(log.close)
        pep = PolicyEnforcementPoint(PolicyDecisionPoint(transport, None), log)
        table, blobs = RecordTable(database, "openai_files"), DirectoryBlobs(folder / "blobs")
        await blobs.start()
        stack.push_async_callback(blobs.close)
        claims = BlobLeases(RecordTable(database, "claims"))
        deletions = FileDeletions(database, records.queue.notes.file_gone, records.queue.wake)
        files = FileStore(GuardedStore(table, FILE), claims, blobs, deletions)
        reader = Reader()
        stack.push_async_callback(reader.close)
        local = word_llama("local", WordLlamaSettings(), reader, VectorRoom())
        watched = Watched(local.chat)
        provider = replace(local, chat=watched, kind="inline::wordllama")
        reserved = ReservedNames([name for each in models for name in each.names], ["local"])
        registered = RegisteredModels(RecordTable(database, "models"), RecordTable(database, "model_names"), reserved)
        catalogue = Catalogue(models, {"local": provider}, registered)
        asking = Asking(catalogue, reader, OpenStreams(), Stamps(lambda: bytes(32)), UsageTally())
        embedder = Embedder(asking, catalogue)
        await stack.enter_async_context(index.running())
        await ready(index)

        def index_of(_: object) -> VectorIndex:
            return index

        extractor = Extractor()
        stack.push_async_callback(extractor.close)
        deferred = DeferredRequests(pep, admission or unlimited(), requires_token=False)
        filling = Filling(records.stores, files, embedder, extractor, index_of)
        ingestion = Ingestion(records.stores, records.queue, filling, deferred)
        purging = PurgeSweeper(records.stores, records.queue, table, index_of)
        search = Search(records.stores, Findable(records.stores, files.records), embedder, index_of)
        if work:
            await stack.enter_async_context(ingestion.running())
            await stack.enter_async_context(purging.running())
        yield VectorWorld(
            records,
            pep,
            files,
            table,
            FileSweeper(table, claims, blobs, deletions),
            embedder,
            watched,
            index,
            folder / "vectors",
            ingestion,
            purging,
            search,
            folder / "decisions.jsonl",
        )


async def ready(index: VectorIndex) -> None:
    """Return once the index is open."""
    end = time.monotonic() + PATIENCE
    while index.fault is not None:
        assert time.monotonic() < end, index.fault
        await asyncio.sleep(0.01)
