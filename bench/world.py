"""The environment of a run: upstream, baseline and the real server, each in a process of its own on loopback."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
        config = folder / "config.yaml"
        log = folder / "decisions.jsonl"
        config.write_text(configuration(rules, kind, upstream=self.upstream.port, log=log))
        places = {"XDG_RUNTIME_DIR": str(folder), "OSTIARY_HOME": str(folder / "home"), "OSTIARY_OPA": str(opa.find())}
        environment = {**os.environ, **places}
        program = ["server.cli.main"] if sampled is None else ["bench.sampler", str(sampled)]
        with running([*program, "run", str(config), "--port", "0"], folder / "said", environment, root) as server:
            yield server
        log.unlink()


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
