"""`ostiary usage` and `ostiary quota`: what the operator sees, and one clear error for what can't be shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from policy.vocabulary import Anonymous, Principal
from server.cli.main import app
from server.config.home import HOME_VARIABLE
from server.inference.answers.metered import Ending
from server.inference.provider import Tokens
from server.quota.quota import Limit
from server.storage.usage.days import day_text, today
from server.storage.usage.recorder import UsageRecorder
from server.storage.usage.table import UsageTable
from server.storage.usage.tally import UsageTally, UsedModel
from server.wiring.quotas import build_quota
from tests.support.databases import backend, class_of, empty_database
from tests.support.real_policy import read

ISSUER = "https://idp.example"
CONFIG = """
version: 2
storage:
  backends:
    kept: BACKEND
  stores:
    usage: {backend: kept, namespace: usage}
server:
  quota:
    kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
    anonymous_max_requests: 5
    authenticated_max_requests: 3
    max_tokens_per_period: 100
  auth:
    provider_config: {type: oauth2_token, issuer: "ISSUER", audience: a, jwks: {uri: "https://idp.example/keys"}}
"""
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in a home of its own."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "kept.db")
    else:
        with empty_database(request.getfixturevalue("postgres_url")) as url:
            yield url


def config_of(database: str, folder: Path, issuer: str = ISSUER) -> Path:
    text = CONFIG.replace("BACKEND", backend(database, "kv")).replace("FOLDER", str(folder)).replace("ISSUER", issuer)
    path = folder / "config.yaml"
    path.write_text(text)
    return path


async def use(database: str) -> None:
    """Write the usage of a few requests, one of them long ago."""
    address: Any = database if database.startswith("postgresql:") else Path(database)
    made = class_of(database)(address)
    now = [0.0]
    tally, table = UsageTally(lambda: now[0]), UsageTable(made, "kv_usage")
    await made.start()
    try:
        await table.prepare()
        for day, principal, tokens in ((today(), "alice", 5), (today(), "alice", 6), (today() - 200, "bob", 70)):
            now[0] = day * 86_400.0
            caller = Principal(principal, ISSUER, {"teams": ("ml",)})
            model = UsedModel("p/m", "p", is_configured=True)
            tally.count(caller, model, Ending.ANSWERED, tokens, Tokens(tokens, tokens - 1, 1))
        tally.count(Anonymous(), model, Ending.FAILED, 0, None)
        await UsageRecorder(tally, table, "teams", 400).flush()
    finally:
        await made.close()


def test_usage_is_shown_as_a_table_and_as_json(run: Run, database: str, tmp_path: Path) -> None:
    config = config_of(database, tmp_path)
    asyncio.run(use(database))
    shown = run("usage", config)
    assert shown.exit_code == 0, shown.output
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["PRINCIPAL", "REQUESTS", "FAILED", "CANCELLED", "PROMPT", "COMPLETION", "CACHED", "TOTAL"],
        [f"{ISSUER}::alice", *["2", "0", "0", "9", "2", "0", "11"]],
    ]
    whole = run("usage", config, "--by", "team", "--since", "1970-01-01")
    assert [line.split() for line in whole.stdout.splitlines()[1:]] == [
        ["ml", *["3", "0", "0", "78", "3", "0", "81"]],
        ["-", *["1", "1", "0", "0", "0", "0", "0"]],
    ]
    found = json.loads(run("usage", config, "--json", "--since", day_text(today())).stdout)
    assert (found["since"], found["by"]) == (day_text(today()), "principal")
    assert [(each["principal"], each["issuer"], each["total_tokens"]) for each in found["data"]] == [
        ("alice", ISSUER, 11)
    ]
    days = json.loads(run("usage", config, "--json", "--by", "day", "--since", "1970-01-01").stdout)["data"]
    assert [(each["day"], each["requests"]) for each in days] == [
        (day_text(today() - 200), 2),
        (day_text(today()), 2),
    ]


@pytest.mark.parametrize(
    "since", ["junk", "", "2026-02-30", "1969-12-31", "20260101", "2026-1-1", "30d", "\u0662026-01-01"]
)
def test_junk_for_since_is_one_clear_error(run: Run, since: str) -> None:
    failed = run("usage", "--since", since)
    assert failed.exit_code == 2
    assert failed.stdout == ""
    assert failed.stderr.startswith(f"error: `--since {since}` is ")
    assert failed.stderr.count("\n") == 1


def test_what_is_not_there_is_told_in_one_sentence(run: Run, tmp_path: Path) -> None:
    failed = run("usage")
    assert (failed.exit_code, failed.stderr.count("\n")) == (2, 1)
    assert failed.stderr.startswith("error: no server has kept anything in `")
    assert not (tmp_path / "home").exists()
    broken = tmp_path / "broken.yaml"
    broken.write_text("server: {usage: {team: 1}}")
    failed = run("usage", broken)
    assert failed.exit_code == 2
    assert "broken.yaml:1:24: error: `team` takes text" in failed.stderr
    other = tmp_path / "other.db"
    other.write_text("no database, but long enough to look at" * 100)
    failed = run("usage", config_of(str(other), tmp_path))
    assert (failed.exit_code, failed.stderr.count("\n")) == (2, 1)
    assert failed.stderr.startswith(f"error: the records in `{other}` can't be used: ")


def test_a_quota_is_shown_and_given_again(run: Run, tmp_path: Path) -> None:
    config = config_of(str(tmp_path / "kept.db"), tmp_path)

    async def use_up() -> None:
        quota = build_quota(read(config.read_text()))
        assert quota is not None
        async with quota.open():
            for caller, address in ((Principal("alice", ISSUER), ""), (Anonymous(), "192.0.2.1")):
                limit = Limit(9, 100)
                standing = await quota.take(caller, address, limit)
                assert standing is not None
                await quota.reserve(standing, 40)

    asyncio.run(use_up())
    for name in (("--principal", "alice"), ("--principal", "alice", "--issuer", ISSUER)):
        shown = run("quota", "show", config, *name)
        assert shown.exit_code == 0, shown.output
        assert shown.stdout.startswith("requests  1 of 3\ntokens    40 of 100\nthe period ends in ")
    found = json.loads(run("quota", "show", config, "--address", "192.0.2.1", "--json").stdout)
    assert (found["requests"], found["tokens"]) == ({"used": 1, "limit": 5}, {"used": 40, "limit": 100})
    assert run("quota", "reset", config, "--principal", "alice").exit_code == 0
    assert run("quota", "show", config, "--principal", "alice").stdout.startswith(
        "requests  0 of 3\ntokens    0 of 100\n"
    )
    assert json.loads(run("quota", "show", config, "--address", "192.0.2.1", "--json").stdout)["requests"]["used"] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "name one caller: `--principal ID`, or `--address IP`"),
        (("--principal", "a", "--address", "192.0.2.1"), "name one caller: "),
        (
            ("--principal", "a", "--issuer", "https://other.example"),
            "name the caller's issuer with `--issuer`, one of `",
        ),
        (("--address", "nowhere"), "`--address nowhere` is no address like"),
    ],
)
@pytest.mark.parametrize("command", ["show", "reset"])
def test_a_caller_that_is_none_is_refused(
    run: Run, command: str, arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    failed = run("quota", command, config_of(str(tmp_path / "kept.db"), tmp_path), *arguments)
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert failed.stderr.startswith(f"error: {sentence}")
    assert failed.stderr.count("\n") == 1


def test_without_a_quota_nothing_is_counted(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("version: 2")
    failed = run("quota", "show", config, "--principal", "a")
    assert failed.stderr == f"error: `{config}` has no `server.quota`, so nothing is counted\n"
