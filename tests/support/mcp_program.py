"""A program that is a server of tools on its standard streams: each tool of it misbehaves in its own way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

NAMES = (
    "echo",
    "environment",
    "process",
    "child",
    "never",
    "large",
    "half",
    "words",
    "asks",
    "deaf",
    "fails",
    "escapes",
    "fills",
    "blank",
    "signals",
    "keeps",
    "shares",
    "hides",
)

KEPT: list[bytearray] = []


def send(message: Any) -> None:
    """Write a message as one line."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def escaped() -> int:
    """The process of a child in a session of its own, whose parent has ended."""
    ours, theirs = os.pipe()
    if not os.fork():
        os.setsid()
        child = os.fork()
        if not child:
            for stream in (0, 1, 2, theirs):
                os.close(stream)
            time.sleep(60)
        os.write(theirs, str(child).encode())
        os._exit(0)
    os.wait()
    return int(os.read(ours, 20))


def forked(size: int) -> int:
    """A child in a session of its own, which has that many bytes and all that its parent has."""
    child = os.fork()
    if not child:
        os.setsid()
        KEPT.append(bytearray(size))
        time.sleep(60)
        os._exit(0)
    return child


def called(name: str, given: dict[str, Any]) -> Any:  # noqa: C901 - a row for each tool
    """The result of a call; None for none."""
    match name:
        case "environment":
            return dict(os.environ)
        case "process":
            return os.getpid()
        case "child":
            return subprocess.Popen(["/bin/sleep", "60"]).pid
        case "escapes":
            return escaped()
        case "signals":
            # The parent of a program is its launcher.
            os.kill(os.getppid(), int(given["text"]))
        case "keeps":
            KEPT.append(bytearray(int(given["text"])))
        case "shares":
            return [forked(0) for _ in range(4)]
        case "hides":
            return [forked(int(given["text"])) for _ in range(4)]
        case "fills":
            try:
                return len(bytearray(int(given["text"])))
            except MemoryError:
                return "no memory"
        case "blank":
            for _ in range(40):
                sys.stdout.write(given["text"] * 10_000)
        case "never":
            return None
        case "large":
            block = "x" * (1 << 20)
            sys.stdout.write('{"jsonrpc": "2.0", "id": 1, "result": "')
            for _ in range(100):
                sys.stdout.write(block)
            return None
        case "half":
            sys.stdout.write('{"jsonrpc": "2.0", "id": 1, "res')
            sys.stdout.flush()
            os._exit(3)
        case "words":
            sys.stdout.write("a word\n\n[1]\n")
        case "asks":
            for number in range(100):
                send({"jsonrpc": "2.0", "id": f"q{number}", "method": "ping"})
            return None
        case "deaf":
            time.sleep(600)
    return given.get("text", "done")


def main() -> None:
    """Answer until the input ends, or for ever where the first argument says so."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        frame = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "initialize":
            said = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}}
            send({**frame, "result": said})
        elif message["method"] == "tools/list":
            send({**frame, "result": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]}})
        elif message["method"] == "tools/call":
            name = message["params"]["name"]
            found = called(name, message["params"]["arguments"])
            if found is not None:
                part = {"type": "text", "text": found if isinstance(found, str) else json.dumps(found)}
                send({**frame, "result": {"content": [part], "isError": name == "fails"}})
        else:
            send({**frame, "result": {}})
    while "stays" in sys.argv:
        time.sleep(60)


if __name__ == "__main__":
    main()
