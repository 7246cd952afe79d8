"""Whatever two callers do in whatever order, neither sees a byte of the other's, nor that there is one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.callers import ALICE, BOB, bearer
from tests.support.files_server import FILES, Keeping, form_of, keeping
from tests.support.serving import Answer

OPERATIONS = st.tuples(
    st.sampled_from(["upload", "upload", "list", "after", "get", "content", "head", "delete", "broken", "narrowed"]),
    st.sampled_from(["alice", "bob"]),
    st.integers(0, 7),
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Keeping]:
    postgres = None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with keeping(opa_binary, tmp_path_factory.mktemp("secrecy"), postgres) as running:
        yield running


def done(kept: Keeping, what: str, caller: str, identity: str) -> Answer:
    canary = f"canary-of-{'alice' if caller == ALICE else 'bob'}"
    match what:
        case "upload":
            return kept.upload(form_of(canary.encode() * 10, f"{canary}.txt", "batch"), caller)
        case "broken":
            return kept.upload(form_of(canary.encode() * 10, f"{canary}.txt", "batch")[:-20], caller)
        case "list":
            return kept.get("", caller)
        case "narrowed":
            return kept.get("?purpose=batch&limit=2&order=asc", caller)
        case "after":
            return kept.get(f"?after={identity}", caller)
        case "content":
            return kept.get(f"/{identity}/content", caller)
        case "head":
            return kept.get(f"/{identity}/content", caller, "HEAD")
        case "delete":
            return kept.get(f"/{identity}", caller, "DELETE")
        case _:
            return kept.get(f"/{identity}", caller)


@given(st.lists(OPERATIONS, min_size=3, max_size=12))
@settings(max_examples=30, deadline=None)
def test_no_caller_sees_what_is_anothers(kept: Keeping, operations: list[tuple[str, str, int]]) -> None:
    made: list[tuple[str, str]] = []
    gone: set[str] = set()
    for what, name, number in operations:
        caller, other = (ALICE, "bob") if name == "alice" else (BOB, "alice")
        identity, owner = made[number % len(made)] if made else ("file-" + "0" * 48, "nobody")
        answer = done(kept, what, caller, identity)
        seen = answer.body + repr(answer.headers).encode()
        assert f"canary-of-{other}".encode() not in seen
        theirs = {identity for identity, owner in made if owner == other} - {identity}
        assert not [identity for identity in theirs if identity.encode() in seen]
        if what == "upload":
            made.append((answer.json["id"], name))
        elif what in ("after", "get", "content", "head", "delete"):
            assert answer.status == (200 if owner == name and identity not in gone else 404)
        if what == "delete" and answer.status == 200:
            gone.add(identity)


def test_of_several_who_delete_one_file_one_has(kept: Keeping) -> None:
    carol = bearer("carol")
    for _ in range(5):
        made = kept.kept(caller=carol)
        with ThreadPoolExecutor(6) as threads:
            answers = list(threads.map(kept.get, [f"/{made}"] * 6, [carol] * 6, ["DELETE"] * 6))
        assert sorted(answer.status for answer in answers) == [200, 404, 404, 404, 404, 404]
        assert kept.get(f"/{made}", carol).status == 404
    assert kept.house.address.get(FILES, carol).json["data"] == []
    assert kept.rows("_claims") == []
