"""The worker process that reads large bodies, one after another, until the server closes its end.

It runs in an interpreter of its own with nothing but the standard library. Its memory is limited, its priority is low,
and the server ends it when it takes too long, so a body costs no more than this process may have.

A question is `ASKED`, the name of a function and the body, or a text that the function itself reads; the answer is
`ANSWERED`, a JSON text, and the bytes of the member that is no JSON, if there is one.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import sys
from importlib import import_module
from json import dumps
from pathlib import Path
from struct import Struct
from time import process_time
from typing import BinaryIO, Final

from server.json_input.strict import Document, InvalidJson, Json, Why, parse_json

ASKED: Final = Struct(">?HI")
"""A flag, that the function reads the text itself; bytes of the function's name, and of the body."""

ANSWERED: Final = Struct(">??II")
"""Two flags, that the body was refused and that this is the last answer; the bytes of the JSON text and behind it."""

BYTES: Final = "bytes"
"""The member of the JSON text that names the member with the bytes; only where there is one."""

MEMORY: Final = 384 * 1024 * 1024
"""Bytes of address space that reading a body may take."""

_LABOUR: Final = 0.1
"""Seconds on one body after which a fresh process replaces this one, since to end is faster than to free the memory."""


def main() -> None:
    """Answer questions until the server closes its end, or has gone."""
    with contextlib.suppress(ValueError, OSError):  # some systems know no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with contextlib.suppress(OSError):  # where memory runs out all the same, let it be this process that Linux ends
        Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold bodies
    os.nice(10)  # requests with short answers come first
    gc.disable()  # a JSON value holds no cycles
    with contextlib.suppress(OSError):
        while _answer(sys.stdin.buffer, sys.stdout.buffer):
            continue


def _answer(source: BinaryIO, sink: BinaryIO) -> bool:
    """Answer one question, and return whether there may be more."""
    head = source.read(ASKED.size)
    if len(head) < ASKED.size:
        return False
    as_it_is, name_size, size = ASKED.unpack(head)
    name = source.read(name_size).decode()
    raw = source.read(size)
    if len(raw) < size:
        return False
    started = process_time()
    given, refusal, told = None, None, {}
    try:
        given = raw if as_it_is else parse_json(raw)
        told = _look(name, given)
    except InvalidJson as fault:
        refusal = fault
    except MemoryError:
        refusal = InvalidJson("the body holds more values than the server reads", why=Why.TOO_COMPLEX)
    last = process_time() - started > _LABOUR
    if refusal is not None:
        told = {"message": refusal.message, "param": refusal.param, "code": refusal.code, "why": refusal.why}
    blob = b""
    for member, value in told.items():
        if type(value) is bytes:
            told, blob = {**told, member: None, BYTES: member}, value
    text = dumps(told).encode()
    sink.write(ANSWERED.pack(refusal is not None, last, len(text), len(blob)) + text + blob)
    sink.flush()
    if last:
        os._exit(0)  # with everything still held: the system is done with it at once
    return True


def _look(name: str, given: Document | bytes) -> Json:
    """Call the function `module:name`, which the server chooses, never a request."""
    module, _, function = name.partition(":")
    found: Json = getattr(import_module(module), function)(given)
    return found
