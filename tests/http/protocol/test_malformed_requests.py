"""The edge guard over raw sockets: what is malformed reaches nobody, and policy and router see one path."""

from __future__ import annotations

import pytest

from policy.vocabulary import Route
from tests.support.serving import Address, parsed
from tests.support.unsafe_policy import UnsafePermitAll

pytestmark = pytest.mark.usefixtures("nothing_asked")

ROUTES = [
    "/v1/health",
    "/v1/health/ready",
    "/v1/version",
    "/v1/models",
    "/v1/models/llama",
    "/v1/providers",
    "/v1/providers/echo",
    "/v1/chat/completions",
    "/v1/nothing",
]


def refused(address: Address, enforcement: UnsafePermitAll, request: bytes | str) -> str:
    """Send something malformed; what it is called."""
    raw = request if isinstance(request, bytes) else f"GET {request} HTTP/1.1\r\nHost: here\r\n\r\n".encode("latin-1")
    answer = parsed(address.exchange(raw))
    assert (answer.status, answer.error["code"]) == (400, "malformed_request")
    assert answer.headers["x-request-id"].startswith("req_")
    assert enforcement.asked == []
    message: str = answer.error["message"]
    return message


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("escape", ["%0a", "%0d%0a", "%00", "%09", "%7f", "%1b", "%c2%85", "%e2%80%a8", "%5c"])
def test_no_control_character_or_backslash_gets_in_anywhere(
    address: Address, enforcement: UnsafePermitAll, route: str, escape: str
) -> None:
    middle = route[: len(route) // 2] + escape + route[len(route) // 2 :]
    for target in (route + escape, middle, escape + route):
        message = refused(address, enforcement, "/" + target.lstrip("/"))
        assert "control character or a backslash" in message


@pytest.mark.parametrize(
    "target",
    [
        "/v1/models/../admin/x",
        "/v1/models/%2e%2e/admin/x",
        "/v1/models/%2E%2e/admin/x",
        "/v1/models/..%2fadmin%2fx",
        "/v1/models/..%2Fadmin",
        "/v1/./models",
        "/v1/%2e/models",
        "/./v1/models",
        "/v1/models/.",
        "/v1/models/..",
        "/v1/models/../",
        "/..",
        "/.",
        "//v1/models",
        "/v1//models",
        "/v1/models//x",
        "/v1/models/a%2f%2fb",
        "///",
    ],
)
def test_no_empty_or_dot_segment_gets_in(address: Address, enforcement: UnsafePermitAll, target: str) -> None:
    if target == "///":  # nothing but trailing slashes is the root
        assert address.get(target).status == 404
        return
    assert "empty or dot segment" in refused(address, enforcement, target)


@pytest.mark.parametrize(
    "target", ["/v1/%252e%252e/x", "/v1/models/%252f", "/v1/models/a%2500", "/v1/%2541", "/v1/models/%25%32%66"]
)
def test_nothing_is_decoded_twice(address: Address, enforcement: UnsafePermitAll, target: str) -> None:
    assert "escaped twice" in refused(address, enforcement, target)


@pytest.mark.parametrize("target", ["/v1/models/%ff%fe", "/v1/models/%c0%af", "/v1/models/%ed%a0%80", "/v1/%e2%28"])
def test_only_utf8_gets_in(address: Address, enforcement: UnsafePermitAll, target: str) -> None:
    assert "UTF-8" in refused(address, enforcement, target)


@pytest.mark.parametrize("target", ["/v1/models%", "/v1/models/%2", "/v1/models/%zz", "/v1/%u0041"])
def test_a_percent_sign_starts_an_escape_or_is_refused(
    address: Address, enforcement: UnsafePermitAll, target: str
) -> None:
    assert "starts no escape" in refused(address, enforcement, target)


@pytest.mark.parametrize(
    "target",
    ["/v1/providers/a%2fb", "/v1%2fmodels", "/v1%2Fmodels/x", "/v1/models%2fx", "/v1/chat%2fx", "/%2fv1/models"],
)
def test_an_escaped_slash_is_part_of_a_model_id_or_refused(
    address: Address, enforcement: UnsafePermitAll, target: str
) -> None:
    assert "slash" in refused(address, enforcement, target) or "segment" in refused(address, enforcement, target)


@pytest.mark.parametrize(
    "target",
    ["/v1/models/echo/llama3.2", "/v1/models/echo%2Fllama3.2", "/v1/models/echo%2fllama3%2e2", "/v1/%6dodels/llama/"],
)
def test_a_model_is_reached_by_every_spelling_of_its_path(
    address: Address, enforcement: UnsafePermitAll, target: str
) -> None:
    assert address.get(target).json["id"] == "echo/llama3.2"
    route, resource = enforcement.asked[0]
    name = "llama" if target.endswith("llama/") else "echo/llama3.2"
    assert route == Route("GET", f"/v1/models/{name}")
    assert resource is not None
    assert resource.names[0] == "echo/llama3.2"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/models", "/v1/models"),
        ("/v1/models/", "/v1/models"),
        ("/v1/models///", "/v1/models"),
        ("/v1/models?a=%0a/../", "/v1/models"),
        ("/v1/models/?x", "/v1/models"),
        ("/v1/%6dodels", "/v1/models"),
        ("/v1/mod%65ls%2f", None),
        ("/V1/models", "/V1/models"),
        ("/v1/models;x", "/v1/models;x"),
        ("/v1/models/h%C3%A9", "/v1/models/hé"),
        ("/", "/"),
        ("/v1/files_admin", "/v1/files_admin"),
    ],
)
def test_the_path_that_is_judged_is_the_path_that_is_routed(
    address: Address, enforcement: UnsafePermitAll, target: str, path: str | None
) -> None:
    answer = address.get(target)
    if path is None:
        assert answer.status == 400
        return
    assert [route for route, _ in enforcement.asked if route is not None] == [Route("GET", path)]
    assert (answer.status == 200) == (path == "/v1/models")


@pytest.mark.parametrize(
    "target",
    ["http://evil/v1/models", "HTTP://evil/v1/models", "//evil/v1/models", "/v1/models#x", "*", "v1/models", "evil:80"],
)
def test_a_target_is_a_path_and_a_query_or_refused(address: Address, enforcement: UnsafePermitAll, target: str) -> None:
    refused(address, enforcement, target)


@pytest.mark.parametrize(
    "lines",
    [
        ["Host: a", "Host: b"],
        ["Host: a", "Host: a"],
        [],
        ["Host: a", "Authorization: Bearer a", "Authorization: Bearer b"],
        ["Host: a", "authorization: Bearer a", "AUTHORIZATION: Bearer a"],
        ["Host: a", "Content-Length: 0", "Content-Length: 0"],
        ["Host: a", "Content-Length: 0", "Content-Length: 5"],
        ["Host: a", "Content-Length: 0, 0"],
        ["Host: a", "Content-Length: -1"],
        ["Host: a", "Content-Length: +5"],
        ["Host: a", "Content-Length: 5x"],
        ["Host: a", "Content-Length: 99999999999999999999999999"],
        ["Host: a", "Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Host: a", "Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Host: a", "Transfer-Encoding: gzip, chunked"],
        ["Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Host: a", "Transfer-Encoding: xchunked"],
        ["Host: a", "X-Folded: a", " b"],
        ["Host: a", "X Space: a"],
        ["Host: a", "X-Colon : a"],
        ["Host: a", "X-Nul: a\0b"],
        ["Host: a", "X-Cr: a\rb"],
    ],
)
def test_headers_with_two_readings_are_refused(
    address: Address, enforcement: UnsafePermitAll, lines: list[str]
) -> None:
    head = "\r\n".join(["POST /v1/chat/completions HTTP/1.1", *lines, "", ""])
    refused(address, enforcement, head.encode("latin-1"))


def test_a_path_of_two_kilobytes_is_read_and_a_longer_one_is_not(
    address: Address, enforcement: UnsafePermitAll
) -> None:
    assert address.get("/v1/models/" + "a" * (2048 - 11)).status == 404
    enforcement.asked.clear()
    assert "longer than 2048" in refused(address, enforcement, "/v1/models/" + "a" * (2048 - 10))


@pytest.mark.parametrize("where", ["one", "many", "query"])
def test_headers_of_32_kilobytes_are_read_and_more_are_not(
    address: Address, enforcement: UnsafePermitAll, where: str
) -> None:
    def sized(size: int) -> bytes:
        if where == "query":
            return f"GET /v1/models?{'a' * (size - 100)} HTTP/1.1\r\nHost: here\r\n\r\n".encode()
        count = 1 if where == "one" else 100
        lines = "".join(f"X-{index}: {'a' * (size // count - 10)}\r\n" for index in range(count))
        return f"GET /v1/models HTTP/1.1\r\nHost: here\r\n{lines}\r\n".encode()

    assert parsed(address.exchange(sized(32_000))).status == 200
    enforcement.asked.clear()
    assert "larger than" in refused(address, enforcement, sized(33_500))


def test_a_query_of_a_thousand_parameters_is_read_and_a_longer_one_is_not(
    address: Address, enforcement: UnsafePermitAll
) -> None:
    assert address.get("/v1/models?" + "&" * 999).status == 200
    enforcement.asked.clear()
    assert "more than 1000 parameters" in refused(address, enforcement, "/v1/models?" + "&" * 1000)


@pytest.mark.parametrize("method", ["DELETE", "TRACE", "PUT", "PATCH", "OPTIONS", "PROPFIND"])
def test_a_known_method_is_judged_and_then_refused_with_those_that_work(
    address: Address, enforcement: UnsafePermitAll, method: str
) -> None:
    answer = address.get("/v1/models", method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.error["type"] == "invalid_request_error"
    assert enforcement.asked == [(Route(method, "/v1/models"), None)]


def test_head_is_answered_like_get_without_a_body(address: Address, enforcement: UnsafePermitAll) -> None:
    answer = address.get("/v1/models", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert enforcement.asked[0] == (Route("HEAD", "/v1/models"), None)


@pytest.mark.parametrize(
    "header",
    [
        "X-HTTP-Method-Override: POST",
        "X-HTTP-Method: DELETE",
        "X-Method-Override: DELETE",
        "X-Original-URL: /v1/admin",
        "X-Rewrite-URL: /v1/admin",
        "X-Forwarded-Prefix: /v1/admin",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Proto: https",
        "X-Forwarded-For: 1.2.3.4",
        "Forwarded: for=1.2.3.4;host=evil",
    ],
)
def test_no_header_changes_what_is_asked(address: Address, enforcement: UnsafePermitAll, header: str) -> None:
    assert address.get("/v1/version", header).json == {"version": "1.2.3"}
    assert enforcement.asked == [(Route("GET", "/v1/version"), None)]


@pytest.mark.parametrize("method", ["DELETE", "GET"])
def test_neither_a_query_nor_a_form_changes_the_method(
    address: Address, enforcement: UnsafePermitAll, method: str
) -> None:
    assert address.get(f"/v1/version?_method={method}&method={method}").status == 200
    form = f"_method={method}".encode()
    answer = address.post("/v1/version", form, kind="application/x-www-form-urlencoded")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert enforcement.asked == [(Route("GET", "/v1/version"), None), (Route("POST", "/v1/version"), None)]
