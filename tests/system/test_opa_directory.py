"""The directory of OPA's socket: private, held by one server, and short enough."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from policy.vocabulary import Action, Principal, Resource
from server.authz.opa.runtime_directory import MAX_SOCKET_PATH, RuntimeDirectory, UnsafeDirectory
from server.authz.request_context import RequestContext
from tests.support.opa_server import world, write_bundle


def test_a_path_too_long_for_a_socket_is_replaced_by_a_short_private_one(
    opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 80)))
    (tmp_path / ("x" * 80)).mkdir()

    bundle = write_bundle(tmp_path / "bundle.tar.gz")

    async def main() -> None:
        async with world(opa_binary, tmp_path, bundle, runtime=tmp_path / ("y" * 100)) as here:
            assert len(os.fsencode(here.directory.socket)) <= MAX_SOCKET_PATH
            assert stat.S_IMODE(here.directory.path.stat().st_mode) == 0o700
            await here.pep.permit(
                RequestContext("req_1", Principal("alice")), Action.READ, Resource("model", ("llama",))
            )
        assert not here.directory.path.exists()

    asyncio.run(main())


def test_a_directory_that_others_may_write_is_refused(tmp_path: Path) -> None:
    for mode in (0o770, 0o707, 0o1777):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run").chmod(mode)
        with pytest.raises(UnsafeDirectory, match="can be written by others"):
            RuntimeDirectory.claim(tmp_path / "run")


def test_a_directory_behind_a_link_or_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UnsafeDirectory, match="not a directory"):
        RuntimeDirectory.claim(tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(UnsafeDirectory):
        RuntimeDirectory.claim(tmp_path / "file")
    if os.geteuid() != 0:
        with pytest.raises(UnsafeDirectory, match="belongs to another user"):
            RuntimeDirectory.claim(Path("/usr"))
    else:
        os.chown(tmp_path / "real", 65534, 65534)
        with pytest.raises(UnsafeDirectory, match="belongs to another user"):
            RuntimeDirectory.claim(tmp_path / "real")


def test_a_stale_socket_is_removed_and_nothing_else_with_its_name(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(run / "opa.sock"))
    claimed = RuntimeDirectory.claim(run)
    assert not claimed.socket.exists()
    claimed.close()
    (run / "opa.sock").write_text("precious")
    with pytest.raises(UnsafeDirectory, match="not a socket"):
        RuntimeDirectory.claim(run)
    assert (run / "opa.sock").read_text() == "precious"
    (run / "opa.sock").unlink()
    RuntimeDirectory.claim(run).close()
