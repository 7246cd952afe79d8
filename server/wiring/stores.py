"""Building of the stores of records and bytes that a configuration describes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from policy.resource_types import REGISTERED_TYPES, TYPES
from policy.vocabulary import type_of_record
from server.api.batches.parts import BatchParts
from server.api.batches.queue import BatchQueue
from server.api.chat.store import Chats
from server.api.files.blob_leases import BlobLeases
from server.api.files.deletions import FileDeletions
from server.api.files.store import FileStore
from server.api.files.sweeper import FileSweeper
from server.api.prompts.store import Prompts
from server.api.registry.configured import write_entries
from server.api.responses.background.queue import ResponseQueue
from server.api.responses.store import Responses
from server.api.tools.registry import GROUP
from server.api.vector_stores.configured import write_configured
from server.api.vector_stores.purges import PurgeNotes
from server.api.vector_stores.queue import IngestionQueue
from server.api.vector_stores.store import LINK_SUMS, VectorStores
from server.api.vector_stores.store_record import NewStore
from server.api.vector_stores.work import WorkQueue
from server.config import Config
from server.config.agents import AgentsProvider
from server.config.home import FILES_FOLDER, home
from server.config.storage import (
    QUEUED_WRITES,
    WRITERS,
    LocalBlobs,
    Namespace,
    QueuedTable,
    S3Blobs,
    Table,
)
from server.storage.approvals import ApprovalTable
from server.storage.blobs.directory import DirectoryBlobs
from server.storage.blobs.shared import IN_BUCKET, ON_DISK, SharedBlobs
from server.storage.blobs.store import Blobs
from server.storage.database.counting import FILES, ITEMS, LINKS, PARTS, RECORDS, UNCOUNTED, Counting
from server.storage.database.database import Database
from server.storage.database.migrate import SchemaMismatch, bring_up_to_date
from server.storage.records.guarded import GuardedStore
from server.storage.records.parts import RecordParts
from server.storage.records.removal import Removals
from server.storage.records.table import RecordTable
from server.storage.usage.recorder import UsageRecorder
from server.storage.usage.table import UsageTable
from server.storage.usage.tally import UsageTally
from server.storage.write_queue import WriteQueue
from server.telemetry.dependencies import Dependencies, Dependency
from server.wiring.at_start import origin_of
from server.wiring.databases import REGISTRY, beside, database_of, table_name, usage_place
from server.wiring.observed import ObservedBlobs, ObservedDatabase
from server.wiring.shield_records import shield_records
from server.wiring.tool_groups import group_records
from server.wiring.vectors import default_index

_CONVERSATIONS: Final = "openai_conversations"
_ITEMS: Final = "conversation_items"
_SHIELD: Final = "shield"
_VECTOR_STORE: Final = "vector_store"
_VECTOR_IO: Final = "vector_io"


class Stores:
    """Every store of records, for handlers that pass their gate; opened by `running` in the event loop that serves."""

    def __init__(self, config: Config, dependencies: Dependencies) -> None:
        """Databases and blobs are some of the `dependencies`."""
        self._config = config
        self._dependencies = dependencies
        self._databases: dict[str, Database] = {}
        self._tables: list[tuple[Database, str, str | None, Counting]] = []
        named = config.storage.stores
        files = self._table(named.files, "openai_files", FILES)
        claims = BlobLeases(self._table_of(files.database, beside(files.name, "claims"), counting=UNCOUNTED))
        self._blobs = ObservedBlobs(_blobs(config.storage.blobs), dependencies.add(Dependency("blobs", every=10.0)))
        self.file_table = files
        batches = "batches" if files.name == "openai_files" else beside(files.name, "batches")
        self.batch_table = self._table_of(files.database, batches)
        self.batches = GuardedStore(self.batch_table, TYPES["batch"].name)
        self.batch_parts = BatchParts(self._annex(self.batch_table, "parts"))
        self.batch_queue = BatchQueue(self._table_of(files.database, beside(batches, "work"), batches, UNCOUNTED))
        self.files = _recorded(files, "openai_files")
        conversations = self._table(named.conversations, _CONVERSATIONS)
        # Policies know the items by one name. Only the table goes with that of the conversations: two servers may share
        # a database.
        table = _ITEMS if conversations.name == _CONVERSATIONS else beside(conversations.name, "items")
        items = self._table_of(conversations.database, table, conversations.name, ITEMS)
        self._removals = [Removals(conversations, items)]
        self.conversations = _recorded(conversations, _CONVERSATIONS, self._removals[0])
        self.items = GuardedStore(items, TYPES[type_of_record(_ITEMS)].name)
        answers = self._table(named.inference, "chat_completions")
        self._writes = _write_queue(named.inference)
        chats = _recorded(answers, "chat_completions")
        self.chats = Chats(chats, self._annex(answers, "messages"), self._writes)
        prompts = self._table(named.prompts, "prompts")
        versions = self._annex(prompts, "versions")
        self._removals.append(Removals(prompts, versions.records))
        kept = GuardedStore(prompts, TYPES["prompt"].name, removals=self._removals[-1])
        self.prompts = Prompts(kept, versions)
        made = self._table(_responses_table(config), "responses")
        together = made.database is conversations.database
        parts = self._annex(made, "parts")
        self._removals.append(Removals(made, parts.records))
        self.responses = Responses(_recorded(made, "responses", self._removals[-1]), parts, together=together)
        self.approvals = ApprovalTable(made.database, beside(made.name, "approvals"))
        self.response_table = made
        work = self._table_of(made.database, beside(made.name, "work"), made.name, UNCOUNTED)
        self.response_queue = ResponseQueue(work, made)
        self.response_callers = self._table_of(made.database, beside(made.name, "callers"), counting=UNCOUNTED)
        backend, name = usage_place(config)
        self.usage = UsageTable(self._database(backend), name)
        self.tally = UsageTally()
        counted = config.server.usage
        self._recorder = UsageRecorder(self.tally, self.usage, counted.team, counted.keep_days)
        registry = table_name(named.metadata, REGISTRY)
        metadata = self._database(None if named.metadata is None else named.metadata.backend)
        self.models = self._table_of(metadata, beside(registry, "models"))
        self.model_names = self._table_of(metadata, beside(registry, "model_names"), self.models.name, PARTS)
        tables = {
            kind: self._table_of(metadata, beside(registry, f"{kind}s"))
            for kind in REGISTERED_TYPES
            if kind not in ("model", _VECTOR_STORE)
        }
        self.entries = {kind: GuardedStore(table, kind) for kind, table in tables.items()}
        self._shields = tables[_SHIELD]
        self._tool_groups = tables[GROUP]
        self.vector_stores = self._vector_stores(metadata, registry)
        self.ingestion = self._ingestion(metadata, registry, self.vector_stores.links)
        deletions = self._deletions(metadata) if _VECTOR_IO in config.apis else None
        self.file_store = FileStore(self.files, claims, self._blobs, deletions)
        self.janitor = FileSweeper(files, claims, self._blobs, deletions)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open every database, bring every table up to date, and run the sweepers; at the end, write what waits.

        Raises BlobsUnusable, DatabaseUnavailable and SchemaMismatch.
        """
        async with AsyncExitStack() as opened:
            opened.push_async_callback(self._blobs.close)
            await self._blobs.start()
            for database in self._databases.values():
                opened.push_async_callback(database.close)
                await database.start()
            self._refuse_shared_tables()
            for database, table, parent, counting in self._tables:
                await bring_up_to_date(database, table, parent, counting)
            await bring_up_to_date(*self._link_sums, series=LINK_SUMS)
            await write_configured(self.vector_stores, self._configured_stores())
            await write_entries(self._shields, shield_records(self._config), "shield")
            await write_entries(self._tool_groups, group_records(self._config), "tool group")
            await self.usage.prepare()
            await self.approvals.prepare()
            await opened.enter_async_context(self.janitor.running())
            for removals in self._removals:
                await opened.enter_async_context(removals.running())
            await opened.enter_async_context(self._writes.running())
            await opened.enter_async_context(self._recorder.running())
            yield

    def _refuse_shared_tables(self) -> None:
        """Raise SchemaMismatch for a table of two stores: a rule about the records of one would reach the other's.

        The configuration can't tell, since stores have tables beside the ones that it names.
        """
        taken: set[tuple[Database, str]] = set()
        every = [(database, table) for database, table, *_ in self._tables]
        others = [(each.database, each.name) for each in (self.usage, self.approvals)]
        for database, table in (*every, self._link_sums[:2], *others):
            if (database, table.casefold()) in taken:
                raise SchemaMismatch(f"two stores would share the table `{table}`; give one another `table_name`")
            taken.add((database, table.casefold()))

    def _vector_stores(self, database: Database, registry: str) -> VectorStores:
        """Return the vector stores, whose tables go with that of the registry."""
        stores = self._table_of(database, beside(registry, "vector_stores"))
        links = self._table_of(database, beside(registry, "vector_store_files"), stores.name, LINKS)
        batches = self._table_of(database, beside(registry, "vector_store_batches"), stores.name)
        self._link_sums = (database, beside(registry, "vector_store_sums"), links.name)
        self._removals.append(Removals(stores, links, batches))
        records = GuardedStore(stores, _VECTOR_STORE, removals=self._removals[-1])
        configured = {store.vector_store_id for store in self._config.stores_of_vectors}
        return VectorStores(records, links, batches, self._link_sums[1], configured)

    def _configured_stores(self) -> dict[str, NewStore]:
        """Return the vector stores of the configuration by their ids; their models go by their canonical names."""
        models = {name: model for model in self._config.models for name in model.names}
        return {
            each.vector_store_id: NewStore(
                embedding_model=models[each.embedding_model].names[0],
                name=each.vector_store_name,
                dimensions=each.embedding_dimension or models[each.embedding_model].dimensions,
                provider_id=each.provider_id or default_index(self._config),
                resource_id=each.provider_vector_store_id,
            )
            for each in self._config.stores_of_vectors
        }

    def _ingestion(self, database: Database, registry: str, links: RecordTable) -> IngestionQueue:
        """Return the queue of what is to be brought into the indexes of vector stores, and out of them."""
        notes = PurgeNotes(self._table_of(database, beside(registry, "vector_purges"), counting=UNCOUNTED))
        work = self._table_of(database, beside(registry, "vector_work"), links.name, UNCOUNTED)
        return IngestionQueue(WorkQueue(work, notes), notes)

    def _deletions(self, database: Database) -> FileDeletions:
        """Return what notes files that go, so that vector stores forget them."""
        return FileDeletions(database, self.ingestion.notes.file_gone, self.ingestion.wake)

    def _table(self, named: Table | Namespace | None, default: str, counting: Counting = RECORDS) -> RecordTable:
        """Return the table that is configured so; `default` is its name where the configuration has none."""
        database = self._database(None if named is None else named.backend)
        return self._table_of(database, table_name(named, default), counting=counting)

    def _table_of(
        self, database: Database, table: str, parent: str | None = None, counting: Counting = RECORDS
    ) -> RecordTable:
        self._tables.append((database, table, parent, counting))
        return RecordTable(database, table)

    def _annex(self, records: RecordTable, parts: str) -> RecordParts:
        """Return the table beside that of `records` for the parts that belong to them."""
        return RecordParts(self._table_of(records.database, beside(records.name, parts), records.name, PARTS))

    def _database(self, backend: str | None) -> Database:
        """Return the database of a backend, once for all the stores in it; None is the server's own choice."""
        key = "" if backend is None else backend
        if key not in self._databases:
            dependency = Dependency("database" if backend is None else f"database:{backend}")
            self._databases[key] = ObservedDatabase(
                database_of(self._config, backend),
                self._dependencies.add(dependency),
                origin_of(self._config, backend),
            )
        return self._databases[key]


def _recorded(records: RecordTable, standard: str, removals: Removals | None = None) -> GuardedStore:
    """Return the guarded store of a table; policies know it by its standard name, and by that of the configuration as
    well.
    """
    kind = TYPES[type_of_record(standard)].name
    types = () if records.name == standard else (kind, type_of_record(records.name))
    return GuardedStore(records, kind, types=types, removals=removals)


def _responses_table(config: Config) -> Table | None:
    """Return the table of responses that the provider of agents names; None for the server's own choice."""
    for provider in config.providers.get("agents", ()):
        if isinstance(provider, AgentsProvider):
            return provider.config.persistence.responses
    return None


def _write_queue(config: QueuedTable | None) -> WriteQueue:
    if config is None:
        return WriteQueue(QUEUED_WRITES, WRITERS)
    return WriteQueue(config.max_write_queue_size, config.num_writers)


def _blobs(config: LocalBlobs | S3Blobs | None) -> Blobs:
    match config:
        case None:
            return SharedBlobs(DirectoryBlobs(home() / FILES_FOLDER), ON_DISK)
        case LocalBlobs(path=path):
            return SharedBlobs(DirectoryBlobs(path), ON_DISK)
        case S3Blobs():
            # Here and not above, as for PostgreSQL.
            from server.storage.blobs.bucket import BucketBlobs

            pair = (config.access_key_id, config.secret_access_key)
            keys = None if pair[0] is None or pair[1] is None else (pair[0], pair[1])
            bucket = BucketBlobs(config.bucket, config.prefix, config.region, config.endpoint, keys)
            return SharedBlobs(bucket, IN_BUCKET)
