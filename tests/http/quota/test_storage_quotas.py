"""Quotas of what callers keep, with a real OPA and both databases: what counts, what is refused, what makes room."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.application import ByToken
from tests.support.callers import ALICE, BOB, OWN, bearer
from tests.support.databases import backend, empty_database, rows
from tests.support.files_server import BOUNDARY, form_of
from tests.support.real_policy import Decided, decided
from tests.support.serving import Answer

CAROL, DAVE, EVE, FRANK, GRACE, HEIDI = map(bearer, ("carol", "dave", "eve", "frank", "grace", "heidi"))
KIND = f'multipart/form-data; boundary="{BOUNDARY}"'
CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: open, provider_id: echo}
    storage:
      backends:
        sql: BACKEND
        kv: KEYS
      stores:
        files: {backend: sql, table_name: openai_files}
        conversations: {backend: sql, table_name: openai_conversations}
        inference: {backend: sql, table_name: chat_completions}
        prompts: {backend: kv, namespace: prompts}
        metadata: {backend: kv, namespace: registry}
      blobs: {type: local, path: FOLDER/blobs}
    server:
      quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        max_records: 1000
        limits:
        - {when: user with alice in roles, max_records: 3}
        - {when: user with carol in roles, max_bytes: 200kB}
        - {when: user with dave in roles, max_records: 10}
        - {when: user with eve in roles, max_bytes: 2kB, max_records: 50}
        - {when: user with frank in roles, max_requests: 1000000}
        - {when: user with grace in roles, max_bytes: 1kB}
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        access_policy:
        - permit: {actions: [read], resource: "model::*"}
        - permit: {actions: [read], resource: "provider::*"}
        - permit: {actions: [read, update]}
          when: user with grace in roles
"""


class House:
    """The running server, and its database."""

    def __init__(self, running: Decided, database: str, folder: Path) -> None:
        self.running = running
        self.database = database
        self.folder = folder

    def ask(self, method: str, path: str, caller: str, body: Any = None) -> Answer:
        """The answer to a request."""
        return self.running.address.ask(method, path, caller, body=body, timeout=60)

    def upload(self, size: int, caller: str) -> Answer:
        """The answer to an upload of so many bytes."""
        return self.running.address.post("/v1/files", form_of(b"x" * size), caller, kind=KIND)

    def used(self, name: str) -> tuple[int, int]:
        """What is counted of that caller."""
        found = rows(self.database, f"SELECT records, bytes FROM ostiary_usage WHERE key LIKE 'owner:%{name}'")  # noqa: S608 - the test's own
        return found[0] if found else (0, 0)  # type: ignore[return-value]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("storage-quotas")
    if request.param == "sqlite":
        with _running(opa_binary, folder, str(folder / "records.db")) as running:
            yield running
        return
    with (
        empty_database(request.getfixturevalue("postgres_url")) as url,
        _running(opa_binary, folder, url) as running,
    ):
        yield running


class _running:  # noqa: N801 - a context manager
    def __init__(self, opa: Path, folder: Path, database: str) -> None:
        text = CONFIG.replace("BACKEND", backend(database)).replace("KEYS", backend(database, "kv"))
        self._context = decided(text.replace("FOLDER", str(folder)) + OWN, opa, folder, authenticator=ByToken())
        self._database, self._folder = database, folder

    def __enter__(self) -> House:
        return House(self._context.__enter__(), self._database, self._folder)

    def __exit__(self, *raised: Any) -> None:
        self._context.__exit__(*raised)


def check_refused(answer: Answer, name: str, used: int, most: int) -> None:
    """Check that the answer is the refusal of that limit."""
    kind = name.removeprefix("max_")
    assert (answer.status, answer.error["code"], answer.error["type"]) == (
        429,
        "insufficient_quota",
        "rate_limit_error",
    )
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert answer.error["message"] == (
        f"you keep {used} of the {most} {kind} that you may keep (`{name}`), and this needs more; "
        "delete something to make room"
    )


MAKES: dict[str, tuple[str, Any]] = {
    "conversation": ("/v1/conversations", {}),
    "prompt": ("/v1/prompts", {"prompt": "hello"}),
    "dataset": ("/v1/datasets", {"purpose": "eval/messages-answer", "source": {"type": "uri", "uri": "https://x.y/z"}}),
    "model": ("/v1/models", {"model_id": "NEW", "provider_id": "echo"}),
    "chat": ("/v1/chat/completions", {"model": "open", "messages": [{"role": "user", "content": "x"}], "store": True}),
}


def test_every_kind_of_record_counts_and_a_deletion_makes_room(house: House) -> None:
    made: list[str] = []
    for path, body in MAKES.values():
        answer = house.ask("POST", path, ALICE, {**body, "model_id": "new-a"} if "model_id" in body else body)
        if len(made) == 3:
            check_refused(answer, "max_records", 3, 3)
            continue
        assert answer.status == 200, answer.body
        name = answer.json.get("id") or answer.json.get("prompt_id")
        made.append(f"{path}/{name}")
        assert house.used("alice")[0] == len(made)
    check_refused(house.upload(10, ALICE), "max_records", 3, 3)
    conversation = made[0]
    check_refused(
        house.ask("POST", f"{conversation}/items", ALICE, {"items": [{"role": "user", "content": "x"}]}),
        "max_records",
        3,
        3,
    )
    # Others are not concerned, and what is there can be read.
    assert house.ask("POST", "/v1/conversations", BOB, {}).status == 200
    assert house.ask("GET", conversation, ALICE).status == 200
    for path in made:
        assert house.ask("DELETE", path, ALICE).status == 200
    assert house.used("alice") == (0, 0)
    for path, body in [*MAKES.values()][3:]:
        assert (
            house.ask("POST", path, ALICE, {**body, "model_id": "new-b"} if "model_id" in body else body).status == 200
        )
    assert house.used("alice")[0] == 2


def test_a_refusal_is_in_the_decision_log_with_its_limit(house: House) -> None:
    while (answer := house.ask("POST", "/v1/conversations", ALICE, {})).status == 200:
        pass
    stopped = house.running.log(answer.headers["x-request-id"])[-1]
    assert (stopped["kind"], stopped["effect"]) == ("quota", "limited")
    assert (stopped["limit"], stopped["most"], stopped["used"]) == ("server.quota.limits[0].max_records", 3, 3)


def test_a_conversation_that_begins_with_more_items_than_fit_is_not_made(house: House) -> None:
    items = [{"role": "user", "content": "x"}] * 10
    answer = house.ask("POST", "/v1/conversations", DAVE, {"items": items})
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    assert house.used("dave") == (0, 0)
    made = house.ask("POST", "/v1/conversations", DAVE, {"items": items[:9]})
    assert (made.status, house.used("dave")[0]) == (200, 10)
    assert house.ask("DELETE", f"/v1/conversations/{made.json['id']}", DAVE).status == 200
    assert house.used("dave") == (0, 0)


def test_of_fifty_creates_at_once_ten_fit(house: House) -> None:
    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(house.ask, "POST", "/v1/conversations", DAVE, {}) for _ in range(50)]
        answers = [each.result() for each in asked]
    assert sorted(answer.status for answer in answers) == [200] * 10 + [429] * 40
    assert house.used("dave")[0] == 10
    for answer in answers:
        if answer.status == 200:
            house.ask("DELETE", f"/v1/conversations/{answer.json['id']}", DAVE)
    assert house.used("dave") == (0, 0)


def test_the_bytes_of_files_count_with_their_blobs_and_nothing_is_left_of_a_refused_one(house: House) -> None:
    def blobs() -> int:
        return sum(path.is_file() for path in (house.folder / "blobs").rglob("*"))

    before = blobs()
    made = house.upload(120_000, CAROL)
    assert made.status == 200
    _, used = house.used("carol")
    assert 120_000 < used < 121_000
    # The form's length alone tells.
    check_refused(house.upload(190_000, CAROL), "max_bytes", used, 200_000)
    # Only the end tells.
    check_refused(house.upload(79_990, CAROL), "max_bytes", used, 200_000)
    assert blobs() == before + 1
    with ThreadPoolExecutor(4) as pool:
        answers = [each.result() for each in [pool.submit(house.upload, 40_000, CAROL) for _ in range(4)]]
    assert sorted(answer.status for answer in answers) == [200, 429, 429, 429]
    assert house.used("carol")[1] <= 200_000
    for answer in (made, *answers):
        if answer.status == 200:
            assert house.ask("DELETE", f"/v1/files/{answer.json['id']}", CAROL).status == 200
    assert house.used("carol") == (0, 0)
    assert blobs() == before


def test_an_update_that_grows_needs_room_and_one_that_shrinks_makes_it(house: House) -> None:
    made = house.ask("POST", "/v1/conversations", EVE, {"metadata": {"a": "x" * 500}})
    path = f"/v1/conversations/{made.json['id']}"
    small, large = {"metadata": {}}, {"metadata": {f"k{n}": "x" * 500 for n in range(5)}}
    _, used = house.used("eve")
    check_refused(house.ask("POST", path, EVE, large), "max_bytes", used, 2000)
    assert house.ask("GET", path, EVE).json["metadata"] == {"a": "x" * 500}
    assert house.ask("POST", path, EVE, small).status == 200
    assert house.used("eve")[1] < used - 500
    prompt = house.ask("POST", "/v1/prompts", EVE, {"prompt": "y" * 700}).json["prompt_id"]
    # The default version is in the record, and every version beside it.
    body = {"prompt": "z" * 700, "version": 1}
    answer = house.ask("PUT", f"/v1/prompts/{prompt}", EVE, body)
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    assert house.ask("DELETE", f"/v1/prompts/{prompt}", EVE).status == 200
    assert house.ask("DELETE", path, EVE).status == 200
    assert house.used("eve") == (0, 0)


def test_an_update_of_anothers_record_counts_for_its_owner_and_is_not_refused(house: House) -> None:
    metadata = {f"k{n}": "x" * 500 for n in range(4)}
    made = house.ask("POST", "/v1/conversations", HEIDI, {"metadata": metadata})
    path, (_, used) = f"/v1/conversations/{made.json['id']}", house.used("heidi")
    assert house.ask("POST", path, GRACE, {"metadata": {**metadata, "k5": "x" * 500}}).status == 200
    assert house.used("heidi")[1] > used + 500
    assert house.used("grace") == (0, 0)
    assert house.ask("DELETE", path, HEIDI).status == 200


def test_a_chat_that_has_no_room_is_refused_before_the_model_is_asked(house: House) -> None:
    filler = house.ask("POST", "/v1/prompts", EVE, {"prompt": "y" * 1_900})
    assert filler.status == 429, "a version counts beside its prompt"
    made = house.ask("POST", "/v1/conversations", EVE, {"metadata": {f"k{n}": "x" * 480 for n in range(4)}})
    assert made.status == 200
    path, body = MAKES["chat"]
    long = {**body, "messages": [{"role": "user", "content": "x" * 600}]}
    # There is room for something, and not for this: the caller has its answer, and nothing is kept.
    assert house.ask("POST", path, EVE, long).status == 200
    assert house.used("eve")[0] == 1
    assert house.ask("DELETE", f"/v1/conversations/{made.json['id']}", EVE).status == 200


def test_a_limit_that_has_neither_number_is_none(house: House) -> None:
    for _ in range(5):
        assert house.ask("POST", "/v1/conversations", FRANK, {}).status == 200
