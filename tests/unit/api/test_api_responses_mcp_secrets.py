"""Credentials of servers of tools: in whichever form a server repeats them, no text of it has them."""

from __future__ import annotations

from base64 import b64encode
from time import process_time
from urllib.parse import quote

import pytest

from server.api.responses.mcp import secrets as subject
from server.api.responses.mcp.secrets import MOST_FORMS, Secrets
from server.mcp.messages import MOST_TOLD, cut, words

KEY = "canary-7d31c2-key"
URL = "https://tools.example.com/mcp"


@pytest.mark.parametrize(
    "value",
    [
        KEY,
        f"Bearer {KEY}",
        f"bearer {KEY}",
        f"Basic {KEY}",
        f"Basic {b64encode(f'me:{KEY}'.encode()).decode()}",
        f"key={KEY}",
        f"a=b; sid={KEY}; c=d",
    ],
)
def test_no_part_of_a_header_comes_back(value: str) -> None:
    secrets = Secrets(URL, {"Authorization": value})
    for said in (f"you sent {value}.", f"the key is {KEY}", f"{KEY}{KEY}"):
        told = secrets.hidden(said)
        assert KEY not in told
        assert value not in told
        assert "********" in told


def test_a_secret_is_found_as_json_and_as_an_address_have_it() -> None:
    secrets = Secrets(URL, {"X-Key": 'a"b\\c/d 7d31c2'})
    assert secrets.hidden(r'{"x": "a\"b\\c/d 7d31c2"}') == '{"x": "********"}'
    assert secrets.hidden("?x=a%22b%5Cc%2Fd%207d31c2&y") == "?x=********&y"


def test_secrets_in_the_address_do_not_come_back() -> None:
    secrets = Secrets(f"https://tools.example.com/long-path-7d31c2aa/mcp?v=2&key={KEY}", {})
    told = secrets.hidden(f"nothing at /long-path-7d31c2aa/mcp?v=2&key={KEY} of tools.example.com; {KEY}")
    assert told == "nothing at /********/mcp?******** of tools.example.com; ********"


def test_what_is_short_stays() -> None:
    said = "the red team uses version 2 of /mcp"
    assert Secrets(f"{URL}?v=2", {"X-Team": "red", "Authorization": "Bearer short"}).hidden(said) == said
    assert not Secrets(URL, {"X-Team": "red"})


def test_a_secret_that_was_cut_does_not_come_back_in_part() -> None:
    secrets = Secrets(URL, {"Authorization": f"Bearer {KEY}"})
    assert KEY[:9] not in secrets.hidden(words("x" * 990 + KEY))
    told = secrets.hidden(cut("x" * (MOST_TOLD - 9) + KEY))
    assert KEY[:9] not in told
    assert told.endswith(f"bytes, and these are the first {MOST_TOLD}]")


def test_the_longest_beginning_of_a_secret_at_the_end_is_hidden() -> None:
    secrets = Secrets(URL, {"X-Key": "beginning-inside-7d31c2", "X-Other": "inside-7d31c2-other"})
    assert secrets.hidden("and beginning-inside-7d31") == "and ********"
    assert secrets.hidden("and inside-7d31c2-ot") == "and ********"
    assert secrets.hidden("and beginni") == "and beginni"


def test_what_stands_for_a_secret_may_begin_another() -> None:
    secrets = Secrets(URL, {"X-Key": KEY, "X-Other": "ab****cd-ef7d31c2"})
    assert secrets.hidden(f"{KEY}, {KEY}") == "********, ********"
    starred = Secrets(URL, {"X-Key": KEY, "X-Other": "********cd-7d31c2"})
    assert starred.hidden(f"so {KEY}cd-7d31c2 it is") == "so ******** it is"
    assert starred.hidden(f"so {KEY}cd-7d3") == "so ********"


def test_only_so_many_parts_of_a_header_are_made_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[str]()
    monkeypatch.setattr(subject, "quote", lambda text, **options: made.append(text) or quote(text, **options))
    secrets = Secrets(URL, {"X-Many": " ".join(f"part{number:05}" for number in range(1500))})
    assert secrets.hidden("of part00003") == "of ********"
    assert len(made) <= MOST_FORMS


@pytest.mark.alone
@pytest.mark.parametrize("text", ["a", "any text", "aaaaaaaaz"])
def test_a_long_list_of_tools_is_looked_through_once_and_not_for_each_secret(text: str) -> None:
    secrets = Secrets(URL, {"X-Many": " ".join(f"{'a' * 20}{number:04}" for number in range(2 * MOST_FORMS))})
    tool = {"name": "t", "description": None, "input_schema": {"enum": [text] * 20_000}, "annotations": None}
    began = process_time()
    assert secrets.without([tool]) == [tool]
    assert process_time() - began < 0.5


def test_tools_are_listed_without_secrets() -> None:
    told = {"description": f"uses {KEY}", "input_schema": {"properties": {KEY: {"enum": [KEY, 1]}}}}
    tools = [{"name": "echo", **told, "annotations": None}, {"name": f"for-{KEY}", **told, "annotations": None}]
    hidden = {"description": "uses ********", "input_schema": {"properties": {"********": {"enum": ["********", 1]}}}}
    secrets = Secrets(URL, {"X-Key": KEY})
    assert secrets.without(tools) == [{"name": "echo", **hidden, "annotations": None}]


def test_whole_values_are_found_among_many_parts() -> None:
    many = " ".join(f"part-{number:08}" for number in range(2 * MOST_FORMS))
    secrets = Secrets(URL, {"X-Many": many, "X-Key": KEY})
    assert secrets.hidden(f"{KEY} {many}") == "******** ********"
