"""The rate of the lines of a batch, and what it costs others: `python -m bench.batches [--lines N]`.

A batch of chats is answered by a server with ten rules in each policy, in front of a provider of minimal cost, while
another caller asks for a chat every few milliseconds.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPResponse
from json import dumps
from typing import Any, Final

from bench.neighbours.messages import ask, chat, head, post, upload
from bench.policies import FAST
from bench.processes import Running
from bench.world import World, world

LEAST_RATE: Final = 800.0
"""Lines for each second of the server's processor time."""

MOST_LATER: Final = 50.0
"""Milliseconds by which a chat of another caller is answered later, of 99 in a hundred."""

_CHAT: Final = "/v1/chat/completions"
_OVER: Final = ("completed", "failed", "expired", "cancelled")
_PAUSE: Final = 0.005
_LOOK_SECONDS: Final = 0.5
_QUIET: Final = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """Lines for each second, and for each second of processor time; MB by which the server's memory has grown.

    The seconds of each chat before and during it are sorted.
    """

    rate: float
    rate_of_core: float
    grown: float
    before: Sequence[float]
    meanwhile: Sequence[float]


def main() -> None:
    """Measure and print; the status is 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="bench.batches", description="Measure the lines of a batch.")
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--report", action="store_true", help="succeed also where a goal is missed")
    chosen = parser.parse_args()
    with world() as made, made.keeping("batches") as server:
        found = _measured(made, server, chosen.lines)
    later = [(_share(found.meanwhile, share) - _share(found.before, share)) * 1000 for share in (0.5, 0.99, 1)]
    sys.stdout.write(
        f"{chosen.lines} lines: {found.rate:.0f} a second, {found.rate_of_core:.0f} for each second of the server's "
        f"processor time; memory +{found.grown:.0f} MB; {len(found.meanwhile)} chats of another caller are later by "
        f"p50 {later[0]:.1f} ms, p99 {later[1]:.1f} ms, worst {later[2]:.1f} ms\n"
    )
    is_missed = found.rate_of_core < LEAST_RATE or later[1] > MOST_LATER
    sys.exit(is_missed and not chosen.report)


def _measured(made: World, server: Running, count: int) -> Measured:
    greedy, modest = made.callers.good[:2]
    file = ask(server.port, upload(greedy, _lines(count), "batch"))["id"]
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        question = chat(modest)
        start = server.cost()
        before = [_asked(connection, question) for _ in range(_QUIET)]
        cost, began = server.cost(), time.perf_counter()
        body = {"input_file_id": file, "endpoint": _CHAT, "completion_window": "24h"}
        identity = ask(server.port, post("/v1/batches", greedy, body))["id"]
        shown: dict[str, Any] = {"status": "validating"}
        meanwhile, looked = list[float](), began
        while shown["status"] not in _OVER:
            meanwhile.append(_asked(connection, question))
            if time.perf_counter() - looked > _LOOK_SECONDS:
                shown, looked = ask(server.port, head("GET", f"/v1/batches/{identity}", greedy)), time.perf_counter()
    after, elapsed = server.cost(), time.perf_counter() - began
    if shown["request_counts"] != {"total": count, "completed": count, "failed": 0}:
        raise RuntimeError(f"the batch came to {shown['status']} {shown['request_counts']}")
    chats = (cost.server - start.server) / len(before) * len(meanwhile)
    seconds = after.server - cost.server - chats
    grown = (after.server_bytes - cost.server_bytes) / 1024 / 1024
    return Measured(count / elapsed, count / seconds, grown, sorted(before), sorted(meanwhile))


def _lines(count: int) -> bytes:
    body = {"model": f"bench/{FAST}", "messages": [{"role": "user", "content": "Why are doors free? " * 8}]}
    line = {"method": "POST", "url": _CHAT, "body": body}
    return "".join(dumps({"custom_id": f"line-{number}", **line}) + "\n" for number in range(count)).encode()


def _asked(connection: socket.socket, question: bytes) -> float:
    """Return the seconds that an answer takes."""
    time.sleep(_PAUSE)
    began = time.perf_counter()
    connection.sendall(question)
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    if answer.status != 200:
        raise RuntimeError(f"a chat of the other caller was answered {answer.status}")
    return time.perf_counter() - began


def _share(seconds: Sequence[float], share: float) -> float:
    return seconds[min(int(len(seconds) * share), len(seconds) - 1)]


if __name__ == "__main__":
    main()
