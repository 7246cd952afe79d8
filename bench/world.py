"""The environment of a run: upstream, baseline and the real server, each in a process of its own on loopback."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench import tokens
from bench.policies import Kind, configuration
from bench.processes import ROOT, Running, running
from translators import opa


@dataclass(frozen=True, slots=True)
class World:
    """The servers of a run; `folder` holds every file of the run.

    `bare` checks the token of every request, `remembering` each token once.
    """

    folder: Path
    callers: tokens.Tokens
    upstream: Running
    bare: Running
    remembering: Running

    def home(self, rules: int, kind: Kind) -> Path:
        """Return the directory for everything that the server with those policies writes."""
        return self.folder / f"{rules}-{kind}"

    @contextmanager
    def server(
        self, rules: int, kind: Kind = Kind.NAMES, *, sampled: Path | None = None, root: Path = ROOT
    ) -> Iterator[Running]:
        """Run `ostiary run` with that many rules in each policy, its decision log in a file.

        `sampled` is the file for the samples of `bench.sampler`, `root` the checkout whose code runs.
        """
        folder = self.home(rules, kind) if root == ROOT else self.folder / "other"
        folder.mkdir(mode=0o700, exist_ok=True)
        log = folder / "decisions.jsonl"
        text = configuration(rules, kind, upstream=self.upstream.port, log=log)
        program = ["server.cli.main"] if sampled is None else ["bench.sampler", str(sampled)]
        with _served(folder, text, program, root) as server:
            yield server
        log.unlink()

    @contextmanager
    def keeping(self, name: str, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Iterator[Running]:
        """Run a server in the folder `name`, with ten rules in each policy, whose developers may keep records.

        `change` alters its configuration first.
        """
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        text = configuration(10, Kind.NAMES, upstream=self.upstream.port, log=folder / "decisions.jsonl")
        config = yaml.safe_load(text)
        rules = config["server"]["auth"]["access_policy"]
        rules.append({"permit": {"actions": ["create", "read"]}, "when": "user with developer in roles"})
        change(config)
        with _served(folder, yaml.safe_dump(config, sort_keys=False), ["server.cli.main"], ROOT) as server:
            yield server


@contextmanager
def _served(folder: Path, config: str, program: Sequence[str], root: Path) -> Iterator[Running]:
    """Run a program of the server with a configuration; all that it keeps is in the folder."""
    path = folder / "config.yaml"
    path.write_text(config)
    places = {"XDG_RUNTIME_DIR": str(folder), "OSTIARY_HOME": str(folder / "home"), "OSTIARY_OPA": str(opa.find())}
    command = [*program, "run", str(path), "--port", "0"]
    with running(command, folder / "said", {**os.environ, **places}, root) as server:
        yield server


@contextmanager
def world() -> Iterator[World]:
    """Yield a new world, which is removed at the end. Raises OpaNotFound and NotStarted."""
    # Short, since a Unix socket's path has little room.
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        callers = tokens.make()
        keys = folder / "jwks.json"
        keys.write_bytes(callers.jwks)
        with (
            running(["bench.upstream", str(keys)], folder / "upstream") as upstream,
            running(["bench.bare", str(keys), str(upstream.port)], folder / "bare") as bare,
            running(["bench.bare", str(keys), str(upstream.port), "remember"], folder / "remembering") as remembering,
        ):
            yield World(folder, callers, upstream, bare, remembering)
