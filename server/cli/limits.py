"""The limits that `ostiary limits` prints and `docs/operate/limits.md` shows.

A limit is enforced where its constant stands; a row names that constant, so that the page says what the code does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from policy import model_choices
from policy import shields as required
from server.api.chat import body as chat
from server.api.chat import files as chat_files
from server.api.completions import body as completions
from server.api.conversations import body as conversations
from server.api.messages import body as message_body
from server.api.messages import course
from server.api.models import asked_shields, candidates, embedding, inputs
from server.api.prompts import body as prompts
from server.api.registry import body as entries
from server.api.responses import answering, unsealing
from server.api.responses import body as response_body
from server.api.responses import context as response_context
from server.api.responses import loop as response_loop
from server.api.responses import settings as response_settings
from server.api.responses import state as response_state
from server.api.responses import tools as response_tools
from server.api.responses.background import gathered as response_gathered
from server.api.responses.background import kept_events as response_events
from server.api.responses.background import queue as response_queue
from server.api.responses.background import worker as response_background
from server.api.responses.compaction import summaries
from server.api.responses.mcp import checks as mcp_checks
from server.api.responses.mcp import kind as mcp_kind
from server.api.responses.server_tools import file_search, file_search_body
from server.api.responses.server_tools import rounds as response_rounds
from server.api.safety import body as safety
from server.api.tools import routes as tools
from server.api.vector_stores import (
    attaching,
    claims,
    direct_body,
    failures,
    file_places,
    filling,
    filters,
    links,
    purging,
    search,
    search_body,
)
from server.api.vector_stores import body as vector_stores
from server.api.vector_stores import work as vector_work
from server.authn import limits as authn
from server.authz.decision_log import limits as log
from server.authz.opa import room, transport
from server.background import lasting
from server.config import shield_params
from server.extraction import limits as extraction
from server.fairness import places, threads
from server.fairness.shares import Share
from server.fairness.way_out import BEYOND, WAY_OUT
from server.http import edge, json_body, protocol
from server.http.websocket import frames as socket_frames
from server.http.websocket import memory as socket_memory
from server.http.websocket import protocol as sockets
from server.http.websocket import shares as socket_shares
from server.http.websocket import wire as socket_wire
from server.inference import breaker, file_parts, own_models
from server.inference.answers import vectors
from server.inference.attachments import SENT
from server.inference.providers import keys, retries, vector_answers, word_llama
from server.inference.providers.bedrock import answers as bedrock_answers
from server.inference.providers.bedrock import client as bedrock
from server.inference.providers.bedrock import embedding_models, frames
from server.inference.providers.bedrock import vectors as bedrock_vectors
from server.inference.providers.llama_cpp import client, forms, process
from server.inference.shared import CHATS
from server.json_input import reader, strict, worker
from server.local_files import secrets
from server.mcp import messages as mcp_messages
from server.mcp import session as mcp_session
from server.mcp import sessions as mcp_sessions
from server.mcp import transport as mcp_transport
from server.mcp import wire as mcp_wire
from server.net import outbound
from server.process import connections
from server.safety import bedrock as guardrails
from server.safety import running as shields
from server.safety import shielded, streams
from server.safety.llama_guard import conversations as guard
from server.storage import approvals, write_queue
from server.storage.blobs import shared as blobs
from server.storage.database import limits as database
from server.storage.records import guarded, list_steps, removal
from server.storage.usage import recorder, tally
from server.storage.vectors import faiss_index, faiss_rows, lance_index, lance_library, lance_place, lance_upkeep, rows
from server.storage.vectors import shared as shared_vectors

Unit = Literal["turns", "bytes"]
"""The meaning of a share's units."""

CONSTANTS: Final[dict[str, Any]] = {
    "approvals": approvals,
    "asked_shields": asked_shields,
    "attaching": attaching,
    "authn": authn,
    "bedrock": bedrock,
    "bedrock_answers": bedrock_answers,
    "bedrock_vectors": bedrock_vectors,
    "breaker": breaker,
    "candidates": candidates,
    "chat": chat,
    "chat_files": chat_files,
    "choices": model_choices,
    "claims": claims,
    "client": client,
    "summaries": summaries,
    "completions": completions,
    "connections": connections,
    "conversations": conversations,
    "course": course,
    "database": database,
    "direct_body": direct_body,
    "edge": edge,
    "embedding": embedding,
    "embedding_models": embedding_models,
    "entries": entries,
    "extraction": extraction,
    "failures": failures,
    "faiss_index": faiss_index,
    "faiss_rows": faiss_rows,
    "file_parts": file_parts,
    "file_places": file_places,
    "file_search": file_search,
    "file_search_body": file_search_body,
    "filling": filling,
    "filters": filters,
    "forms": forms,
    "frames": frames,
    "guard": guard,
    "guarded": guarded,
    "guardrails": guardrails,
    "inputs": inputs,
    "json_body": json_body,
    "keys": keys,
    "lance_index": lance_index,
    "lance_library": lance_library,
    "lance_place": lance_place,
    "lance_upkeep": lance_upkeep,
    "links": links,
    "lasting": lasting,
    "list_steps": list_steps,
    "log": log,
    "mcp_checks": mcp_checks,
    "mcp_kind": mcp_kind,
    "mcp_messages": mcp_messages,
    "mcp_session": mcp_session,
    "mcp_sessions": mcp_sessions,
    "mcp_transport": mcp_transport,
    "mcp_wire": mcp_wire,
    "message_body": message_body,
    "outbound": outbound,
    "own_models": own_models,
    "places": places,
    "process": process,
    "prompts": prompts,
    "protocol": protocol,
    "purging": purging,
    "reader": reader,
    "required": required,
    "response_background": response_background,
    "response_body": response_body,
    "response_context": response_context,
    "response_events": response_events,
    "response_gathered": response_gathered,
    "response_loop": response_loop,
    "response_queue": response_queue,
    "response_rounds": response_rounds,
    "response_settings": response_settings,
    "response_state": response_state,
    "response_tools": response_tools,
    "recorder": recorder,
    "removal": removal,
    "retries": retries,
    "room": room,
    "rows": rows,
    "safety": safety,
    "search": search,
    "search_body": search_body,
    "secrets": secrets,
    "shield_params": shield_params,
    "shielded": shielded,
    "shields": shields,
    "socket_frames": socket_frames,
    "socket_memory": socket_memory,
    "socket_wire": socket_wire,
    "sockets": sockets,
    "streams": streams,
    "strict": strict,
    "sys": sys,
    "tally": tally,
    "tools": tools,
    "transport": transport,
    "unsealing": unsealing,
    "vector_answers": vector_answers,
    "vector_stores": vector_stores,
    "vector_work": vector_work,
    "vectors": vectors,
    "word_llama": word_llama,
    "worker": worker,
    "write_queue": write_queue,
}
"""Modules by the names that rows give them."""

_COMES_AGAIN: Final = "503, with `Retry-After`"
_CLOSED: Final = "the connection is closed"
_FILE_FAILS: Final = "the file is `failed`, `invalid_file`"


@dataclass(frozen=True, slots=True)
class Limit:
    """A hard limit: `amount` names constants as `{module.NAME:unit}`, of which the unit is `bytes`, `seconds` or none.

    `answer` is what happens to a request that goes beyond it.
    """

    what: str
    amount: str
    answer: str


@dataclass(frozen=True, slots=True)
class Shared:
    """A share of a resource; `where` tells those of one name apart."""

    share: Share
    where: str = ""
    unit: Unit = "turns"


LIMITS: Final[Sequence[Limit]] = (
    Limit("path", "{edge.MAX_PATH:bytes}, as sent", "400"),
    Limit(
        "headers and query together",
        "{edge.MAX_HEADERS:bytes}, at most {protocol.MAX_HEADER_LINES} headers and {edge.MAX_PARAMETERS} parameters",
        "400",
    ),
    Limit(
        "time for a request's head, and from connecting to the first one", "{protocol.HEAD_SECONDS:seconds}", _CLOSED
    ),
    Limit(
        "requests sent at once on one connection, ahead of their answers",
        "{protocol.MAX_PIPELINED}",
        f"{_CLOSED} after the running answer",
    ),
    Limit(
        "connections",
        "{connections.MAX_CONNECTIONS} of one process, or half as many as it may have open files; of one address "
        "one of {connections.PART_OF_AN_ADDRESS} equal parts, unless it is a "
        "[trusted proxy](quotas.md#addresses-and-requests-at-the-same-time)",
        "the new connection is closed",
    ),
    Limit("a place of a request that waits for something else", "{places.LAPSE_SECONDS:seconds}", "it is free again"),
    Limit("JSON body", "{json_body.MAX_BODY:bytes}", "413"),
    Limit("time to send a body", "{json_body.BODY_SECONDS:seconds}", "408"),
    Limit(
        "a message on a WebSocket, its frames, the time to send it",
        "{json_body.MAX_BODY:bytes}, {socket_frames.MOST_FRAGMENTS}, {json_body.BODY_SECONDS:seconds}",
        "closed with 1009, 1008",
    ),
    Limit(
        "on a WebSocket: pings between two messages, and messages while a response is under way",
        "{sockets.MOST_CONTROLS}, {sockets.MOST_REFUSED}",
        "closed with 1008",
    ),
    Limit(
        "a WebSocket on which nothing is asked for; one of which nothing is heard",
        "{sockets.IDLE_SECONDS:seconds}; twice {sockets.LOOK_SECONDS:seconds}",
        "closed with 1001; cut",
    ),
    Limit(
        "a client that leaves its WebSocket unread, or does not answer its closing",
        "{socket_wire.STALLED_SECONDS:seconds}, {socket_wire.CLOSE_SECONDS:seconds}",
        "cut",
    ),
    Limit(
        "responses with `store: false` that one WebSocket remembers",
        "{socket_memory.MOST_REMEMBERED}, of {socket_memory.MOST_BYTES:bytes} together",
        "the oldest is forgotten",
    ),
    Limit("an upload, its form, its pace", "see [files](../api/what-is-kept.md#files)", "400, 408, 413"),
    Limit(
        "items of a conversation in one request",
        "{conversations.MOST_ITEMS}, of {conversations.MOST_BYTES:bytes} and {conversations.MOST_VALUES} values "
        "together, naming files {conversations.MOST_FILES} times, see [records](../api/what-is-kept.md)",
        "400, 413",
    ),
    Limit("items of a conversation", "{conversations.MOST_KEPT}", "400, `too_many_items`"),
    Limit(
        "input of a response: items, values, files, references",
        "{response_body.MOST_ITEMS} with those that it goes on from, {response_body.MOST_FILLED} of a request beside "
        "`conversation`, {response_body.MOST_VALUES}, "
        "{response_body.MOST_FILES}, {response_body.MOST_REFERENCES}",
        "400",
    ),
    Limit(
        "items that a response answers",
        "{response_context.MOST_STORED:bytes} where it is stored, else {response_context.MOST_ASKED:bytes}",
        "400, `context_length_exceeded`",
    ),
    Limit(
        "tools of a response, and all members beside its input",
        "{response_tools.MOST_TOOLS}, {response_settings.MOST_BYTES:bytes}",
        "400, 413",
    ),
    Limit(
        "variables of a prompt that a response sets, their values, and the text with them",
        "{response_body.MOST_VARIABLES}, {response_body.MOST_VARIABLES_BYTES:bytes}, "
        "{response_context.MOST_PROMPT} characters",
        "400",
    ),
    Limit(
        "output of a response",
        "{response_state.MOST_OUTPUT:bytes} in {response_loop.MOST_ITEMS} items",
        "it ends there, as `incomplete`",
    ),
    Limit(
        "answers of the model in one response, calls of one response at once, time of a call",
        "{response_rounds.MOST_ROUNDS}, {response_rounds.AT_ONCE}, {response_rounds.CALL_SECONDS:seconds}",
        "calls in the last answer are left out; later calls wait; the call fails",
    ),
    Limit(
        "results of tools that a model is told: of one call, of all calls of a response",
        "{response_rounds.MOST_TOLD:bytes}, {response_rounds.MOST_TOLD_IN_ALL:bytes}",
        "the rest is left out, and the model is told so",
    ),
    Limit(
        "servers of tools of one response, their tools, one of them, its name",
        "{mcp_kind.MOST_SERVERS}; {mcp_messages.MOST_TOOLS} of a server on {mcp_session.MOST_PAGES} pages; "
        "{mcp_messages.MOST_LISTED:bytes} of a server and {mcp_kind.MOST_LISTED:bytes} of all; "
        "{mcp_messages.LONGEST_TOOL} characters",
        "400; the server's tools are not listed, and its item says why",
    ),
    Limit(
        "headers that a server of tools is sent, and its address",
        "{mcp_checks.MOST_HEADERS} of {mcp_checks.MOST_HEADER_BYTES:bytes}, {mcp_checks.LONGEST_URL} characters",
        "400",
    ),
    Limit(
        "a message of a server of tools; events and bytes of one stream, and questions of the server in it",
        "{mcp_wire.MOST_MESSAGE:bytes}; {mcp_transport.MOST_EVENTS}, {mcp_transport.MOST_FLOW:bytes}, "
        "{mcp_transport.MOST_ASKED}",
        "the call fails",
    ),
    Limit("text of a result of a server of tools", "{mcp_messages.MOST_TOLD:bytes}", "the rest is cut, and it says so"),
    Limit(
        "time to look up a server of tools, to connect, to greet it, to list its tools, to call one",
        "{outbound.RESOLVE_SECONDS:seconds}, {mcp_wire.CONNECT_SECONDS:seconds}, "
        "{mcp_session.GREETING_SECONDS:seconds}, {mcp_session.LIST_SECONDS:seconds}, "
        "{mcp_session.CALL_SECONDS:seconds}",
        "the listing or the call fails",
    ),
    Limit(
        "time for which a session with a server of tools is kept, and for which a list of tools counts in its history",
        "{mcp_sessions.KEPT_SECONDS:seconds}, {mcp_session.LISTED_SECONDS:seconds}",
        "it is opened, and they are listed, anew",
    ),
    Limit(
        "calls of one principal that wait for an approval, their time, and answers in one request",
        "{approvals.MOST_WAITING}, {approvals.LIFETIME:seconds}, {mcp_checks.MOST_APPROVALS}",
        "the oldest ones can't be approved any more; 400",
    ),
    Limit(
        "vector stores of one tool `file_search`, arguments of a call, text that one call gives a model",
        "{file_search_body.MOST_STORES}, {file_search_body.LONGEST_ARGUMENTS} characters, "
        "{file_search.MOST_TEXT:bytes}",
        "400; the call fails; the best results are given",
    ),
    Limit(
        "responses in the background that are not over, of one caller and of all",
        "{response_queue.MOST_WAITING_EACH}, {response_queue.MOST_WAITING}",
        "429, 503",
    ),
    Limit(
        "responses that one process answers in the background at once, and of one caller",
        "{response_background.AT_ONCE}, {response_background.AT_ONCE_EACH}",
        "later ones wait, in rounds of the callers",
    ),
    Limit(
        "stored events of one response, but for those of its end",
        "{response_events.MOST_EVENTS}, {response_events.MOST_EVENT_BYTES:bytes}",
        "the answer ends there, `incomplete`",
    ),
    Limit(
        "time in which events of a response in the background are gathered, at least",
        "{response_gathered.PACE_SECONDS:seconds}",
        "they are stored and sent together",
    ),
    Limit(
        "stored events after the end of their response: time; responses and bytes of one caller",
        "{response_queue.EVENTS_KEPT_SECONDS:seconds}; {response_queue.MOST_KEPT_EACH}, "
        "{response_queue.MOST_KEPT_BYTES_EACH:bytes}",
        "they are dropped, those of the oldest first",
    ),
    Limit(
        "tool groups whose tools one list shows, and whose servers it asks at the same time",
        "{tools.MOST_GROUPS}, {tools.AT_ONCE}",
        "400, unless `toolgroup_id` names one",
    ),
    Limit(
        "files that one text of a response cites",
        "{response_loop.MOST_SOURCES}",
        "later ones are not cited",
    ),
    Limit(
        "stop sequences of a message, and each of them",
        "{message_body.MOST_STOPS}, {message_body.LONGEST_STOP} characters",
        "400",
    ),
    Limit("blocks of a message that a model answers", "{course.MOST_BLOCKS}", "502, or an `error` event"),
    Limit(
        "tokens from which a context may be summed up, entries of `context_management`",
        "{response_settings.LEAST_COMPACTED}, {response_settings.MOST_MANAGEMENT}",
        "400",
    ),
    Limit(
        "the summary of a compaction, sealed reasoning of a model, and the time for which both can be gone on from",
        "{summaries.MOST_SUMMARY:bytes}, {unsealing.MOST_SEALED:bytes}, {unsealing.LIFETIME:seconds}",
        "the beginning is kept; 400, `invalid_encrypted_content`",
    ),
    Limit(
        "a compaction, or an item of sealed reasoning, that is sent again",
        "{unsealing.LARGEST_ITEM:bytes}",
        "400, `invalid_encrypted_content`",
    ),
    Limit(
        "time in which a server that stops stores what it has answered, and counts chunks that were put in",
        "{lasting.FINISH_SECONDS:seconds}",
        "later responses are not stored; later chunks are not counted",
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
    Limit(
        "prompts of one request, a token id in them, and completions of all of them",
        "{inputs.MOST_INPUTS}; {inputs.LARGEST_ID}; {completions.MOST_COMPLETIONS}",
        "400",
    ),
    Limit(
        "inputs of one request for embeddings, and a token id in them",
        "{inputs.MOST_INPUTS}; {inputs.LARGEST_ID}",
        "400",
    ),
    Limit(
        "a provider's answer with embeddings, and one embedding in it",
        "{vector_answers.MOST_ANSWER:bytes}, {vectors.MOST_ENTRY:bytes}; "
        "more than {vector_answers.FREE:bytes} take room",
        "502",
    ),
    Limit(
        "a text that `inline::wordllama` embeds, and all texts of one request",
        "{word_llama.LONGEST:bytes}, {word_llama.MOST_BYTES:bytes}",
        "400",
    ),
    Limit(
        "turns with a model of `inline::llama-cpp`",
        "`parallel`, of one caller one less; {client.WAITING} wait, {client.WAITING_EACH} of one caller, "
        "for {client.WAIT_SECONDS:seconds}; for a model that is being loaded {process.PATIENCE_SECONDS:seconds}",
        "429 or 503, with `Retry-After`",
    ),
    Limit(
        "a body to such a model, and a form that it has to follow",
        "{client.TOKEN_BYTES} bytes for each token of its context and {client.FREE_BYTES:bytes}; "
        "{forms.MOST_BYTES:bytes}, {forms.MOST_CHOICES} values of `enum`, properties or alternatives, patterns of "
        "{forms.LONGEST_PATTERN} characters with {forms.MOST_REPEATS} repetitions inside of each other; no `grammar`",
        "400",
    ),
    Limit(
        "a model of `inline::llama-cpp` that computes nothing",
        "{process.STUCK_SECONDS:seconds}",
        "502; it is ended and loaded again",
    ),
    Limit(
        "requests in a row of one caller under which such a model ends, and for how long that caller is refused then",
        "{client.CRASHES}; {process.AGAIN_SECONDS:seconds}",
        _COMES_AGAIN,
    ),
    Limit(
        "a body that registers something, and its name",
        "{entries.MOST_BYTES:bytes}, {entries.LONGEST_ID} bytes, see "
        "[the registry](../api/what-is-kept.md#the-registry)",
        "413, 400",
    ),
    Limit("files of a vector store", "{links.MOST_LINKS}", "400, `too_many_files`"),
    Limit(
        "files that a vector store is made with, and files of one batch; its body",
        "{vector_stores.MOST_FIRST_FILES}; {vector_stores.MOST_BATCHED}; {vector_stores.MOST_BATCH_BYTES:bytes}",
        "400, 413",
    ),
    Limit(
        "files that are attached to a vector store in one transaction",
        "{attaching.AT_ONCE}",
        "the others follow in later ones",
    ),
    Limit(
        "memory to read a file of a vector store, seconds of a processor for it, and the time that these may last",
        "{extraction.MEMORY:bytes}; {extraction.CPU_SECONDS}, one more for each {extraction.BYTES_PER_SECOND} bytes, "
        "{extraction.MOST_CPU_SECONDS} at most; {extraction.PATIENCE} times as long",
        f"{_FILE_FAILS}, or `server_error` where it is the time",
    ),
    Limit(
        "pieces of a file of a vector store",
        "{extraction.MOST_PIECES}",
        _FILE_FAILS,
    ),
    Limit(
        "a PDF file, one of Office or an e-mail in a vector store; the text of one of the first two, and the pages of "
        "the first",
        "{extraction.LARGEST_WHOLE:bytes}; {extraction.MOST_CHARACTERS} characters, {extraction.MOST_PAGES}",
        _FILE_FAILS,
    ),
    Limit(
        "what a file of Office becomes when it is unpacked, its parts, and elements inside each other",
        "{extraction.RATIO} times its size and {extraction.FREE_INFLATED:bytes}, {extraction.MOST_INFLATED:bytes} at "
        "most; {extraction.MOST_MEMBERS}; {extraction.DEEPEST_ELEMENT}",
        _FILE_FAILS,
    ),
    Limit(
        "parts of an e-mail in a vector store, and messages inside each other",
        "{extraction.MOST_PARTS}; {extraction.DEEPEST_MESSAGE}",
        f"{_FILE_FAILS}; deeper messages are named",
    ),
    Limit("arrays and objects inside each other", "{strict.MAX_DEPTH} levels", "400"),
    Limit("digits of a whole number", "{sys.int_info.default_max_str_digits}", "400"),
    Limit("memory to read a body", "{worker.MEMORY:bytes}", "413"),
    Limit("time to read a body", "{reader.READ_SECONDS:seconds}", _COMES_AGAIN),
    Limit(
        "a body that goes on after its request was answered",
        "{protocol.MAX_UNREAD:bytes}, {protocol.UNREAD_SECONDS:seconds}",
        _CLOSED,
    ),
    Limit(
        "bytes in a row that belong to nothing (extensions of chunks, trailers, empty lines)",
        "{protocol.MAX_FRAMING:bytes}",
        "400",
    ),
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
    Limit(
        "records that one list passes over",
        "{list_steps.MOST_PASSED}, {list_steps.MOST_ASKED} of them each with a question of its own",
        "429, `list_too_long`",
    ),
    Limit("one statement of a list", "{database.LIST_SECONDS:seconds}", "503, `list_too_slow`"),
    Limit(
        "a small question to the policy, and the time for it",
        "{room.SMALL_BYTES:bytes} with its caller, {room.SMALL_TEXT} characters of the path and the names, "
        "{transport.DEADLINE:seconds}",
        "503",
    ),
    Limit(
        "resources that a request asks about in a small question",
        "{room.SMALL_QUESTIONS}",
        "more are a large one",
    ),
    Limit(
        "a large question to the policy, and the time for it",
        "{room.LARGE_QUESTIONS} resources, {room.LARGE_BYTES:bytes} besides the first one and its caller, "
        "{room.LARGE_SECONDS:seconds}; "
        "fewer resources where the last ones took the engine more than {room.GOAL_SECONDS:seconds}",
        "more wait for another turn; 503 for the caller alone",
    ),
    Limit(
        "bodies of the records on one page of a list",
        "{guarded.MOST_PAGE_BYTES:bytes}",
        "the page ends early, with `has_more`",
    ),
    Limit(
        "refusals of one address without a token, with a line each in the decision log",
        "{log.WHOLE_EACH} in {log.WINDOW_SECONDS:seconds}",
        "further ones are [counted](decision-log.md#what-is-counted)",
    ),
    Limit(
        "a path or a name in a line of the decision log",
        "{log.MOST_TEXT} characters",
        "of longer ones the beginning and the length",
    ),
    Limit(
        "an answer of Bedrock in one piece; one frame of a stream, and its headers",
        "{bedrock.MOST_WHOLE:bytes}; {frames.MAX_FRAME:bytes}, {frames.MAX_FRAME_HEADERS:bytes}",
        "502; the stream ends with an error",
    ),
    Limit(
        "calls of tools that a stream of Bedrock with a guardrail holds back",
        "{bedrock_answers.MOST_HELD:bytes}",
        "the stream ends with an error",
    ),
    Limit(
        "numbers of an embedding of Bedrock, and requests for one list of texts at the same time",
        "{embedding_models.MOST_NUMBERS}; {bedrock_vectors.AT_ONCE}",
        "502; others wait",
    ),
    Limit(
        "a file with the key of a provider, and how often it is looked at",
        "{secrets.MAX_KEY_FILE:bytes}; every {keys.LOOK_SECONDS:seconds} at most, "
        "and one request waits for it {keys.WAIT_SECONDS:seconds}",
        "the configuration is refused; of a later file, the key before it stays",
    ),
    Limit(
        "a provider's own list of models, its age, and that of a failure to get it",
        "{own_models.MOST_LISTED}; {own_models.KEPT_SECONDS:seconds}, {own_models.FAILED_SECONDS:seconds}",
        "further ones are left out",
    ),
    Limit(
        "threads of LanceDB that compute, its reads at the same time, and each of its two caches",
        "{lance_library.CPU_THREADS}; {lance_library.IO_THREADS}; {lance_library.CACHE_BYTES:bytes}",
        "others wait; what was used least recently is read again",
    ),
    Limit(
        "rows and bytes that LanceDB reads ahead, words that it gathers for an index, and what it sorts in memory",
        "{lance_library.BATCH_ROWS}; {lance_library.READ_BYTES:bytes}; {lance_library.WORDS_BYTES:bytes}; "
        "{lance_library.SORTED_BYTES:bytes}",
        "it goes on with the next ones, or on the disk",
    ),
    Limit(
        "tables of LanceDB that one process holds open, and files of a table before they are merged",
        "{lance_index.MOST_OPEN}; {lance_upkeep.MOST_FRAGMENTS}",
        "a table is opened again",
    ),
    Limit(
        "rows of a table whose parts no index knows yet, and of one whose index of words a purge makes anew",
        "{lance_upkeep.MOST_UNKNOWN}; {lance_upkeep.MOST_RENEWED}",
        "the index of parts is made anew; a word may stay that no text has",
    ),
    Limit(
        "stores whose vectors `inline::faiss` holds in memory, and their bytes",
        "{faiss_index.MOST_STORES}; {faiss_index.MOST_BYTES:bytes}, more where one store is larger",
        "those that were used least recently are read again",
    ),
    Limit(
        "rows of a part that are held in memory before they are written",
        "{rows.HELD_BYTES:bytes}; in `inline::faiss` {faiss_index.STEP} of them go in one transaction",
        "further ones are in a file until then",
    ),
    Limit(
        "a change of a vector store that is being purged, and a purge of one that is being changed",
        "{lance_place.LOCK_SECONDS:seconds}; {lance_place.ALONE_SECONDS:seconds}",
        "they are tried again later",
    ),
    Limit(
        "words that a keyword search in `inline::faiss` looks for, and a word in `inline::lancedb`",
        "{faiss_rows.MOST_WORDS}; {lance_upkeep.LONGEST_WORD} characters",
        "others are left out",
    ),
    Limit(
        "files that one process takes into vector stores at the same time, the bytes of one, and chunks of a store",
        "{file_places.AT_ONCE}, one of each caller, of which {file_places.LONG_AT_ONCE} take longer than "
        "{file_places.LONG_SECONDS:seconds} while others wait; {filling.LARGEST_FILE:bytes}; "
        "{filling.MOST_CHUNKS}",
        "others wait; " + _FILE_FAILS,
    ),
    Limit(
        "attempts to take in a file where a provider fails, and where something else does, and the pause before one",
        "{failures.PROVIDER_TRIES}; {vector_work.MOST_TAKEN}; {failures.LONGEST_PAUSE:seconds} at most",
        "the file is `failed`, `server_error`",
    ),
    Limit(
        "texts that a model is asked about at once for vector stores, their bytes, and numbers of their embeddings",
        "{embedding.MOST_TEXTS}; {embedding.MOST_BYTES:bytes}; {embedding.MOST_NUMBERS}",
        "others go in another request",
    ),
    Limit(
        "queries of a search of a vector store, one of them, and what it finds",
        "{search_body.MOST_QUERIES}; {search.LONGEST_QUERY:bytes}; {search_body.MOST_RESULTS}, the best of "
        "{search.CANDIDATES} where words count",
        "400",
    ),
    Limit(
        "comparisons of a filter by attributes, and filters inside each other",
        "{filters.MOST_COMPARISONS}; {filters.MOST_DEPTH}",
        "400",
    ),
    Limit(
        "chunks that one request puts into a vector store, their texts and metadata, those of one chunk, and its wait "
        "for another one",
        "{direct_body.MOST_INSERTED}; {direct_body.MOST_INSERT_BYTES:bytes}; {direct_body.LARGEST_CHUNK:bytes}; "
        "{claims.WAIT_SECONDS:seconds}",
        "400; 413; 400; 409",
    ),
    Limit(
        "the time until a deletion from a vector store is looked at by another process, and that of its purge",
        "{purging.SWEEP_SECONDS:seconds}; {purging.CLAIM_SECONDS:seconds}, after which another process goes on",
        "the store says `purge.pending`",
    ),
    Limit(
        "a request to a shield: its bytes, messages, or texts for moderations",
        "{safety.MOST_BYTES:bytes}, {safety.MOST_MESSAGES}, {safety.MOST_INPUTS}",
        "413, 400",
    ),
    Limit(
        "texts of one check by a shield",
        "{shields.MOST_CHARACTERS} characters; of a Llama Guard {guard.MOST_WINDOWS} windows of {guard.WINDOW} "
        "characters, of a guardrail {guardrails.MOST_REQUESTS} requests of {guardrails.MOST_CHARACTERS}",
        "400, `text_too_long`",
    ),
    Limit(
        "shields that one request asks for, and the characters of the name of each",
        "{asked_shields.MOST_ASKED}, {asked_shields.LONGEST_NAME}",
        "400",
    ),
    Limit(
        "a request or an answer whose texts go through [required shields](../api/safety.md#required-shields)",
        "{shielded.MOST_BYTES:bytes}",
        "400, `text_too_long`; of an answer 503, `shield_unavailable`",
    ),
    Limit(
        "a stream that goes through shields: characters that wait for a check and behind it, texts, bytes that wait",
        "{streams.WINDOW} and {streams.TAIL}, {streams.MOST_TEXTS}, {streams.MOST_HELD:bytes}",
        "an error event, `shield_unavailable`",
    ),
    Limit("shields that one rule requires", "{required.MOST_REQUIRED}", "the configuration is refused"),
    Limit(
        "time of one check by a shield",
        "{shield_params.TIMEOUT_SECONDS:seconds}, or its `timeout`, at most {shield_params.MOST_SECONDS:seconds}",
        "503, `shield_unavailable`",
    ),
    Limit(
        "words of one shield of `inline::keyword`, and characters of one of them",
        "{shield_params.MOST_WORDS}, {shield_params.LONGEST_WORD}",
        "the configuration is refused; 400",
    ),
    Limit("further names of a model", "{choices.MOST_ALIASES}", "400"),
    Limit(
        "models that a model names under `fallback`, and under `weights`, and models that are looked up for a request",
        "{choices.MOST_NAMED}; {candidates.MOST_CANDIDATES}",
        "400; further ones are not asked",
    ),
    Limit(
        "pauses between attempts to connect to a provider, and the time from which on none is made",
        "{retries.PAUSE_SECONDS:seconds}, each twice as long as the one before; {retries.RETRY_SECONDS:seconds}",
        "502",
    ),
    Limit(
        "failures in a row that one caller's requests may have caused and that count towards a probe, callers whose "
        "own failures are remembered, the time that one request may take to try a provider again, and that between "
        "two trials of one caller",
        "{breaker.MOST_OF_ONE} of each provider; {breaker.MOST_CALLERS}; {breaker.TRIAL_SECONDS:seconds}; "
        "{breaker.AGAIN_SECONDS:seconds}",
        "503, with `Retry-After`",
    ),
    Limit(
        "bytes of large bodies of one caller in each of many workers, which divide its share by their number",
        "{reader.LEAST_COMING:bytes} at least",
        "429",
    ),
    Limit("a client that does not read its answer", "{protocol.STALL_SECONDS:seconds}", _CLOSED),
)
"""Hard limits, and shares whose numbers depend on the configuration, in the order of the page."""

SHARES: Final[Sequence[Shared]] = (
    Shared(connections.HANDSHAKES, "TLS handshakes"),
    Shared(places.WORK),
    Shared(places.PROBES),
    Shared(places.PIECES, "in one turn of the event loop"),
    Shared(reader.READS),
    Shared(reader.COMING, unit="bytes"),
    Shared(CHATS, "unless `connections` says otherwise"),
    Shared(SENT),
    Shared(shields.CHECKS, "of each shield of the configuration, and of all registered ones of one provider"),
    Shared(answering.UNDER_WAY, unit="bytes"),
    Shared(socket_shares.SOCKETS),
    Shared(socket_shares.CHUNKS, "in one turn of the event loop"),
    Shared(socket_shares.COMING_FRAMES, unit="bytes"),
    Shared(socket_memory.REMEMBERED, unit="bytes"),
    Shared(response_rounds.UNDER_WAY),
    Shared(response_events.READ, unit="bytes"),
    Shared(mcp_sessions.SESSIONS),
    Shared(mcp_wire.EXCHANGES),
    Shared(mcp_wire.INCOMING, unit="bytes"),
    Shared(outbound.RESOLVING),
    Shared(vector_answers.ROOM, unit="bytes"),
    Shared(threads.READ_BESIDE),
    Shared(shared_vectors.HERE),
    Shared(shared_vectors.IN_BUCKET),
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
    Shared(WAY_OUT, unit="bytes"),
    Shared(BEYOND),
)
"""Shares of callers, in the order of the page."""
