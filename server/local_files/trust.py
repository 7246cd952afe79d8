"""Permissions of files that the server trusts: no other user may be able to change what is read from them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MOST_LINKS: Final = 40
_BY_GROUP_OR_OTHERS: Final = 0o022
_BY_OTHERS: Final = 0o002


def why_changeable(path: Path) -> str | None:
    """Return why a user other than root and the process's own could change what is read at `path`; None if none could.

    The file, each directory and each symbolic link on the way to it have to belong to one of the two, and no group and
    no others may write them. A directory with the sticky bit is safe, since its entries belong to one of the two. A
    path that doesn't exist is checked as far as it does.
    """
    trusted = (0, os.geteuid())
    for place, found in _on_the_way(path):
        if found.st_uid not in trusted:
            return f"`{place}` belongs to another user"
        if _is_open(found, _BY_GROUP_OR_OTHERS):
            return f"other users may write `{place}`"
    return None


def why_changeable_by_all(path: Path) -> str | None:
    """Return why every user could change what is read at `path`, whatever its owner; None if not every one could."""
    opened = (place for place, found in _on_the_way(path) if _is_open(found, _BY_OTHERS))
    return next((f"every user may write `{place}`" for place in opened), None)


def is_readable_by_all(path: Path) -> bool:
    """Return whether every user can reach and read what lies at `path`."""
    found = [status for _, status in _on_the_way(path) if not stat.S_ISLNK(status.st_mode)]
    reachable = all(status.st_mode & stat.S_IXOTH for status in found if stat.S_ISDIR(status.st_mode))
    return reachable and bool(found[-1].st_mode & stat.S_IROTH)


def _is_open(found: os.stat_result, mask: int) -> bool:
    if stat.S_ISLNK(found.st_mode):
        return False
    protected = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    return bool(found.st_mode & mask) and not protected


def _on_the_way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield everything that decides what lies at `path`: directories, symbolic links, the file itself."""
    # `..` stays in: after a symbolic link it leads to another place than the text says.
    place, ahead, links = Path("/"), [*reversed(path.absolute().parts[1:])], 0
    yield place, place.lstat()
    while ahead:
        part = ahead.pop()
        step = place.parent if part == ".." else place / part
        try:
            found = step.lstat()
        except OSError:
            return
        yield step, found
        if not stat.S_ISLNK(found.st_mode):
            place = step
            continue
        links += 1
        if links > _MOST_LINKS:
            return
        target = step.readlink()
        if target.is_absolute():
            place = Path("/")
        ahead += reversed([part for part in target.parts if part != "/"])
