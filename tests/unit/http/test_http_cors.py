"""What pages of other origins are told, by value."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from server.http.cors import Cors, CorsPolicy

APP, OTHER = "https://app.example", "https://other.example"
VARY = {"Vary": "Origin"}


def cors(*origins: str, pattern: str | None = None, credentials: bool = False) -> Cors:
    return Cors(CorsPolicy(origins, pattern, ("GET", "POST"), ("x-own",), credentials, ("x-request-id",), 5))


def told(asked: Cors, *origins: str) -> dict[str, str]:
    return asked.headers(origins)


def shown(origin: str, **more: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "x-request-id", **named}


def test_a_page_that_may_call_is_told_so_and_what_it_may_read() -> None:
    assert told(cors(APP), APP) == VARY | shown(APP)
    assert told(cors(pattern=r"https://[a-z]+\.example"), OTHER) == VARY | shown(OTHER)
    assert told(cors("*"), APP) == shown("*")


@pytest.mark.parametrize("origins", [(), (OTHER,), (APP, OTHER), (OTHER, APP), (APP, APP), ("null",), (APP + "/",)])
def test_no_other_request_is_told_anything(origins: tuple[str, ...]) -> None:
    assert told(cors(APP), *origins) == VARY


def test_credentials_are_for_origins_that_are_named() -> None:
    allowed = {"Access_Control_Allow_Credentials": "true"}
    assert told(cors(APP, credentials=True), APP) == VARY | shown(APP, **allowed)
    assert told(cors("*", credentials=True), APP) == shown("*")
    assert told(cors(APP, "*", credentials=True), APP) == shown("*")


def preflight(asked: Cors, *lines: tuple[str, str], origin: str = APP, method: str = "POST") -> tuple[int, bytes]:
    headers = [("origin", origin), ("access-control-request-method", method), *lines]
    response = asked.preflight(Headers(raw=[(name.encode(), value.encode()) for name, value in headers]))
    return response.status_code, bytes(response.body)


@pytest.mark.parametrize(
    ("lines", "origin", "method", "refused"),
    [
        ((), APP, "POST", ""),
        ((("access-control-request-headers", "X-Own, content-type,accept"),), APP, "GET", ""),
        ((("access-control-request-headers", "x-stainless-os, OpenAI-Beta"),), APP, "GET", ""),
        ((), OTHER, "POST", "origin"),
        ((("origin", APP),), APP, "POST", "origin"),
        ((), APP, "DELETE", "method"),
        ((), APP, "post", "method"),
        ((("access-control-request-headers", "x-own, x-other"),), APP, "POST", "headers"),
        ((("access-control-request-private-network", "true"),), APP, "POST", "private-network"),
        ((("access-control-request-private-network", "true"),), OTHER, "PUT", "origin, method, private-network"),
    ],
)
def test_a_preflight_is_allowed_or_told_what_is_not(
    lines: tuple[tuple[str, str], ...], origin: str, method: str, refused: str
) -> None:
    status, body = preflight(cors(APP), *lines, origin=origin, method=method)
    if refused:
        assert status == 400
        assert f'this server allows no such cross-origin request: {refused}"'.encode() in body
    else:
        assert (status, body) == (200, b"OK")
