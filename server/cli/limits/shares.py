"""Shares of callers in the order of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from server.api.batches import lines as batch_lines
from server.api.files import store as uploads
from server.api.responses import answering
from server.api.responses.background import kept_events as response_events
from server.api.responses.server_tools import rounds as response_rounds
from server.api.vector_stores import documents as vector_documents
from server.authn import limits as authn
from server.authz.decision_log import limits as log
from server.authz.opa import room
from server.cli.limits.row import Shared
from server.fairness import places, threads
from server.fairness.outgoing import OUTGOING, OVERDRAFTS
from server.http.fair_turns import WAITING_BODIES
from server.http.websocket import memory as socket_memory
from server.http.websocket import shares as socket_shares
from server.inference.attachments import SENT
from server.inference.providers import vector_answers
from server.inference.shared import CHATS
from server.json_input import reader
from server.mcp import programs as mcp_programs
from server.mcp import sessions as mcp_sessions
from server.mcp import wire as mcp_wire
from server.net import outbound
from server.process import connections
from server.safety import running as shields
from server.storage.blobs import shared as blobs
from server.storage.database import limits as database
from server.storage.records import removal
from server.storage.vectors import shared as shared_vectors

SHARES: Final[Sequence[Shared]] = (
    Shared(connections.HANDSHAKES, "TLS handshakes"),
    Shared(places.WORK),
    Shared(places.PROBES),
    Shared(places.LATER),
    Shared(places.PIECES, "in one turn of the event loop"),
    Shared(WAITING_BODIES, unit="bytes"),
    Shared(reader.READS),
    Shared(reader.INCOMING, unit="bytes"),
    Shared(CHATS, "unless `connections` says otherwise"),
    Shared(SENT),
    Shared(shields.CHECKS, "of each shield of the configuration, and of all registered ones of one provider"),
    Shared(answering.UNDER_WAY, unit="bytes"),
    Shared(socket_shares.SOCKETS),
    Shared(socket_shares.CHUNKS, "in one turn of the event loop"),
    Shared(socket_shares.INCOMING_FRAMES, unit="bytes"),
    Shared(socket_memory.REMEMBERED, unit="bytes"),
    Shared(batch_lines.LINES),
    Shared(batch_lines.FIRST_LINES),
    Shared(batch_lines.LARGE_FIRST_LINES),
    Shared(response_rounds.UNDER_WAY),
    Shared(response_rounds.STEPS, "in one turn of the event loop"),
    Shared(response_events.READ, unit="bytes"),
    Shared(mcp_sessions.SESSIONS),
    Shared(mcp_wire.EXCHANGES),
    Shared(mcp_wire.INCOMING, unit="bytes"),
    Shared(mcp_programs.PROGRAMS),
    Shared(mcp_programs.FURTHER),
    Shared(mcp_wire.READ, "in one turn of the event loop"),
    Shared(outbound.RESOLVING),
    Shared(vector_answers.ROOM, unit="bytes"),
    Shared(threads.READ_BESIDE),
    Shared(shared_vectors.HERE),
    Shared(shared_vectors.IN_BUCKET),
    Shared(vector_documents.INCOMING, unit="bytes"),
    Shared(vector_documents.PUTS),
    Shared(uploads.UPLOADS, unit="bytes"),
    Shared(blobs.ON_DISK),
    Shared(blobs.IN_BUCKET),
    Shared(authn.KNOWN),
    Shared(authn.UNKNOWN),
    Shared(authn.KNOWN_KEYS),
    Shared(authn.UNKNOWN_KEYS),
    Shared(authn.CHECKS),
    Shared(log.LINES, unit="bytes"),
    Shared(room.SMALL),
    Shared(room.LARGE),
    Shared(database.SQLITE_READS, "SQLite"),
    Shared(database.SQLITE_WRITES, "SQLite"),
    Shared(database.SQLITE_LISTS, "SQLite"),
    Shared(database.POSTGRES_CALLS, "PostgreSQL"),
    Shared(database.POSTGRES_LISTS, "PostgreSQL"),
    Shared(removal.STEPS),
    Shared(OUTGOING, unit="bytes"),
    Shared(OVERDRAFTS),
)
