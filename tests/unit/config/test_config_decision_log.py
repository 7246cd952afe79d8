"""`server.decision_log` and `server.opa.decision_log`: every spelling, and a sentence for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.config.decision_log import RotatedLog, rotated
from tests.support.config_texts import load, one_error, with_server


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("65536", 65536),
        ("'65536'", 65536),
        ("64KiB", 65536),
        ("100MB", 100_000_000),
        ("100 MB", 100_000_000),
        ("70kB", 70_000),
        ("70KB", 70_000),
        ("2MiB", 2 * 2**20),
        ("3GB", 3_000_000_000),
        ("1GiB", 2**30),
    ],
)
def test_a_size_is_bytes_or_has_a_unit(written: str, size: int) -> None:
    setting = load(with_server(f"decision_log: {{path: var/log, rotate_at: {written}}}")).server.decision_log
    assert setting == RotatedLog(path=Path("var/log"), rotate_at=size, keep=5)


@pytest.mark.parametrize("written", ["1", "0", "-1", "63KiB", "1.5GB", "100mb", "100 M", "1e9", "2000000GiB", "yes"])
def test_a_size_that_is_none_is_refused(written: str) -> None:
    assert one_error(with_server(f"decision_log: {{path: var/log, rotate_at: {written}}}")) == (
        "`rotate_at` takes a number of bytes, or one like `100MB` or `1GiB`, from 64KiB to 1024TiB, or `never`, not "
        f"`{written}`"
    )


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("{rotate_at: 1MB}", "`decision_log` has no `path`; write `path: …` in it"),
        ("{path: x, rotate_at: 1MB, keep: 0}", "`keep` takes a whole number from 1 to 1000, not `0`"),
        ("{path: stdout, rotate_at: 1MB}",
         "`path` takes a file, for standard output isn't rotated; write `decision_log: stdout`"),
        ("{path: x, rotate_at: 1MB, kept: 2}", "`kept` is not a key of `decision_log`; did you mean `keep`?"),
        ("{path: x, rotate_at: [1]}", "`rotate_at` takes a number of bytes, or one like `100MB` or `1GiB`, from 64KiB "
         "to 1024TiB, or `never`, not a list"),
        ("[x]", "`decision_log` takes text, not a list"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(setting: str, sentence: str) -> None:
    assert one_error(with_server(f"decision_log: {setting}")) == sentence


@pytest.mark.parametrize(
    ("written", "size", "kept"),
    [
        ("var/log", 200_000_000, 5),
        ("{path: var/log}", 200_000_000, 5),
        ("{path: var/log, keep: 3}", 200_000_000, 3),
        ("{path: var/log, rotate_at: never}", None, 5),
    ],
)
def test_a_file_is_rotated_unless_the_configuration_says_never(written: str, size: int | None, kept: int) -> None:
    setting = load(with_server(f"decision_log: {written}")).server.decision_log
    assert setting != "stdout"
    assert rotated(setting) == RotatedLog(path=Path("var/log"), rotate_at=size, keep=kept)


def test_the_own_opa_logs_only_when_it_is_told_to() -> None:
    assert load(with_server("opa: {decision_log: true}")).server.opa.decision_log is True
    assert load("version: 2\n").server.opa.decision_log is False


def test_the_log_of_an_opa_elsewhere_is_switched_on_elsewhere() -> None:
    elsewhere = "opa: {url: 'http://127.0.0.1:1', token: 'a-token-of-thirty-two-characters!', decision_log: true}"
    assert one_error(with_server(elsewhere)) == (
        "`decision_log` is for the opa that the server starts itself; switch its log on where it is started"
    )
