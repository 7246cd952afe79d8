"""`server.opa` and `server.workers`: where decisions are made, and by how many processes they are asked for."""

from __future__ import annotations

import pytest

from tests.support.config_texts import errors, load, with_server

TOKEN = "a-token-of-more-than-thirty-two-characters"


def test_without_the_key_the_server_starts_its_own_opa_and_is_one_process() -> None:
    server = load(with_server("port: 1")).server
    assert (server.opa.location, server.opa.token, server.workers) == (None, None, 1)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("http://opa:8181", ("opa", 8181)),
        ("http://127.0.0.1:1/", ("127.0.0.1", 1)),
        ("http://[::1]:8181", ("::1", 8181)),
    ],
)
def test_an_opa_elsewhere_has_a_host_a_port_and_a_token(url: str, location: tuple[str, int]) -> None:
    opa = load(with_server('opa: {url: "' + url + '", token: "${env.OPA_TOKEN}"}'), OPA_TOKEN=TOKEN).server.opa
    assert opa.location == location
    assert opa.token is not None and opa.token.get_secret_value() == TOKEN
    assert TOKEN not in repr(opa)


@pytest.mark.parametrize(
    "url", ["http://opa", "http://opa:8181/v1", "http://opa:0", "http://user@opa:8181", "opa:8181", "http://öpa:8181"]
)
def test_a_url_that_says_more_or_less_than_host_and_port_is_refused(url: str) -> None:
    assert len(errors(with_server(f'opa: {{url: "{url}", token: {TOKEN}}}'))) == 1


@pytest.mark.parametrize("token", [TOKEN[:31], f"{TOKEN} {TOKEN}", f"ö{TOKEN}"])
def test_a_token_that_opens_no_lock_is_refused_without_being_shown(token: str) -> None:
    (sentence,) = errors(with_server(f'opa: {{url: "http://opa:8181", token: "{token}"}}'))
    assert "32 or more printable ascii characters" in sentence
    assert token not in sentence
