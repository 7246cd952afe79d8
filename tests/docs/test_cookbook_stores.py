"""`docs/policy/cookbook.md`: what its policies about stores and agents permit, in a server with these policies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import openai
import pytest
from starlette.types import Scope

from policy.vocabulary import Principal
from tests.support.policy_pages import ROOT, examples
from tests.support.real_policy import decided

RECIPES = {example.section: example for example in examples(ROOT / "docs/policy/cookbook.md")}
VECTORS = """\
  - {provider_id: echo, model_id: words, model_type: embedding, metadata: {embedding_dimension: 8}}
"""


class ByName:
    """Knows callers by tokens that are their names."""

    def __init__(self, callers: dict[str, dict[str, str]]) -> None:
        self._callers = callers

    async def authenticate(self, token: str, request: Scope, /) -> Principal:
        """The principal of that name, with its attributes."""
        del request
        facts = self._callers[token]
        attributes = {name: tuple(values.split(",")) for name, values in facts.items()}
        return Principal(token, "https://sso.example.com", attributes)

    async def close(self) -> None:
        """There is nothing to close."""


@contextmanager
def clients(recipe: str, opa: Path, folder: Path, **callers: dict[str, str]) -> Iterator[list[openai.OpenAI]]:
    """Callers of a server with a policy of the page, each with the values of its attributes."""
    text = RECIPES[recipe].config.replace("apis: [inference]", "apis: [inference, vector_io, agents]") + VECTORS
    with decided(text, opa, folder, authenticator=ByName(callers)) as house, ExitStack() as opened:
        yield [
            opened.enter_context(openai.OpenAI(base_url=f"{house.address.url}/v1", api_key=name, max_retries=0))
            for name in callers
        ]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def filled(client: openai.OpenAI, store: str, text: bytes) -> str:
    """The id of a file that a caller has put into a store."""
    made = client.vector_stores.files.upload_and_poll(vector_store_id=store, file=("a.txt", text))
    assert (made.status, made.last_error) == ("completed", None)
    return made.id


def found(client: openai.OpenAI, store: str) -> set[str]:
    return {hit.content[0].text for hit in client.vector_stores.search(store, query="a door")}


def test_a_team_searches_what_its_members_put_in(opa_binary: Path, tmp_path: Path) -> None:
    recipe = "A knowledge base that one team searches"
    callers = {"ann": {"teams": "ml"}, "bob": {"teams": "ml,web"}, "eve": {"teams": "web"}}
    with clients(recipe, opa_binary, tmp_path, **callers) as (ann, bob, eve):
        store = ann.vector_stores.create(name="doors").id
        filled(ann, store, b"the red door")
        file = filled(bob, store, b"the blue door")
        assert found(ann, store) == found(bob, store) == {"the red door", "the blue door"}
        assert [each.id for each in bob.vector_stores.list()] == [store]
        assert eve.vector_stores.list().data == []
        with pytest.raises(openai.NotFoundError):
            found(eve, store)
        assert eve.files.retrieve(file).filename == "a.txt", "a file of two teams is both teams'"
        with pytest.raises(openai.PermissionDeniedError):
            bob.vector_stores.delete(store)


def test_users_of_a_customer_find_what_was_filled_for_that_customer(opa_binary: Path, tmp_path: Path) -> None:
    recipe = "A store for each customer"
    fillers = {name: {"roles": "writer", "projects": project} for name, project in (("one", "acme"), ("two", "globex"))}
    callers = {**fillers, "ann": {"projects": "acme"}, "eve": {"projects": "globex"}}
    with clients(recipe, opa_binary, tmp_path, **callers) as asking:
        stores = [filler.vector_stores.create().id for filler in asking[:2]]
        for filler, store, text in zip(asking[:2], stores, (b"a door of acme", b"a door of globex"), strict=True):
            filled(filler, store, text)
        ann, eve = asking[2:]
        assert found(ann, stores[0]) == {"a door of acme"}
        assert found(eve, stores[1]) == {"a door of globex"}
        for client, store in ((ann, stores[1]), (eve, stores[0])):
            assert store not in [each.id for each in client.vector_stores.list()]
            with pytest.raises(openai.NotFoundError):
                found(client, store)
        with pytest.raises(openai.PermissionDeniedError):
            ann.vector_stores.create()


def test_auditors_search_and_change_nothing(opa_binary: Path, tmp_path: Path) -> None:
    recipe = "Auditors who look into stores and responses"
    callers = {"ann": {"roles": "developer"}, "eve": {"roles": "auditor"}}
    with clients(recipe, opa_binary, tmp_path, **callers) as (ann, eve):
        store = ann.vector_stores.create().id
        filled(ann, store, b"the red door")
        response = ann.responses.create(model="echo/assistant", input="hello").id
        assert found(eve, store) == {"the red door"}
        assert eve.responses.retrieve(response).output_text == "echo: hello"
        for asked in (
            lambda: eve.responses.create(model="echo/assistant", input="hello", store=False),
            lambda: eve.responses.delete(response),
            lambda: eve.vector_stores.update(store, name="mine"),
            lambda: eve.vector_stores.create(),
            lambda: eve.completions.create(model="echo/assistant", prompt="hello"),
        ):
            with pytest.raises(openai.PermissionDeniedError):
                asked()


def test_agents_answer_with_approved_models_alone(opa_binary: Path, tmp_path: Path) -> None:
    recipe = "Agents with approved models alone"
    callers = {"bot": {"roles": "agent,developer"}, "other": {"roles": "agent"}}
    with clients(recipe, opa_binary, tmp_path, **callers) as (bot, other):
        first = bot.responses.create(model="assistant", input="hello")
        assert bot.responses.create(model="llama-3", input="again", previous_response_id=first.id).status == "completed"
        for asked in (
            lambda: bot.responses.create(model="echo/mistral-7b", input="hello"),
            lambda: bot.responses.create(model="fast", input="hello", previous_response_id=first.id),
            lambda: other.responses.create(model="assistant", input="hello", previous_response_id=first.id),
        ):
            with pytest.raises(openai.NotFoundError):
                asked()
