"""The settings of the indexes of vector stores, `inline::lancedb` and `inline::faiss`."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from policy.source.diagnostics import Findings, Span, hint_of
from server.config.base import StrictModel
from server.config.locations import BaseUrl, path
from server.config.providers import ProviderConfig, ProviderSettings
from server.config.raw_value import UNRESOLVED, RawValue
from server.config.storage import Namespace, SqliteStore
from server.config.tree import TreeReader
from server.config.types import Secret, Text, one_of, refusal, text

FAISS: Final = "inline::faiss"
LANCEDB: Final = "inline::lancedb"

_EXTRA: Final = "ostiary[faiss]"
_BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9!_.*'()=-]+)*/?")
_NO_PATH: Final = re.compile(r"[@?#\\]|//|\A[a-z0-9+.-]+:", re.IGNORECASE)
"""Parts of an address: none of those may pass for a directory, since logs show it."""

_PAIR: Final = ("access_key_id", "secret_access_key")


def _directory_or_bucket(value: object) -> object:
    if isinstance(value, Path):
        return value
    given = str(text(value))
    if _BUCKET.fullmatch(given) and not {".", ".."} & {*given.split("/")}:
        return given.rstrip("/")
    if _NO_PATH.search(given):
        sentence = (
            "takes a directory without `@`, `?`, `#` and `://` in its path, or a bucket such as `s3://bucket/prefix`"
        )
        raise refusal("bad-url", sentence)
    return path(value)


class BucketOptions(StrictModel):
    """The service that has a bucket, and the credentials for it; without keys, those of the machine are used."""

    region: Text = Field(default="us-east-1", validation_alias=AliasChoices("region", "aws_region"))
    endpoint: BaseUrl | None = Field(
        default=None, validation_alias=AliasChoices("endpoint", "endpoint_url", "aws_endpoint")
    )
    access_key_id: Secret | None = Field(
        default=None, validation_alias=AliasChoices("access_key_id", "aws_access_key_id")
    )
    secret_access_key: Secret | None = Field(
        default=None, validation_alias=AliasChoices("secret_access_key", "aws_secret_access_key")
    )
    session_token: Secret | None = Field(
        default=None, validation_alias=AliasChoices("session_token", "aws_session_token")
    )

    @model_validator(mode="after")
    def _has_both_keys(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            given, lacking = _PAIR if self.secret_access_key is None else _PAIR[::-1]
            sentence = f"`{given}` needs `{lacking}` beside it"
            raise refusal("half-a-pair", sentence, "leave both out to use the machine's own", whole=True)
        if self.session_token is not None and self.access_key_id is None:
            sentence = "`session_token` needs `access_key_id` and `secret_access_key` beside it"
            raise refusal("half-a-pair", sentence, "leave it out to use the machine's own credentials", whole=True)
        return self


class LanceSettings(ProviderSettings):
    """`inline::lancedb`. Without `uri`, a directory in the user's directory.

    `uri`, `db_path` and `path` are names of one setting: a directory, or a bucket of S3 with a prefix.
    """

    uri: Annotated[Path | str, BeforeValidator(_directory_or_bucket)] | None = Field(
        default=None, validation_alias=AliasChoices("uri", "db_path", "path")
    )
    storage_options: BucketOptions | None = None

    @model_validator(mode="after")
    def _has_a_bucket(self) -> Self:
        if self.storage_options is not None and not isinstance(self.uri, str):
            sentence = "`storage_options` are those of a bucket, and `uri` names none"
            raise refusal("one-or-the-other", sentence, "leave them out", whole=True, below=("storage_options",))
        return self


class FaissSettings(ProviderSettings):
    """`inline::faiss`: the SQLite file of its rows (`kvstore`), or the backend beside whose file that one lies."""

    kvstore: SqliteStore | None = None
    persistence: Namespace | None = None

    @model_validator(mode="after")
    def _says_one_place(self) -> Self:
        if self.kvstore is not None and self.persistence is not None:
            sentence = "`kvstore` and `persistence` are two places for the same vectors"
            raise refusal("one-or-the-other", sentence, "leave one of them out", whole=True, below=("persistence",))
        return self


class LanceProvider(ProviderConfig):
    """Vectors in tables of LanceDB, in a directory or in a bucket."""

    provider_type: Annotated[Literal["inline::lancedb"], one_of(LANCEDB)]
    config: LanceSettings = LanceSettings()


class FaissProvider(ProviderConfig):
    """Vectors in an SQLite file, searched in memory by Faiss; one process has them."""

    provider_type: Annotated[Literal["inline::faiss"], one_of(FAISS)]
    config: FaissSettings = FaissSettings()


def check_vector_io(reading: TreeReader, findings: Findings) -> None:
    """Report each `inline::faiss` without its extra, with several workers, or with a backend that is no file."""
    for place, provider in reading.entries(("providers", "vector_io")):
        kind = provider.get("provider_type")
        if not isinstance(kind, RawValue) or kind.text != FAISS:
            continue
        span = reading.span((*place, "provider_type"))
        if find_spec("faiss") is None:
            message = f"`{FAISS}` needs the extra `faiss`, which is not installed"
            findings.error("missing-extra", span, message, f"install `{_EXTRA}`, or use `{LANCEDB}`")
        _check_workers(reading, findings)
        config = provider.get("config")
        persistence = config.get("persistence") if isinstance(config, dict) else None
        wanted = persistence.get("backend") if isinstance(persistence, dict) else None
        if isinstance(wanted, RawValue):
            span = reading.span((*place, "config", "persistence", "backend"))
            _check_backend(wanted, span, reading, findings)


def _check_workers(reading: TreeReader, findings: Findings) -> None:
    workers = reading.find(("server", "workers"))
    if isinstance(workers, RawValue) and workers.text.isdecimal() and int(workers.text) > 1:
        message = f"`workers` is more than 1, and the vectors of `{FAISS}` belong to one process"
        span = reading.span(("server", "workers"))
        findings.error("one-process", span, message, f"make it 1, or use `{LANCEDB}` under `providers.vector_io`")


def _check_backend(wanted: RawValue, span: Span, reading: TreeReader, findings: Findings) -> None:
    backends = reading.mapping(("storage", "backends"))
    kinds = {name: backend.get("type") for name, backend in backends.items() if isinstance(backend, dict)}
    usable = [name for name, kind in kinds.items() if isinstance(kind, RawValue) and kind.text == "kv_sqlite"]
    kind = kinds.get(wanted.text)
    if wanted.text not in backends and UNRESOLVED not in backends.values():
        hint = hint_of("" if wanted.variables else wanted.text, usable)
        message = f"no backend is called {wanted.described()}"
        findings.error("unknown-backend", span, message, hint or "add it under `storage.backends`")
    elif isinstance(kind, RawValue) and kind.text != "kv_sqlite":
        message = f"the backend {wanted.described()} is of type {kind.described()}"
        hint = f"`{FAISS}` takes one of type `kv_sqlite`, or a `kvstore` of its own"
        findings.error("wrong-backend", span, message, hint)
