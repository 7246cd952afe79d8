"""The models of `storage`, and of the places where providers store data."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetPydanticSchema, Tag
from pydantic_core import CoreSchema

from server.config.base import StrictModel, chosen_by
from server.config.locations import BaseUrl, FilePath, Host, HostOrDirectory
from server.config.sizes import size
from server.config.types import Secret, Switch, Text, one_of, refusal, whole_number

MOST_QUEUED_WRITES: Final = 10_000_000
MOST_WRITERS: Final = 64

QUEUED_WRITES: Final = 10_000
WRITERS: Final = 4
MOST_FILE_BYTES: Final = 64 * 1024**3

SslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]
"""The protection of a connection to PostgreSQL, as libpq's `sslmode`."""

_TABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


def _table_name(value: str) -> str:
    if not _TABLE_NAME.fullmatch(value):
        raise refusal("wrong-value", "takes a table's name: letters, digits and `_`, at most 40, no digit first")
    return value


TableName = Annotated[Text, AfterValidator(_table_name)]
"""A name that SQL takes for a table."""


class SqliteStore(StrictModel):
    """A key-value store in an SQLite file of its own (`kvstore`)."""

    type: Annotated[Literal["sqlite"], one_of("sqlite")]
    db_path: FilePath
    namespace: Text | None = None


class KvSqliteBackend(StrictModel):
    """A backend for keys and values, in an SQLite file."""

    type: Annotated[Literal["kv_sqlite"], one_of("kv_sqlite")]
    db_path: FilePath


class SqlSqliteBackend(StrictModel):
    """A backend for tables, in an SQLite file."""

    type: Annotated[Literal["sql_sqlite"], one_of("sql_sqlite")]
    db_path: FilePath


class PostgresBackend(StrictModel):
    """A PostgreSQL database; `host` may be the directory of its socket."""

    host: HostOrDirectory = "localhost"
    port: Annotated[int, whole_number(1, 65535)] = 5432
    db: Text = "ostiary"
    user: Text
    password: Secret | None = None
    ssl_mode: Annotated[SslMode, one_of(*get_args(SslMode))] = "prefer"

    @property
    def url(self) -> str:
        """The address with its credentials, for drivers only."""
        password = "" if self.password is None else self.password.get_secret_value()
        query = urlencode({"host": self.host, "port": self.port, "sslmode": self.ssl_mode})
        return f"postgresql://{quote(self.user, safe='')}:{quote(password, safe='')}@/{quote(self.db, safe='')}?{query}"


class KvPostgresBackend(PostgresBackend):
    """A backend for keys and values, in PostgreSQL."""

    type: Annotated[Literal["kv_postgres"], one_of("kv_postgres")]


class SqlPostgresBackend(PostgresBackend):
    """A backend for tables, in PostgreSQL."""

    type: Annotated[Literal["sql_postgres"], one_of("sql_postgres")]


class KvRedisBackend(StrictModel):
    """A backend for keys and values, in Valkey or Redis."""

    type: Annotated[Literal["kv_redis"], one_of("kv_redis")]
    host: Host = "localhost"
    port: Annotated[int, whole_number(1, 65535)] = 6379
    password: Secret | None = None
    tls: Switch = False

    @property
    def url(self) -> str:
        """The address with its credentials, for drivers only."""
        login = "" if self.password is None else f":{quote(self.password.get_secret_value(), safe='')}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{login}{host}:{self.port}"


Backend = Annotated[
    Annotated[KvPostgresBackend, Tag("kv_postgres")]
    | Annotated[KvRedisBackend, Tag("kv_redis")]
    | Annotated[KvSqliteBackend, Tag("kv_sqlite")]
    | Annotated[SqlPostgresBackend, Tag("sql_postgres")]
    | Annotated[SqlSqliteBackend, Tag("sql_sqlite")],
    chosen_by("type", "kv_postgres", "kv_redis", "kv_sqlite", "sql_postgres", "sql_sqlite"),
]


def backend_models() -> dict[str, type[StrictModel]]:
    """Return the model of each `type` of backend."""
    members = map(get_args, get_args(get_args(Backend)[0]))
    return {mark.tag: model for model, *marks in members for mark in marks if isinstance(mark, Tag)}


class Namespace(StrictModel):
    """Keys of one kind in a backend for keys and values."""

    backend: Text
    namespace: Text


class Table(StrictModel):
    """Records of one kind in a backend for tables."""

    backend: Text
    table_name: TableName


class QueuedTable(Table):
    """A table that is written in the background."""

    max_write_queue_size: Annotated[int, whole_number(1, MOST_QUEUED_WRITES)] = QUEUED_WRITES
    num_writers: Annotated[int, whole_number(1, MOST_WRITERS)] = WRITERS


class StoresConfig(StrictModel):
    """The backend of each store; a store that isn't named is an SQLite file in the user's directory."""

    metadata: Namespace | None = None
    inference: QueuedTable | None = None
    conversations: Table | None = None
    prompts: Namespace | None = None
    files: Table | None = None
    usage: Namespace | None = None


class LocalBlobs(StrictModel):
    """The bytes of files in a directory."""

    type: Annotated[Literal["local"], one_of("local")]
    path: FilePath


class S3Blobs(StrictModel):
    """The bytes of files in a bucket of S3, or of a compatible server at `endpoint`."""

    type: Annotated[Literal["s3"], one_of("s3")]
    bucket: Text
    prefix: Text = "files"
    region: Text = "us-east-1"
    endpoint: BaseUrl | None = None
    access_key_id: Secret | None = None
    secret_access_key: Secret | None = None


BlobsConfig = Annotated[
    Annotated[LocalBlobs, Tag("local")] | Annotated[S3Blobs, Tag("s3")], chosen_by("type", "local", "s3")
]


def _any_blobs(_source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    return handler(BlobsConfig)


class StorageConfig(StrictModel):
    """`storage`: backends by name, the stores that use them, where the bytes of files are (None: the user's
    directory), and how many of them one file may have.
    """

    backends: dict[str, Backend] = Field(default_factory=dict)
    stores: StoresConfig = StoresConfig()
    blobs: Annotated[LocalBlobs | S3Blobs, GetPydanticSchema(_any_blobs)] | None = None
    max_file_bytes: Annotated[int, size(1, MOST_FILE_BYTES, "from 1 to 64GiB")] = 512 * 1024 * 1024
