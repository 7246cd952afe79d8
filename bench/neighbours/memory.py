"""Memory of a server's processes at its peak, by the kernel's account."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench.processes import Running

_FORGET_PEAK: Final = "5"


def forget_peak(server: Running) -> int:
    """Begin a new peak; return the bytes that the server's processes hold now."""
    total = 0
    for pid in server.processes():
        folder = Path(f"/proc/{pid}")
        try:
            (folder / "clear_refs").write_text(_FORGET_PEAK)
            total += _status(folder, "VmRSS:")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def held(server: Running) -> int:
    """Return the bytes that the server's processes hold now."""
    cost = server.cost()
    return cost.server_bytes + cost.opa_bytes


def peak(server: Running) -> int:
    """Return the sum of the most that each process held since its peak was forgotten, in bytes."""
    total = 0
    for pid in server.processes():
        try:
            total += _status(Path(f"/proc/{pid}"), "VmHWM:")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def _status(folder: Path, name: str) -> int:
    """Return a figure of `status`; 0 for a process that is ending."""
    lines = (folder / "status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)
