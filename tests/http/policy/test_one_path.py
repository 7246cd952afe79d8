"""The path that the policy judged is the path that the router matched, whatever the client wrote."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from server.http.edge import normalized
from server.http.errors import ApiError
from tests.support.application import house
from tests.support.patience import PATIENCE
from tests.support.real_policy import Decided, decided
from tests.support.serving import Address, is_whole, serving
from tests.support.unsafe_policy import UnsafePermitAll

CONFIG = """
    version: 2
    providers:
      inference:
      - {provider_id: echo, provider_type: "inline::echo", config: {}}
    models:
    - {model_id: llama, provider_id: echo, provider_model_id: llama3.2}
    server:
      auth:
        route_policy:
        - permit: {paths: "*"}
"""

WORDS = [
    "v1",
    "V1",
    "models",
    "%6dodels",
    "llama",
    "echo",
    "health",
    "version",
    "providers",
    "chat",
    "completions",
    "files",
]
ODD = ["/", "//", "..", ".", "%2e%2E", "%2f", "%252e", ";x=y", "?", "#", "%", "%zz", "%c0%af", "%e2%80%a8", "%ed%a0%80"]
PIECES = st.one_of(
    st.sampled_from(WORDS).map("/{}".format),
    st.sampled_from(WORDS + ODD),
    st.integers(0, 255).map("%{:02x}".format),
    st.characters(max_codepoint=255, exclude_characters="\r\n"),
)
TARGETS = st.one_of(
    st.lists(PIECES, max_size=8).map("".join),
    st.lists(PIECES, max_size=6).map(lambda pieces: "/v1/" + "".join(pieces)),
    st.text(st.characters(max_codepoint=255, exclude_characters=" \r\n"), max_size=20).map(lambda text: "/" + text),
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "TRACE"])


@dataclass
class Routed:
    """What the router of an application has matched."""

    paths: list[tuple[str, str]] = field(default_factory=list)

    def watch(self, app: Starlette) -> Starlette:
        """Have every route of `app`, and the place where requests without one end, keep what they get."""
        for route in app.router.routes:
            assert isinstance(route, Route)
            self._watch(route)
        default = app.router.default

        async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
            self.paths.append((scope["method"], scope["path"]))
            await default(scope, receive, send)

        app.router.default = nothing
        return app

    def _watch(self, route: Route) -> None:
        handle = route.handle

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            self.paths.append((scope["method"], scope["path"]))
            assert route.path_regex.fullmatch(scope["path"])
            await handle(scope, receive, send)

        route.handle = watched  # type: ignore[method-assign]  # the one place that all requests of a route pass


@pytest.fixture(scope="module")
def routed() -> Routed:
    return Routed()


@pytest.fixture(scope="module")
def address(enforcement: UnsafePermitAll, routed: Routed) -> Iterator[Address]:
    with serving(routed.watch(house(enforcement=enforcement))) as running:
        yield running


def sent(address: Address, method: str, target: str) -> bytes:
    """The answer to exactly this request line."""
    head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode("latin-1", "replace")
    with (
        suppress(ConnectionError),
        socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection,
    ):
        connection.sendall(head)
        return b"".join(iter(lambda: connection.recv(65536), b""))
    return b""


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(METHODS, TARGETS)
@example("GET", "/v1/models/..%2f..%2fadmin")
@example("GET", "/v1/models/llama/")
@example("GET", "/v1/mod%65ls/echo%2Fllama3.2")
@example("GET", "/v1/models?/../admin")
@example("GET", "/v1/models%3fx")
@example("GET", "/metrics;x")
def test_what_is_routed_is_what_was_judged(
    address: Address, enforcement: UnsafePermitAll, routed: Routed, method: str, target: str
) -> None:
    enforcement.asked.clear()
    routed.paths.clear()
    answer = sent(address, method, target)
    judged = [(route.method, route.path) for route, _ in enforcement.asked if route is not None]
    assert is_whole(answer, head_only=method == "HEAD")
    assert len(routed.paths) <= 1
    # A handler that asks by itself is entered before it has asked; nobody is answered by one that has not.
    if judged:
        assert judged == routed.paths
    status = int(answer[9:12])
    assert status in (200, 400, 404, 405, 415)
    if status == 200:
        assert judged == routed.paths != []
    if not routed.paths:
        assert (status, judged) in ((400, []), (405, []))


@settings(max_examples=1000, deadline=None)
@given(TARGETS)
def test_a_path_is_normal_or_refused_and_normal_paths_stay_as_they_are(target: str) -> None:
    try:
        path = normalized(target.encode("latin-1", "replace"))
    except ApiError as refusal:
        assert refusal.status == 400
        return
    segments = path[1:].split("/")
    assert path == "/" or ({"", ".", ".."}.isdisjoint(segments) and path.startswith("/"))
    assert not any(character < " " or character in "\x7f\\" for character in path)


@pytest.fixture(scope="module")
def real(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    """The server with OPA and its decision log."""
    with decided(CONFIG, opa_binary, tmp_path_factory.mktemp("one-path"), authenticator=None) as running:
        yield running


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/models", "/v1/models"),
        ("/v1/models/", "/v1/models"),
        ("/v1/%6dodels", "/v1/models"),
        ("/v1/models?x", "/v1/models"),
        ("/v1/models;x", "/v1/models;x"),
        ("/v1/models%3fx", "/v1/models?x"),
        ("/v1/models/llama", "/v1/models/llama"),
        ("/v1/models/echo%2Fllama3.2", "/v1/models/echo/llama3.2"),
        ("/v1/providers/echo", "/v1/providers/echo"),
        ("/v1/n%C3%A4chstes", "/v1/nächstes"),
        ("/v1/x%20y", "/v1/x y"),
        ("/V1/models", "/V1/models"),
        ("/v1/files_admin", "/v1/files_admin"),
        ("/", "/"),
    ],
)
def test_the_decision_log_holds_the_path_that_was_routed(real: Decided, target: str, path: str) -> None:
    answer = real.address.get(target)
    routes = [record["route"] for record in real.log(answer.headers["x-request-id"]) if "route" in record]
    assert routes == [f"GET {path}"]
    if answer.status == 404:
        beginning = "" if path.startswith("/v1/") else "; the paths of this API begin with `/v1/`"
        assert answer.error["message"] == f"there is nothing at `{path}`{beginning}"


@pytest.mark.parametrize(
    "target",
    ["/v1/models/../admin", "/v1//models", "/v1/models%00", "/v1/%252e", "http://evil/v1/models", "/v1/m#x", "*"],
)
def test_what_is_malformed_is_in_no_decision_log(real: Decided, target: str) -> None:
    answer = real.address.get(target)
    assert answer.status == 400
    assert real.log(answer.headers["x-request-id"]) == []
