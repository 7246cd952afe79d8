"""Fixtures that every altitude shares."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import running_postgres

ROOT = Path(__file__).parent.parent

DAY = 24 * 3600
LAST_OF_A_DAY = 20
"""Seconds in which a test is over, on a busy machine too."""

_ROOM_FOR_SOCKETS = 20
"""Bytes of the directory for temporary files; the path of a Unix socket has 100 in all, and tests' folders take 70."""

if len(os.fsencode(tempfile.gettempdir())) > _ROOM_FOR_SOCKETS:
    # Before pytest makes its folders, and for the processes that tests start, too.
    os.environ["TMPDIR"] = tempfile.tempdir = "/tmp"  # noqa: S108 - pytest makes folders of its own in it, with mode 0700


# No test of a law fails because one of its cases was slow; the rest is as Hypothesis has it here or in CI.
settings.register_profile(
    "patient",
    settings(),
    deadline=None,
    suppress_health_check=[*settings().suppress_health_check, HealthCheck.too_slow],
)
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Give each process of pytest-xdist folders like those of a run in one process.

    By itself it makes them one folder deeper, and some paths of sockets and texts of errors have no room for its name.
    """
    if hasattr(config, "workerinput"):
        config.option.basetemp = None


def pytest_collection_finish() -> None:
    """Leave what there is before the first test out of collections."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup() -> None:
    """Begin no test shortly before midnight in UTC, when periods of quotas and days of usage end."""
    left = DAY - time.time() % DAY
    if left < LAST_OF_A_DAY:
        time.sleep(left)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, bool, bool]:
    """Collect what a module leaves when its last test is over, and fail this test for what the module did not close.

    So the collector finds a socket in no test of another module. What lives on is left out of later collections, which
    take most of a second in a process of so many tests. A server in the process of the tests answers nothing during
    one, and tests measure how long it takes to answer.
    """
    done = yield
    if nextitem is None or nextitem.path != item.path:
        left = _collected()
        if left:
            text = "\n".join([f"{item.path.name} or what it uses leaves these to the collector:", *left])
            item.ihook.pytest_runtest_logreport(
                report=pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "teardown")
            )
    return done


def _collected() -> list[str]:
    """Collect, and return the warnings that this raises, which pytest's filter makes exceptions."""
    left: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda said: left.append(f"{said.object!r}: {said.exc_value!r}"))
        gc.collect()
    gc.freeze()
    return left


@pytest.fixture(scope="session")
def opa_binary() -> Path:
    """The real OPA, as `make opa` obtains it."""
    configured = os.environ.get("OSTIARY_OPA")
    if configured:
        return Path(configured)
    lines = subprocess.run(["make", "-s", "opa"], cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S607 - make on PATH is the project's own entry
    return Path(lines.splitlines()[-1])


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL, as asyncpg takes its address: that of DATABASE_URL if set, else one of the tests' own.

    The whole session shares one database, so a test works in a schema or with names of its own.
    """
    configured = os.environ.get("DATABASE_URL")
    if configured:
        yield configured
        return
    with running_postgres() as postgres:
        yield postgres.url


@pytest.fixture(autouse=True, scope="session")
def home_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the directory of the person who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTIARY_HOME", str(tmp_path_factory.mktemp("home")))
        yield
