"""Where a credential may stand in a request."""

from __future__ import annotations

import pytest

from server.authn import AuthenticationFailed
from server.authn.bearer import api_key, bearer_token


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER", b"bEaReR"])
@pytest.mark.parametrize("name", [b"authorization", b"Authorization"])
def test_a_bearer_token_is_found_whatever_the_case_of_name_and_scheme(name: bytes, scheme: bytes) -> None:
    assert bearer_token([(b"host", b"x"), (name, scheme + b" aA0-._~+/==")]) == "aA0-._~+/=="


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"cookie", b"authorization=Bearer x; access_token=x")],
        [(b"x-authorization", b"Bearer x"), (b"proxy-authorization", b"Bearer x"), (b"x-api-key", b"x")],
    ],
)
def test_a_request_without_the_header_is_anonymous(headers: list[tuple[bytes, bytes]]) -> None:
    assert bearer_token(headers) is None


@pytest.mark.parametrize(
    "value",
    [
        b"", b"Bearer", b"Bearer ", b"Bearer  x", b" Bearer x", b"Bearer x ", b"Bearer\tx", b"Bearer x y",
        b"Bearer x,y", b"Bearer x, Bearer y", b"Bearer =", b"Bearer x=y", b"Bearer x\n", b"Bearer \xff",
        b"Bearer x\x00", b"Bearerx", b"Basic dXNlcjpwYXNz", b"Token x", b"x", b'Bearer token="x"',
    ],
)  # fmt: skip
def test_any_other_form_of_the_header_is_refused_and_not_quoted(value: bytes) -> None:
    with pytest.raises(AuthenticationFailed, match="one space and one token") as refusal:
        bearer_token([(b"authorization", value)])
    assert "dXNl" not in str(refusal.value)


@pytest.mark.parametrize("second", [b"Bearer x", b"Bearer y", b"", b"Basic x"])
def test_two_headers_are_refused_even_if_they_agree(second: bytes) -> None:
    with pytest.raises(AuthenticationFailed, match="more than one"):
        bearer_token([(b"authorization", b"Bearer x"), (b"Authorization", second)])


def test_a_key_is_a_token_without_a_scheme() -> None:
    assert api_key([(b"host", b"here"), (b"x-api-key", b"a.b-c_d~e+f/g==")]) == "a.b-c_d~e+f/g=="
    assert api_key([(b"authorization", b"Bearer x"), (b"api-key", b"x")]) is None


@pytest.mark.parametrize("keys", [[b""], [b"Bearer x"], [b"x y"], [b"x\n"], [b"\xff"], [b"x", b"x"], [b"x", b""]])
def test_what_is_not_exactly_one_key_is_refused_and_not_quoted(keys: list[bytes]) -> None:
    with pytest.raises(AuthenticationFailed, match="is not exactly one token"):
        api_key([(b"x-api-key", key) for key in keys])
