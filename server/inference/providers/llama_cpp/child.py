"""The child process that runs one model: it is told on its standard input what to load, and answers on a socket.

It runs in an interpreter of its own, with the standard library, xllamacpp and modules that import no more. It ends with
the server: by Linux while it loads, and then when its standard input ends, which the server holds open. On its standard
output it says one line of JSON: `{"ready": true}`, or `{"fault": SENTENCE, "lasting": BOOL}`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from server.background.child_processes import outlive_parent
from server.inference.providers.llama_cpp.gguf import CutShort, GgufModel, NotGguf, read_gguf

READY: Final = "ready"
FAULT: Final = "fault"
LASTING: Final = "lasting"

LARGEST_BATCH: Final = 32
"""Tokens of a prompt that are processed at once; a caller who leaves is noticed between two batches."""

SPARE: Final = 128 * 1024 * 1024
"""Bytes that a model takes besides its weights and its cache."""

_PIECE: Final = 1024 * 1024
_TIMEOUT: Final = 3600
_MEGABYTE: Final = 1_000_000
_WARNINGS: Final = 2
_UNLIMITED: Final = 1 << 60


class CantLoad(Exception):
    """The model can't be loaded; the message is the reason, without the file's name. `lasting` if it will stay so."""

    def __init__(self, sentence: str, *, lasting: bool = True) -> None:
        super().__init__(sentence)
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Order:
    """An order to the child: the model to load, and how to serve it.

    `context` is the number of tokens of one request, of which `parallel` are answered at the same time by `threads`.
    It listens on `socket`, for requests with `key`, and calls the model `alias`. With `shares_cache`, what one request
    has computed of a prompt serves later ones that begin in the same way.
    """

    path: str
    sha256: str | None
    context: int
    parallel: int
    threads: int
    shares_cache: bool
    socket: str
    key: str
    alias: str


def checked(order: Order) -> GgufModel:
    """Return the model in the file if it is whole, the one that is wanted, and fits into memory; raises CantLoad."""
    path = Path(order.path)
    try:
        model = read_gguf(path)
        if order.sha256 is not None:
            _verify(path, order.sha256, model)
    except NotGguf:
        raise CantLoad("its file is no GGUF file") from None
    except CutShort as cut:
        size = "" if cut.needed is None else f", at {megabytes(path.stat().st_size)} of {megabytes(cut.needed)}"
        raise CantLoad(f"its file is cut short{size}") from None
    except OSError as fault:
        raise CantLoad(f"its file can't be read ({fault.strerror})") from None
    check_memory(needed_memory(model, order), free_memory())
    return model


def needed_memory(model: GgufModel, order: Order) -> int:
    """Return about how many bytes the model takes; of one in several files, the first counts."""
    return model.size + model.cache(context_of(model, order) * order.parallel) + SPARE


def context_of(model: GgufModel, order: Order) -> int:
    """Return the tokens of one request: no more than the model was trained for."""
    return order.context if model.context is None else min(order.context, model.context)


def check_memory(needed: int, free: int | None) -> None:
    """Raise CantLoad if there is less memory than is needed."""
    if free is not None and needed > free:
        sentence = f"it needs about {megabytes(needed)} of memory, and {megabytes(free)} are free"
        raise CantLoad(sentence, lasting=False)


def megabytes(size: int) -> str:
    """Return a size as people read it."""
    return f"{size / _MEGABYTE:,.1f} MB"


def free_memory() -> int | None:
    """Return the bytes that this process may still take, by the machine and by the container; None if unknown."""
    return min(_limits(), default=None)


def _limits() -> Iterator[int]:
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        yield int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    groups = Path("/sys/fs/cgroup")
    for most, used, stat in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        with suppress(OSError, ValueError):
            limit = int((groups / most).read_text())
            if limit < _UNLIMITED:
                yield max(0, limit - int((groups / used).read_text()) + _reclaimable(groups / stat))


def _reclaimable(stat: Path) -> int:
    """Return the bytes of files that are kept in memory and that the kernel drops when others need it."""
    counts = dict(line.split() for line in stat.read_text().splitlines())
    return int(counts.get("total_inactive_file", counts.get("inactive_file", "0")))


def _verify(path: Path, wanted: str, model: GgufModel) -> None:
    if model.parts > 1:
        raise CantLoad("it is in several files, of which `sha256` can verify one alone")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    if digest.hexdigest() != wanted:
        raise CantLoad("its file has another `sha256` than the configuration says")


def serve(order: Order, model: GgufModel) -> object:
    """Load the model and listen; returns what keeps it running. Raises CantLoad."""
    import xllamacpp

    params: Any = xllamacpp.CommonParams()
    params.model.path = order.path
    params.model_alias = {order.alias}
    params.hostnames = [order.socket]
    params.api_keys = [order.key]
    params.n_ctx = context_of(model, order) * order.parallel
    params.n_parallel = order.parallel
    params.n_batch = params.n_ubatch = LARGEST_BATCH
    params.n_threads_http = order.parallel + 2
    params.timeout_read = params.timeout_write = _TIMEOUT
    params.verbosity = _WARNINGS
    params.cache_prompt = order.shares_cache
    params.cache_ram_mib = 0
    params.fit_params = False  # it would make less of the context than is configured
    params.endpoint_metrics = True  # by which the server sees that the model is at work
    params.ui = params.endpoint_slots = params.endpoint_props = False
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = order.threads
        cpu.poll = 0
    try:
        return xllamacpp.Server(params)
    except RuntimeError:
        raise CantLoad("llama.cpp refuses its file") from None


def main() -> None:
    """Load what the first line of the standard input orders, and serve until that input ends."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # llama.cpp may print
    order = Order(**json.loads(sys.stdin.readline()))
    with suppress(OSError):  # where memory runs out all the same, let it be this process that Linux ends
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.nice(5)  # requests that need no model come first
    try:
        running = serve(order, checked(order))
        said: dict[str, Any] = {READY: True}
        outlive_parent()  # it reads its input from now on, and leaves no directory behind
    except CantLoad as fault:
        running, said = None, {FAULT: str(fault), LASTING: fault.lasting}
    with suppress(OSError):  # the server may have ended
        told.write(json.dumps(said) + "\n")
        told.close()
    if running is not None:
        sys.stdin.buffer.read()
        with suppress(OSError):  # a server that was killed could not
            Path(order.socket).unlink()
            Path(order.socket).parent.rmdir()
    os._exit(0)  # without the seconds that an orderly end of the model would take
