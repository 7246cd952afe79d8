"""Every list answers to every parameter of a page in the same way, and to what is wrong with one as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import bearer
from tests.support.chats_server import CHATS, PROMPTS, Chatting, chatting
from tests.support.conversations_server import talking
from tests.support.files_server import FILES, keeping
from tests.support.list_pages import check_pages, check_refusals
from tests.support.registry_server import ENTRIES, KINDS, Registry, registry, without_names
from tests.support.serving import Answer

CALLER, OTHER = bearer("lister"), bearer("other")


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(opa_binary, tmp_path_factory.mktemp("lists")) as running:
        yield running


@pytest.fixture(scope="module")
def chats(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chatting]:
    with chatting(opa_binary, tmp_path_factory.mktemp("chats")) as running:
        yield running


def test_a_list_of_models_answers_as_the_others_do(kept: Registry) -> None:
    def ask(query: str, caller: str = CALLER) -> Answer:
        return kept.house.address.get(f"/v1/models{query}", caller)

    check_pages(ask, ["echo/open-1"], newest_first=False)
    check_refusals(ask, "echo/open-1", "echo/none")
    registered = []
    for _ in range(3):
        registered.append(kept.registered("model", CALLER))
        hidden = kept.registered("model", OTHER)
    check_pages(ask, ["echo/open-1", *registered], newest_first=False)
    for known in ("echo/open-1", registered[0]):
        check_refusals(ask, known, "echo/none")
        check_refusals(ask, known, hidden)
    for cursor in ("after", "before"):
        foreign, missing = (ask(f"?{cursor}={name}") for name in (hidden, f"{hidden}-"))
        assert without_names(foreign, hidden) == without_names(missing, f"{hidden}-")


def test_models_of_the_configuration_and_registered_ones_are_one_list(opa_binary: Path, tmp_path: Path) -> None:
    models = ", ".join(f"{{model_id: m-{number}, provider_id: echo}}" for number in range(3))
    with registry(opa_binary, tmp_path, models=f"[{models}]") as running:
        own = [f"echo/m-{number}" for number in range(3)]
        own += [running.registered("model", CALLER) for _ in range(2)]
        check_pages(lambda query: running.house.address.get(f"/v1/models{query}", CALLER), own, newest_first=False)


def test_any_name_of_a_model_is_a_cursor_and_a_hidden_ones_other_names_stay_unknown(kept: Registry) -> None:
    made = kept.register("model", "one-more", CALLER, provider_model_id="own-name").json["id"]
    assert made == "echo/own-name"
    for name in ("one-more", "echo/one-more", made):
        found = [kept.listed("model", CALLER, f"?order={order}&before={name}") for order in ("asc", "desc")]
        assert made not in found[0] + found[1]
        refused = kept.house.address.get(f"/v1/models?before={name}", OTHER)
        assert refused.status == 404
        assert name in refused.error["message"]
        assert "own-name" not in refused.error["message"] or name == made


@pytest.mark.parametrize("kind", ENTRIES)
def test_a_list_of_entries(kept: Registry, kind: str) -> None:
    mine = [kept.registered(kind, CALLER) for _ in range(3)]

    def ask(query: str) -> Answer:
        return kept.house.address.get(f"{KINDS[kind].path}{query}", CALLER)

    check_pages(ask, mine, newest_first=False)
    check_refusals(ask, mine[0], "none")


def test_a_list_of_files(opa_binary: Path, tmp_path: Path) -> None:
    with keeping(opa_binary, tmp_path) as kept:
        mine = [kept.kept(caller=CALLER) for _ in range(3)]

        def ask(query: str) -> Answer:
            return kept.house.address.get(f"{FILES}{query}", CALLER)

        check_pages(ask, mine, newest_first=True)
        check_refusals(ask, mine[0], f"file-{'0' * 48}")


def test_lists_of_stored_chats_and_of_their_messages(chats: Chatting) -> None:
    made = [chats.stored(CALLER) for _ in range(3)]
    check_pages(lambda query: chats.ask("GET", f"{CHATS}{query}", CALLER), made, newest_first=False)
    check_refusals(lambda query: chats.ask("GET", f"{CHATS}{query}", CALLER), made[0], f"chatcmpl-{'0' * 48}")
    said = [{"role": "user", "content": text} for text in ("a", "b", "c")]
    chat = chats.stored(CALLER, messages=said)

    def ask(query: str) -> Answer:
        return chats.ask("GET", f"{CHATS}/{chat}/messages{query}", CALLER)

    check_pages(ask, [f"{chat}-{place}" for place in range(3)], newest_first=False)
    for unknown in (f"{chat}-3", f"{made[0]}-0", "none"):
        check_refusals(ask, f"{chat}-1", unknown)


def test_lists_of_prompts_and_of_their_versions(chats: Chatting) -> None:
    made = [chats.prompt(CALLER) for _ in range(3)]
    check_pages(lambda query: chats.ask("GET", f"{PROMPTS}{query}", CALLER), made, "prompt_id", newest_first=True)
    check_refusals(lambda query: chats.ask("GET", f"{PROMPTS}{query}", CALLER), made[0], f"pmpt_{'0' * 48}")
    for version in (1, 2):
        body = {"prompt": "x", "variables": [], "version": version}
        assert chats.ask("PUT", f"{PROMPTS}/{made[0]}", CALLER, body).status == 200

    def ask(query: str) -> Answer:
        return chats.ask("GET", f"{PROMPTS}/{made[0]}/versions{query}", CALLER)

    check_pages(ask, ["1", "2", "3"], "version", newest_first=True)
    check_refusals(ask, "1", "4")
    for odd in ("0", "-1", "x", "1.0"):
        for cursor in ("after", "before"):
            answer = ask(f"?{cursor}={odd}")
            assert (answer.status, answer.error["param"]) == (400, cursor)


def test_a_list_of_items(opa_binary: Path, tmp_path: Path) -> None:
    with talking(opa_binary, tmp_path) as running:
        conversation = running.made(CALLER)
        mine = running.added(conversation, "a", "b", "c", caller=CALLER)
        foreign = running.added(running.made(CALLER), "d", caller=CALLER)

        def ask(query: str) -> Answer:
            return running.get(f"/{conversation}/items{query}", CALLER)

        check_pages(ask, mine, newest_first=True)
        check_refusals(ask, mine[0], foreign[0])
