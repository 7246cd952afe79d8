"""Linear patterns match what Python's `re` matches in ASCII texts, in a time that grows with the text alone."""

from __future__ import annotations

import re
import warnings
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.net.linear_pattern import LinearPattern, NotLinear

_ATOMS = st.sampled_from(["a", "b", r"\.", "[ab]", "[^a]", ".", r"\w", "-", "^", "$", r"\A", r"\b", "", "(?i:A)", "é"])
_PATTERNS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "{2}", "{0,2}", "{1,}"])).map(
            lambda made: f"(?:{made[0]}){made[1]}"
        ),
    ),
    max_leaves=8,
)


@given(_PATTERNS, st.text("abA.-é", max_size=6))
def test_it_matches_what_python_matches(pattern: str, text: str) -> None:
    assert LinearPattern(pattern).fullmatch(text) is (text.isascii() and re.fullmatch(pattern, text) is not None)


@pytest.mark.parametrize(
    "pattern",
    [
        r"https?://([a-z0-9]+-?)+[.]example[.]com",
        r"http://(a|a)*b",
        r"http://(a*)*b",
        r"http://.*.*.*.*.*b",
        r"http://(([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)\.)*b",
    ],
)
def test_no_text_takes_long(pattern: str) -> None:
    made = LinearPattern(pattern)
    began = process_time()
    assert not made.fullmatch("http://" + "a" * 300 + "!")
    assert process_time() - began < 0.5


@pytest.mark.parametrize(
    "pattern", [r"(?=a)a", r"(?<!a)b", r"(a)\1", "(?>a*)a", "a*+", "(?a:é)", r"a\Z", "a{,3}", "[[:a]b]"]
)
def test_other_constructs_are_refused(pattern: str) -> None:
    with warnings.catch_warnings(), pytest.raises(NotLinear):
        warnings.simplefilter("ignore", FutureWarning)
        LinearPattern(pattern)


def test_large_patterns_are_refused() -> None:
    with pytest.raises(NotLinear, match="repetitions"):
        LinearPattern("(a{1,100}){1,100}")
