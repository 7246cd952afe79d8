"""Where the decision log's lines end up: rotation, several writers, and what others do to the file."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from server.authz.decision_log.sink import LogFile, Rotation, Stream
from tests.support.patience import PATIENCE

WRITER = """
import sys
from pathlib import Path
from server.authz.decision_log.sink import LogFile, Rotation

path, name, count, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
file = LogFile(path, Rotation(size, 1000) if size else None)
for number in range(count):
    form = b'{"of":"%s","line":%d,"part":%d,"filling":"%s"}\\n'
    lines = b"".join(form % (name.encode(), number, part, b"x" * (number % 900)) for part in range(3))
    done = 0
    while done < len(lines):
        done = file.append(lines, done, lambda inode, place: None)
file.close()
"""


def put(file: LogFile | Stream, lines: bytes) -> None:
    """All of them, in as many steps as it takes."""
    done = 0
    while done < len(lines):
        done = file.append(lines, done, lambda inode, place: None)


def numbered(*numbers: int) -> bytes:
    """Lines of ten bytes."""
    return b"".join(b"line %04d\n" % number for number in numbers)


def test_a_file_is_rotated_before_it_grows_over_its_size(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path, Rotation(size=35, keep=2))
    put(file, numbered(*range(10)))
    file.close()
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {
        "log": numbered(9),
        "log.1": numbered(6, 7, 8),
        "log.2": numbered(3, 4, 5),
    }


def test_a_line_larger_than_the_size_gets_a_file_to_itself(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log", Rotation(size=25, keep=9))
    put(file, numbered(1) + b"x" * 100 + b"\n" + numbered(2))
    file.close()
    assert (tmp_path / "log").read_bytes() == numbered(2)
    assert (tmp_path / "log.1").read_bytes() == b"x" * 100 + b"\n"
    assert (tmp_path / "log.2").read_bytes() == numbered(1)


def test_rotation_goes_on_where_another_start_left_it(tmp_path: Path) -> None:
    for number in range(4):
        file = LogFile(tmp_path / "log", Rotation(size=20, keep=5))
        put(file, numbered(number))
        file.close()
    assert (tmp_path / "log").read_bytes() == numbered(2, 3)
    assert (tmp_path / "log.1").read_bytes() == numbered(0, 1)


def test_a_link_to_a_log_stays_and_what_it_leads_to_is_rotated(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "log").symlink_to(tmp_path / "disk" / "log")
    file = LogFile(tmp_path / "log", Rotation(size=15, keep=5))
    put(file, numbered(1, 2))
    file.close()
    assert (tmp_path / "log").is_symlink()
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["log", "log.1"]


@pytest.mark.parametrize("size", [0, 20_000])
def test_the_lines_of_several_processes_never_mix_and_none_is_lost(tmp_path: Path, size: int) -> None:
    count = 300
    command = [sys.executable, "-c", WRITER, str(tmp_path / "log")]
    writers = [subprocess.Popen([*command, name, str(count), str(size)]) for name in "abcd"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    files = list(tmp_path.iterdir())
    assert (len(files) > 10) is (size > 0)
    found = [json.loads(line) for path in files for line in path.read_bytes().splitlines()]
    assert Counter((record["of"], record["line"], record["part"]) for record in found) == Counter(
        (name, line, part) for name in "abcd" for line in range(count) for part in range(3)
    )
    if size:
        assert max(path.stat().st_size for path in files) <= size


def test_a_file_that_somebody_renamed_or_removed_is_left_at_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path)
    put(file, numbered(1))
    path.rename(tmp_path / "moved")
    put(file, numbered(2))
    path.unlink()
    put(file, numbered(3))
    file.close()
    assert (tmp_path / "moved").read_bytes() == numbered(1)
    assert path.read_bytes() == numbered(3)


def test_a_file_that_somebody_copied_and_truncated_goes_on_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path)
    put(file, numbered(1, 2))
    os.truncate(path, 0)
    put(file, numbered(3))
    file.close()
    assert path.read_bytes() == numbered(3)


@pytest.mark.parametrize("rotation", [None, Rotation(size=1000, keep=1)])
def test_the_piece_of_a_line_that_a_killed_process_left_does_not_spoil_the_next(
    tmp_path: Path, rotation: Rotation | None
) -> None:
    (tmp_path / "log").write_text('whole\n{"time":"2026')
    file = LogFile(tmp_path / "log", rotation)
    put(file, numbered(1))
    file.close()
    assert (tmp_path / "log").read_bytes() == b'whole\n{"time":"2026\n' + numbered(1)


def test_a_writer_waits_while_another_process_writes(tmp_path: Path) -> None:
    path, done = tmp_path / "log", threading.Event()
    file = LogFile(path)

    def write() -> None:
        put(file, numbered(1))
        done.set()

    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=write)
        thread.start()
        assert not done.wait(0.1)
        other.write(numbered(0))
    assert done.wait(PATIENCE)
    thread.join()
    file.close()
    assert path.read_bytes() == numbered(0, 1)


def test_a_file_that_is_to_be_rotated_needs_a_directory_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    LogFile(tmp_path / "log").close()
    with pytest.raises(PermissionError) as caught:
        LogFile(tmp_path / "log", Rotation(size=100, keep=1))
    assert caught.value.filename == str(tmp_path)


def test_a_log_that_can_not_be_rotated_grows_on_and_is_rotated_when_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    file = LogFile(tmp_path / "log", Rotation(size=20, keep=3))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        put(file, numbered(0, 1, 2))
    put(file, numbered(3))
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    put(file, numbered(4))
    file.close()
    assert (tmp_path / "log.1").read_bytes() == numbered(0, 1, 2, 3)
    assert (tmp_path / "log").read_bytes() == numbered(4)
    assert [record.getMessage() for record in caplog.records] == [
        f"the decision log can't be rotated and grows on: {os.strerror(errno.EACCES)}"
    ]


def test_a_pipe_with_a_name_is_a_file_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    file = LogFile(tmp_path / "log", Rotation(size=15, keep=1))
    assert file.path is None
    put(file, numbered(1, 2))
    file.close()
    assert os.read(reader, 100) == numbered(1, 2)
    os.close(reader)


def test_a_stream_that_does_not_block_gets_every_byte_in_order() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    lines = b"".join(b"%05d %s\n" % (number, b"x" * (number % 7000)) for number in range(200))
    found = bytearray()

    def read() -> None:
        while chunk := os.read(reader, 3000):
            found.extend(chunk)

    thread = threading.Thread(target=read)
    thread.start()
    stream, done = Stream(writer), 0
    while done < len(lines):
        try:
            done = stream.append(lines, done, lambda inode, place: None)
        except BlockingIOError:
            continue
    os.close(writer)
    thread.join()
    os.close(reader)
    assert bytes(found) == lines


STREAMER = """
import sys
from server.authz.decision_log.sink import Stream

stream = Stream(1)
for number in range(400):
    line = b"%s %05d %s\\n" % (sys.argv[1].encode(), number, sys.argv[1].encode() * (number * 37 % 9000))
    stream.append(line, 0, lambda inode, place: None)
"""


def test_the_lines_of_several_processes_on_one_stream_never_mix(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    writers = [subprocess.Popen([sys.executable, "-c", STREAMER, name], stdout=writer) for name in "abc"]
    os.close(writer)
    found = b""
    while chunk := os.read(reader, 65536):
        found += chunk
    os.close(reader)
    assert [process.wait() for process in writers] == [0, 0, 0]
    for name in "abc":
        mine = [line.split() for line in found.decode().splitlines() if line.startswith(name)]
        assert [int(line[1]) for line in mine] == list(range(400))
        assert all(set("".join(line[2:])) <= {name} for line in mine)
    assert len(found.splitlines()) == 1200
