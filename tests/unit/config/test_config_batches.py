"""The provider of batches: its settings, its type, and what is there without one."""

from __future__ import annotations

import pytest

from server.config.batches import BatchesSettings, batch_settings
from tests.support.config_texts import errors, load

ONE = "providers:\n  batches:\n  - provider_id: reference\n    provider_type: inline::reference\n"


def test_without_a_provider_the_server_chooses() -> None:
    assert batch_settings(load("{}").providers) == BatchesSettings(
        max_concurrent_batches=None, max_concurrent_requests_per_batch=None
    )
    assert batch_settings(load(ONE).providers) == BatchesSettings()


def test_a_provider_says_how_much_is_done_at_a_time() -> None:
    text = f"{ONE}    config:\n      max_concurrent_batches: 3\n"
    text += "      max_concurrent_requests_per_batch: ${env.LINES:=7}\n"
    found = batch_settings(load(text).providers)
    assert (found.max_concurrent_batches, found.max_concurrent_requests_per_batch) == (3, 7)
    assert batch_settings(load(text, LINES="9").providers).max_concurrent_requests_per_batch == 9


@pytest.mark.parametrize("number", ["0", "1001", "-1", "1.5", "many"])
def test_numbers_outside_the_range_are_refused(number: str) -> None:
    for key in ("max_concurrent_batches", "max_concurrent_requests_per_batch"):
        [error] = errors(f"{ONE}    config: {{{key}: {number}}}\n")
        assert error.startswith("5:") and f"`{key}`" in error


def test_another_type_a_second_one_and_other_settings_are_refused() -> None:
    [error] = errors(ONE.replace("inline::", "remote::"))
    assert error.startswith("4:20: `provider_type` can't be `remote::reference`; ")
    second = "  - {provider_id: other, provider_type: inline::reference}\n"
    assert errors(ONE + second) == ["2:3: `batches` takes one provider, since the server itself runs all batches"]
    [error] = errors(f"{ONE}    config: {{kvstore: {{}}}}\n")
    assert error.startswith("5:14: `kvstore` is not a key of `config`")
