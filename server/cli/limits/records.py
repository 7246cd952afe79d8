"""Limits of conversations, prompts, stored chats and other records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.api.chat import body as chat
from server.api.chat import files as chat_files
from server.api.conversations import body as conversations
from server.api.prompts import body as prompts
from server.api.registry import body as entries
from server.cli.limits.row import Limit
from server.inference import file_parts
from server.storage import write_queue
from server.storage.database import sqlite_log
from server.storage.records import removal
from server.storage.usage import recorder, tally

CONSTANTS: Final[dict[str, Any]] = {
    "chat": chat,
    "chat_files": chat_files,
    "conversations": conversations,
    "entries": entries,
    "file_parts": file_parts,
    "prompts": prompts,
    "recorder": recorder,
    "removal": removal,
    "sqlite_log": sqlite_log,
    "tally": tally,
    "write_queue": write_queue,
}
"""Modules by the names that rows give them."""

PARTS: Final[Sequence[Limit]] = (
    Limit("an upload, its form, its pace", "see [files](../api/what-is-kept.md#files)", "400, 408, 413"),
    Limit(
        "items of a conversation in one request",
        "{conversations.MOST_ITEMS}, of {conversations.MOST_BYTES:bytes} and {conversations.MOST_VALUES} values "
        "together, naming files {conversations.MOST_FILES} times, see [records](../api/what-is-kept.md)",
        "400, 413",
    ),
    Limit("items of a conversation", "{conversations.MOST_KEPT}", "400, `too_many_items`"),
)
"""Rows about uploads and the items of a conversation."""

KEPT: Final[Sequence[Limit]] = (
    Limit(
        "the write-ahead log beside an SQLite file",
        "{sqlite_log.MOST_BYTES:bytes}",
        "what is written next waits until it is copied into the file",
    ),
    Limit("versions of a prompt", "{prompts.MOST_KEPT}", "400, `too_many_versions`"),
    Limit(
        "items or versions that go in one transaction with what they belong to, or in a later one",
        "{removal.FEW_PARTS}; {removal.LARGEST_STEP}, of larger ones {removal.LARGE_AT_ONCE} and "
        "{removal.STEP_BYTES:bytes}",
        "the others go later, see [records](../api/what-is-kept.md#records-and-owners)",
    ),
    Limit(
        "a chat that is to be stored",
        "{chat.MOST_STORED:bytes}, {chat.MOST_VALUES} values in its messages, "
        "see [stored chats](../api/what-is-kept.md#stored-chats)",
        "413, 400",
    ),
    Limit(
        "files that a chat names by `file_id`",
        "{chat_files.MOST_OF_ONE:bytes} each and {chat_files.MOST_OF_ALL:bytes} together, named "
        "{file_parts.MOST_NAMED} times, see [files in chats](../api/answers.md#files-in-chats)",
        "413, 400",
    ),
)
"""Rows about versions of prompts and about stored chats."""

REGISTERED: Final[Sequence[Limit]] = (
    Limit(
        "a body that registers something, and its name",
        "{entries.MOST_BYTES:bytes}, {entries.LONGEST_ID} bytes, see "
        "[the registry](../api/what-is-kept.md#the-registry)",
        "413, 400",
    ),
)
"""Rows about what the registry holds."""

WRITTEN_LATER: Final[Sequence[Limit]] = (
    Limit(
        "stored chats that are not written yet",
        "{write_queue.BEGUN_BYTES:bytes} in one process, {write_queue.BEGUN_BYTES_EACH:bytes} of one caller, and "
        "{write_queue.ROOM_SECONDS:seconds} of waiting, see [stored chats](../api/what-is-kept.md#stored-chats)",
        "429 or 503, with `Retry-After`",
    ),
    Limit(
        "usage that is not written yet",
        "{tally.MOST_COUNTS} counts in one process, {tally.MOST_COUNTS_EACH} of one principal with one of "
        "{tally.MOST_VARIANTS} sets of attributes, {tally.MOST_VALUES} values of attributes; "
        "{recorder.FLUSH_SECONDS:seconds}",
        "no request is refused: what is more counts as [`others`](usage.md#who-may-see-it)",
    ),
)
"""Rows about records that are written after the answer."""
