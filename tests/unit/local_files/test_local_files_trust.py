"""Files that others could change: by themselves, by a directory on the way, or by a symbolic link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.local_files.trust import why_changeable, why_changeable_by_all

NOBODY = 65_534
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def inner(tmp_path: Path) -> Path:
    """A file in two directories of one's own."""
    path = tmp_path / "outer" / "inner" / "file"
    path.parent.mkdir(parents=True, mode=0o755)
    path.write_text("content")
    path.chmod(0o644)
    return path


def test_a_file_of_ones_own_in_directories_of_ones_own_is_safe(inner: Path) -> None:
    assert why_changeable(inner) is None
    assert why_changeable(Path("/etc/passwd")) is None
    assert why_changeable(inner.parent / "missing") is None
    assert why_changeable(inner.parent / "missing" / "file") is None


@pytest.mark.parametrize("mode", [0o666, 0o646, 0o664, 0o622, 0o602])
def test_a_file_that_a_group_or_others_may_write_is_not(inner: Path, mode: int) -> None:
    inner.chmod(mode)
    assert why_changeable(inner) == f"other users may write `{inner}`"
    by_all = f"every user may write `{inner}`" if mode & 2 else None
    assert why_changeable_by_all(inner) == by_all


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o773])
@pytest.mark.parametrize("above", [0, 1])
def test_nor_is_one_in_a_directory_that_they_may_write(inner: Path, mode: int, above: int) -> None:
    directory = inner.parents[above]
    directory.chmod(mode)
    assert why_changeable(inner) == f"other users may write `{directory}`"
    assert why_changeable(directory / "missing") == f"other users may write `{directory}`"
    directory.chmod(mode | 0o1000)
    assert why_changeable(inner) is None, "others can't replace what isn't theirs in a sticky directory"


def test_two_dots_behind_a_link_lead_where_the_system_goes(inner: Path, tmp_path: Path) -> None:
    (tmp_path / "open" / "below").mkdir(parents=True)
    (tmp_path / "open").chmod(0o777)
    (inner.parent / "link").symlink_to(tmp_path / "open" / "below")
    assert why_changeable(inner.parent / "link" / ".." / "file") == f"other users may write `{tmp_path / 'open'}`"
    assert why_changeable(inner.parent / ".." / "inner" / "file") is None


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a file away")
@pytest.mark.parametrize("place", ["file", "inner", "outer"])
def test_nor_is_one_that_belongs_to_another_or_lies_in_their_directory(inner: Path, place: str) -> None:
    given = next(path for path in (inner, *inner.parents) if path.name == place)
    os.chown(given, NOBODY, -1)
    assert why_changeable(inner) == f"`{given}` belongs to another user"
    assert why_changeable_by_all(inner) is None


def test_a_symbolic_link_is_as_safe_as_its_directory_and_all_that_it_leads_through(inner: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("outer/inner/file")
    (tmp_path / "short").symlink_to(tmp_path / "outer")
    (tmp_path / "through").symlink_to(tmp_path / "short" / ".." / "short" / "inner" / "file")
    for link in ("link", "short/inner/file", "through"):
        assert why_changeable(tmp_path / link) is None
        inner.parent.chmod(0o777)
        assert why_changeable(tmp_path / link) == f"other users may write `{inner.parent}`"
        inner.parent.chmod(0o755)
    open_directory = tmp_path / "open"
    open_directory.mkdir()
    open_directory.chmod(0o777)
    (open_directory / "link").symlink_to(inner)
    (tmp_path / "twice").symlink_to(open_directory / "link")
    for link in (open_directory / "link", tmp_path / "twice"):
        assert why_changeable(link) == f"other users may write `{open_directory}`"
        assert why_changeable_by_all(link) == f"every user may write `{open_directory}`"


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a link away")
def test_a_symbolic_link_of_another_user_is_not_safe_even_in_a_sticky_directory(inner: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    link = shared / "link"
    link.symlink_to(inner)
    assert why_changeable(link) is None
    os.chown(link, NOBODY, -1, follow_symlinks=False)
    assert why_changeable(link) == f"`{link}` belongs to another user"


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert why_changeable(tmp_path / "a") is None
    assert not (tmp_path / "a").exists()
