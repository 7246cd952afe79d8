"""`docs/glossary.md` has each term once, in order, and every search word leads to a page or says that there is none."""

from __future__ import annotations

import re

import pytest

from policy.vocabulary import Action, StampOwner, UseLimit, UseShields
from tests.support.policy_pages import ROOT

TEXT = (ROOT / "docs/glossary.md").read_text()
TERMS, XACML, WORDS = (
    [
        [cell.strip() for cell in row.strip("|").split(" | ", 1)]
        for row in re.findall(r"^\|.*\|$", section, re.MULTILINE)[2:]
    ]
    for section in TEXT.split("\n## ")[1:]
)


@pytest.mark.parametrize("rows", [TERMS, WORDS])
def test_terms_are_in_order_and_each_stands_once(rows: list[list[str]]) -> None:
    names = [name.lower() for name, _ in rows]
    assert len(names) > 40
    assert names == sorted(set(names))


def test_no_term_of_xacml_stands_twice() -> None:
    assert len({name for name, _ in XACML}) == len(XACML) >= 15


@pytest.mark.parametrize(("term", "meaning"), TERMS, ids=[term for term, _ in TERMS])
def test_a_meaning_is_two_lines_at_most(term: str, meaning: str) -> None:
    assert len(re.sub(r"\]\([^)]*\)", "]", meaning)) <= 200, term


@pytest.mark.parametrize(("word", "place"), WORDS, ids=[word for word, _ in WORDS])
def test_a_search_word_leads_to_a_page(word: str, place: str) -> None:
    assert "](" in place or "not there yet" in place or "not supported" in place, word


def test_words_of_the_code_are_explained() -> None:
    names = {name for name, _ in TERMS}
    assert {"principal", "owner", "decision", "obligation", "permit", "forbid", "resource", "route"} <= names
    (action,) = [meaning for name, meaning in TERMS if name == "action"]
    assert re.findall(r"`(\w+)`", action) == [str(one) for one in Action]
    (obligation,) = [meaning for name, meaning in TERMS if name == "obligation"]
    kinds = [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower() for kind in (StampOwner, UseLimit, UseShields)]
    assert re.findall(r"`(\w+)`", obligation) == kinds
