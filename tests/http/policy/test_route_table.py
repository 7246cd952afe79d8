"""The route census: every route of the server, asked by everybody, with and without a policy engine."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote

import pytest
from starlette.routing import Route

from policy.served_routes import LATER, SERVED
from policy.vocabulary import Action
from server.http.api_route import ROUTE_ALONE, ApiRoute, AskingRoute, checked
from tests.support.application import ByToken
from tests.support.callers import bearer
from tests.support.files_server import BOUNDARY, form_of
from tests.support.real_policy import Decided, decided
from tests.support.registry_server import KINDS, without_names
from tests.support.route_table import CENSUS, FILE, MESSAGE, ROUTES, WORDING, Found
from tests.support.serving import Answer, parsed

CONFIG = """
    version: 2
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      safety:
      - {provider_id: words, provider_type: inline::keyword}
      tool_runtime:
      - {provider_id: own, provider_type: inline::file-search}
    shields:
    - {shield_id: words, provider_id: words, params: {words: [falcon]}}
    tool_groups:
    - {toolgroup_id: searches, provider_id: own}
    models:
    - {model_id: open, provider_id: echo}
    - {model_id: vectors, provider_id: echo, model_type: embedding, metadata: {embedding_dimension: 8}}
    storage:
      backends:
        kv: {type: kv_sqlite, db_path: FOLDER/kv.db}
        sql: {type: sql_sqlite, db_path: FOLDER/sql.db}
      stores:
        metadata: {backend: kv, namespace: registry}
        prompts: {backend: kv, namespace: prompts}
        inference: {backend: sql, table_name: chat_completions}
        conversations: {backend: sql, table_name: openai_conversations}
        files: {backend: sql, table_name: openai_files}
      blobs: {type: local, path: FOLDER/blobs}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: "*"}
          when: user with outsider in roles
        - permit: {paths: "*"}
        access_policy: POLICY
"""
KINDS_ASKED = sorted({kind for row in CENSUS.values() for _, kind in row.asked})
WITHOUT = """
        - forbid: {actions: [create, read, update, delete], resource: "KIND::*"}
          when: user with without-WORD in roles
"""
POLICY = f"""{"".join(WITHOUT.replace("KIND", kind).replace("WORD", kind.replace("::", ".")) for kind in KINDS_ASKED)}
        - forbid: {{actions: [create, update, delete]}}
          when: user with reader in roles
        - forbid: {{actions: read}}
          when: user with blind in roles
        - permit: {{actions: [create, read, update, delete]}}
"""
ADMIN, READER, BLIND, OUTSIDER = map(bearer, ("admin", "reader", "blind", "outsider"))
"""May do anything; may read everything and change nothing; may do anything but read; may not use any route."""

UNSEEN = {
    "POST /v1/vector-io/insert": "the answer is null",
    "POST /v1/conversations/{conversation_id}/items": "the answer has what the body has",
}
"""Changes that take no permit to read what is changed, and why."""

ANONYMOUS = "X-Nobody: 1"
CHANGED = "-"
"""Ends the id of what there is not."""

PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


@dataclass(frozen=True, slots=True)
class Place:
    """A server, where what a request needs can be made."""

    house: Decided

    def send(self, route: str, made: dict[str, str], caller: str) -> Answer:
        """The answer to the request that the route's row describes."""
        method, template = route.split(" ")
        path = PARAMETER.sub(lambda found: quote(made[found[1]], safe="/" if found[2] else ""), template)
        body = CENSUS[route].body
        return self.request(method, path, None if body is None else body(made), caller)

    def request(self, method: str, path: str, body: Any, caller: str) -> Answer:
        """The answer to a body: a form as bytes, anything else as JSON, and None for none."""
        form = isinstance(body, bytes)
        raw = body if form else b"" if body is None else dumps(body).encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}" if form else "application/json"
        about = [] if body is None else [f"Content-Type: {kind}", f"Content-Length: {len(raw)}"]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: here", caller, *about, "", ""])
        return parsed(self.house.address.exchange(head.encode() + raw))

    def made(self, route: str) -> dict[str, str]:
        """New things of the admin's for one request: by the parameters of the path, or to be named in the body."""
        template = route.split(" ")[1]
        named = "echo/vectors" if template == "/v1/embeddings" else "echo/open"
        made = {"new": f"new-{token_hex(6)}", "model_id": named, "shield_id": "words"}
        if template == "/v1/usage":
            self._used()
        if template == "/v1/batches":
            made |= self._input_file()
        if template.startswith("/v1/vector-io/"):
            made |= self._filled_store()
        for parameter, _ in PARAMETER.findall(template):
            made |= getattr(self, f"_{parameter}")(template)
        return made

    def _posted(self, path: str, body: Any) -> Any:
        answer = self.request("POST", path, body, ADMIN)
        assert answer.status == 200, answer.body
        return answer.json

    def _used(self) -> None:
        """Use a model, until that is written."""
        self._posted("/v1/completions", {"model": "open", "prompt": "hi"})
        until = time.monotonic() + 10
        while not self.request("GET", "/v1/usage", None, ADMIN).json["data"]:
            assert time.monotonic() < until

    def _tool_name(self, _template: str) -> dict[str, str]:
        return {"tool_name": "searches/file_search"}

    def _provider_id(self, _template: str) -> dict[str, str]:
        return {"provider_id": "echo"}

    def _file_id(self, template: str) -> dict[str, str]:
        if template.startswith("/v1/vector_stores"):
            return {}
        return {"file_id": self._posted("/v1/files", form_of(b"x"))["id"]}

    def _vector_store_id(self, template: str) -> dict[str, str]:
        store = self._posted("/v1/vector_stores", {})["id"]
        if template == "/v1/vector_stores/{vector_store_id}":
            return {"vector_store_id": store}
        file, other = (self._posted("/v1/files", form_of(b"x"))["id"] for _ in range(2))
        batch = self._posted(f"/v1/vector_stores/{store}/file_batches", {"file_ids": [file]})["id"]
        # What fills a store is another file each time: one that is there already is not attached anew.
        return {"vector_store_id": store, "file_id": file, "batch_id": batch, "other_file": other}

    def _filled_store(self) -> dict[str, str]:
        """A store whose index is open."""
        made = {"vector_store_id": self._posted("/v1/vector_stores", {})["id"]}
        until = time.monotonic() + 30
        while self.send("POST /v1/vector-io/insert", made, ADMIN).status == 503:
            assert time.monotonic() < until
        return made

    def _input_file(self) -> dict[str, str]:
        """A file of one line, whose model takes its time."""
        message = {"role": "user", "content": dumps({"echo": {"content": "hi", "delay_ms": 3000}})}
        line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
        text = dumps({**line, "body": {"model": "open", "messages": [message]}})
        return {"input_file": self._posted("/v1/files", form_of(text.encode(), purpose="batch"))["id"]}

    def _batch_id(self, template: str) -> dict[str, str]:
        if template.startswith("/v1/vector_stores"):
            return {}
        asked = CENSUS["POST /v1/batches"].body
        assert asked is not None
        made = self._posted("/v1/batches", asked(self._input_file()))["id"]
        self._posted(f"/v1/batches/{made}/cancel", None)
        return {"batch_id": made}

    def _conversation_id(self, _template: str) -> dict[str, str]:
        conversation = self._posted("/v1/conversations", {"items": [MESSAGE]})["id"]
        items = self.request("GET", f"/v1/conversations/{conversation}/items", None, ADMIN).json["data"]
        return {"conversation_id": conversation, "item_id": items[0]["id"]}

    def _item_id(self, _template: str) -> dict[str, str]:
        return {}

    def _completion_id(self, _template: str) -> dict[str, str]:
        chat = {"model": "open", "messages": [{"role": "user", "content": "hi"}], "store": True}
        made: str = self._posted("/v1/chat/completions", chat)["id"]
        for _ in range(200):
            if self.request("GET", f"/v1/chat/completions/{made}", None, ADMIN).status == 200:
                return {"completion_id": made}
        raise AssertionError("a stored answer was not written")

    def _response_id(self, template: str) -> dict[str, str]:
        if not template.endswith("/cancel"):
            return {"response_id": self._posted("/v1/responses", {"model": "open", "input": "hi"})["id"]}
        script = dumps({"echo": {"content": "hi", "delay_ms": 5000}})
        made = self._posted("/v1/responses", {"model": "open", "input": script, "background": True})["id"]
        one, until = f"/v1/responses/{made}", time.monotonic() + 10
        # Its worker asks the policy, too; once it waits for the model, all is asked.
        while self.request("GET", one, None, ADMIN).json["status"] == "queued":
            assert time.monotonic() < until
        self._posted(f"{one}/cancel", None)
        return {"response_id": made}

    def _prompt_id(self, _template: str) -> dict[str, str]:
        return {"prompt_id": self._posted("/v1/prompts", WORDING)["prompt_id"]}

    def _model_id(self, _template: str) -> dict[str, str]:
        return {"model_id": self._posted("/v1/models", KINDS["model"].body(f"m-{token_hex(6)}"))["id"]}

    def _identifier(self, template: str) -> dict[str, str]:
        kind = next(kind for kind in KINDS.values() if template.startswith(f"{kind.path}/"))
        return {"identifier": self._posted(kind.path, kind.body(f"n-{token_hex(6)}"))["id"]}


@contextmanager
def running(opa: Path, folder: Path, *, start: bool = True) -> Iterator[Place]:
    text = CONFIG.replace("FOLDER", str(folder)).replace("POLICY", POLICY)
    with decided(text, opa, folder, authenticator=ByToken(), start=start) as house:
        yield Place(house)


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running(opa_binary, tmp_path_factory.mktemp("census")) as made:
        yield made


@pytest.fixture(scope="module")
def silent(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The same without OPA."""
    with running(opa_binary, tmp_path_factory.mktemp("silent"), start=False) as made:
        yield made


def without(kind: str) -> str:
    """The header of whoever may do anything, but nothing to resources of this type."""
    return bearer(f"without-{kind.replace('::', '.')}")


def test_every_route_is_in_the_census() -> None:
    unknown, gone = sorted(ROUTES.keys() - CENSUS.keys()), sorted(CENSUS.keys() - ROUTES.keys())
    sentence = "has no row in `tests/support/route_table.py`: write down how the resource that it is about is found"
    assert not unknown, "; ".join(f"`{route}` {sentence}" for route in unknown)
    assert not gone, f"the census has rows for routes that there are not: {gone}"


@pytest.mark.parametrize("route", CENSUS)
def test_a_row_says_what_happens_without_each_permission_that_its_route_needs(route: str) -> None:
    row = CENSUS[route]
    assert (row.found is Found.NOT_AT_ALL) is (not row.asks)
    assert {*row.asks[1:]} == row.beside.keys() - row.may_ask
    assert row.shows <= row.may_ask


def test_what_policies_know_of_routes_is_what_they_ask() -> None:
    known = {f"{served.method} {served.path}": ({*served.needs}, {*served.may_need}) for served in SERVED}
    assert len(known) == len(SERVED)
    assert known == {name: ({*route.asks}, {*route.may_ask}) for name, route in ROUTES.items()}


@pytest.mark.parametrize("kind", ["no_type", "vector_db", "session", "sql_record::openai_file"])
def test_a_route_that_asks_about_what_is_no_served_type_is_refused(kind: str) -> None:
    handler = ROUTES["GET /v1/version"].endpoint
    with pytest.raises(ValueError, match=f"`/v1/things` asks about `{kind}`"):
        AskingRoute("/v1/things", handler, asks=[(Action.READ, kind)], name="things")
    with pytest.raises(ValueError, match=f"`/v1/things` asks about `{kind}`"):
        ApiRoute("/v1/things", handler, asks=ROUTE_ALONE, may_ask=[(Action.READ, kind)], name="things")


def test_a_route_that_does_not_say_what_it_asks_is_refused() -> None:
    version = ROUTES["GET /v1/version"]
    assert checked([version]) == [version]
    with pytest.raises(TypeError, match="`/v1/things` doesn't say what it asks"):
        checked([version, Route("/v1/things", version.endpoint)])


@pytest.mark.parametrize(
    "route",
    [
        ApiRoute("/v1/things", ROUTES["GET /v1/version"].endpoint, asks=ROUTE_ALONE, name="things"),
        ApiRoute("/v1/models", ROUTES["GET /v1/models"].endpoint, asks=[(Action.UPDATE, "model")], name="models.list"),
        ApiRoute("/v1/health/ready", ROUTES["GET /v1/health/ready"].endpoint, asks=ROUTE_ALONE, name="health.ready"),
    ],
    ids=["unknown", "other questions", "fewer questions"],
)
def test_a_route_that_asks_otherwise_than_policies_know_is_refused(route: ApiRoute) -> None:
    with pytest.raises(ValueError, match=f"doesn't have what `GET {route.path}` asks"):
        checked([route])


def test_no_route_is_said_to_come_later() -> None:
    assert [path for path in LATER for served in SERVED if f"{served.path}/".startswith(f"{path}/")] == []


@pytest.mark.parametrize("route", CENSUS)
def test_who_may_do_it_does_and_the_policy_is_asked_what_the_census_says(place: Place, route: str) -> None:
    row, made = CENSUS[route], place.made(route)
    answer = place.send(route, made, ADMIN)
    assert answer.status == 200, answer.body
    log = place.house.log(answer.headers["x-request-id"])
    assert [record["route"].split(" ")[0] for record in log if "route" in record] == [route.split(" ")[0]]
    asked = {(record["action"], record["resource"]) for record in log if "action" in record}
    assert {(action, subject.rpartition("::")[0]) for action, subject in asked} == row.asked | row.shows
    if row.found is Found.BY_PATH:
        assert (row.action, f"{row.kind}::{_last(route, made)}") in asked


@pytest.mark.parametrize("route", CENSUS)
def test_who_may_not_do_it_gets_what_the_census_says(place: Place, route: str) -> None:
    row, made = CENSUS[route], place.made(route)
    answer = place.send(route, made, without(row.kind))
    match row.found:
        case Found.BY_PATH | Found.BY_BODY:
            missing = {**made, _parameter(route): _last(route, made)[: -len(CHANGED)] + CHANGED}
            nothing = place.send(route, missing, without(row.kind))
            assert without_names(answer, *_said(made)) == without_names(nothing, *_said(missing))
            assert answer.status == 404
        case Found.AS_NEW:
            assert (answer.status, answer.error["code"]) == (403, "insufficient_permissions")
        case Found.AS_LIST:
            assert place.send(route, made, ADMIN).json["data"]
            assert (answer.status, answer.json["data"]) == (200, [])
        case Found.NOT_AT_ALL:
            assert answer.status == 200
    for (_, kind), status in row.beside.items():
        assert place.send(route, place.made(route), without(kind)).status == status


@pytest.mark.parametrize("route", CENSUS)
def test_who_may_read_and_not_change_it_is_told_so(place: Place, route: str) -> None:
    row, made = CENSUS[route], place.made(route)
    answer = place.send(route, made, READER)
    assert answer.status == (403 if row.changes else 200)
    if row.changes:
        assert answer.error["code"] == "insufficient_permissions"
        # Nothing has happened: whoever may do it still can.
        assert place.send(route, made, ADMIN).status == 200


@pytest.mark.parametrize("route", CENSUS)
def test_who_may_do_anything_but_read_is_shown_nothing(place: Place, route: str) -> None:
    row, made = CENSUS[route], place.made(route)
    answer = place.send(route, made, BLIND)
    if row.found is Found.NOT_AT_ALL:
        assert answer.status == 200
    elif row.found is Found.AS_LIST:
        assert answer.status == 404 if row.beside else answer.json["data"] == []
    elif row.found is Found.AS_NEW or route in UNSEEN:
        unread = {("read", "provider"): 400, ("read", FILE): 404}
        assert answer.status == next((status for asked, status in unread.items() if asked in row.beside), 200)
    elif answer.status == 200:
        assert route.startswith("DELETE ")
        assert answer.json.keys() == {"id", "object", "deleted"}
    else:
        assert answer.status == 404


@pytest.mark.parametrize("route", CENSUS)
def test_who_may_not_use_the_route_learns_nothing(place: Place, route: str) -> None:
    row, made = CENSUS[route], place.made(route)
    refused = place.send(route, made, OUTSIDER)
    assert refused.status == 403
    # On routes of Anthropic's clients, errors have a type alone.
    error = refused.json["error"]
    assert error.get("code", error["type"]) in ("insufficient_permissions", "permission_error")
    stranger = place.send(route, made, ANONYMOUS)
    assert stranger.status == (200 if row.is_public else 401)
    if row.found is Found.BY_PATH:
        missing = {**made, _parameter(route): "there-is-none"}
        assert place.send(route, missing, OUTSIDER).status == 403
        assert place.send(route, missing, ANONYMOUS).status == 401


@pytest.mark.parametrize("route", CENSUS)
@pytest.mark.parametrize("caller", ["admin", "outsider"])
def test_without_a_policy_engine_nothing_is_done(silent: Place, route: str, caller: str) -> None:
    made = {parameter: "anything" for parameter, _ in PARAMETER.findall(route)}
    answer = silent.send(route, {"new": "new", "model_id": "open", "shield_id": "words", **made}, bearer(caller))
    assert answer.status == 503
    stranger = silent.send(route, {"new": "new", "model_id": "open", "shield_id": "words", **made}, ANONYMOUS)
    assert stranger.status == 503


def _parameter(route: str) -> str:
    """The parameter with the id of what a request is about: that of the row, the last one, or the name in the body."""
    return CENSUS[route].parameter or next(iter(PARAMETER.findall(route)[-1:]), ("model_id", ""))[0]


def _last(route: str, made: dict[str, str]) -> str:
    return made[_parameter(route)]


def _said(made: dict[str, str]) -> list[str]:
    return sorted(made.values(), key=len, reverse=True)
