"""The model of `server.quota`: the amount that each caller may use in a period."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Discriminator, Tag

from server.config.base import StrictModel
from server.config.raw_value import RawValue
from server.config.sizes import size
from server.config.storage import Namespace, SqliteStore
from server.config.types import Anything, one_of, refusal, text, whole_number

MOST_REQUESTS: Final = 10**12

MOST_BYTES: Final = 10**15

Most = Annotated[int, whole_number(1, MOST_REQUESTS)]
"""The most that may be used in a period, and the most records that may be kept."""

MostBytes = Annotated[int, size(1, MOST_BYTES, "from 1 to 1000000GB")]
"""The most bytes that may be kept."""


def _store_type(value: object) -> object:
    word = text(value)
    if word != "sqlite" and isinstance(value, RawValue):
        hint = "use `sqlite`, or `{backend: NAME, namespace: TEXT}` with one of `storage.backends`"
        raise refusal("unknown-choice", f"can't be {value.described()}", hint)
    return word


class CounterFile(SqliteStore):
    """The SQLite file that keeps the counts of quotas; other kinds of stores are backends."""

    type: Annotated[Literal["sqlite"], BeforeValidator(_store_type)]


def _store_kind(value: object) -> str:
    is_named = isinstance(value, Namespace) or (isinstance(value, dict) and "backend" in value)
    return "backend" if is_named else "file"


class LimitConfig(StrictModel):
    """A separate limit for some callers; the policy engine chooses these by `when` or `unless`.

    Those two and `description` are the policy's, and are read by `policy.quota_limits`.
    """

    when: Anything = None
    unless: Anything = None
    description: Anything = None
    max_requests: Most | None = None
    max_tokens_per_period: Most | None = None
    max_records: Most | None = None
    max_bytes: MostBytes | None = None


class QuotaConfig(StrictModel):
    """The number of requests and tokens that each caller may use in a period, and what it may keep; None is no limit.

    `kvstore` is an SQLite file of its own, or a namespace of a backend for keys and values under `storage`, which
    several servers may share. Without authentication, the anonymous numbers hold for everyone. The first of `limits`
    that applies to a caller replaces the numbers of its kind.
    """

    kvstore: Annotated[
        Annotated[CounterFile, Tag("file")] | Annotated[Namespace, Tag("backend")], Discriminator(_store_kind)
    ]
    anonymous_max_requests: Most | None = None
    authenticated_max_requests: Most | None = None
    max_tokens_per_period: Most | None = None
    max_records: Most | None = None
    max_bytes: MostBytes | None = None
    limits: tuple[LimitConfig, ...] = ()
    period: Annotated[Literal["minute", "hour", "day"], one_of("minute", "hour", "day")] = "day"
