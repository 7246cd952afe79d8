"""Character classes match the same code points in OPA as in Python."""

from __future__ import annotations

import re
import unicodedata
from itertools import chain

import pytest

from tests.support.regex_opa import RegexJudge
from translators.regex import translate
from translators.regex.classes import _cased, members, unicode_categories
from translators.regex.codepoints import EVERYTHING, NOTHING, complement, difference, holds, union

EVERY_CHARACTER = "".join(map(chr, chain(range(0xD800), range(0xE000, 0x110000))))
BY_CATEGORY = (r"\d", r"\w", r"\W", r"\D", r"[^\W_]", r"[^\W\d]", r"[\w.-]", r"[\W\d]")
SPELLED_OUT = (
    *(r"\s", r"\S", ".", r"[^\Wa-c]", r"[\s\-]", "[à-ö]", "(?s)."),
    *(r"(?i)[^\Wk]", "(?i)i", "(?i)[a-z]", "(?i)[^à-ö]", r"(?ia)\W", r"(?ia)[^k\d]"),
)
OPA_ASSIGNS = r"[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Z}\p{Cc}\p{Cf}\p{Co}]"


def _class(pattern: str) -> str:
    """The class alone that the translation of a one-character pattern consists of."""
    return translate(pattern).positives[0].removeprefix(r"\A(?:").removesuffix(")")


@pytest.fixture(scope="module")
def characters() -> str:
    """Each character of the first two planes; beyond them every 61st, and those where a category begins or ends."""
    edges = (point + step for ends in chain(*unicode_categories().values()) for point in ends for step in (-1, 0, 1))
    return "".join(sorted({*EVERY_CHARACTER[: 0x20000 - 0x800], *EVERY_CHARACTER[::61], *map(chr, edges)}))


@pytest.fixture(scope="module")
def opa_finds(judge: RegexJudge, characters: str) -> dict[str, set[str]]:
    """Pattern → the characters that OPA matches with its class."""
    classes = {pattern: f"(?:{_class(pattern)})+" for pattern in (*BY_CATEGORY, *SPELLED_OUT)}
    classes["assigned"] = f"{OPA_ASSIGNS}+"
    found = judge.found(list(classes.values()), characters)
    return {pattern: set("".join(runs)) for pattern, runs in zip(classes, found, strict=True)}


@pytest.mark.parametrize("pattern", SPELLED_OUT)
def test_a_spelled_out_class_agrees_on_every_character(
    opa_finds: dict[str, set[str]], characters: str, pattern: str
) -> None:
    assert opa_finds[pattern] == set(re.findall(pattern, characters))


@pytest.mark.parametrize("pattern", BY_CATEGORY)
def test_a_class_by_category_agrees_wherever_both_sides_know_the_character(
    opa_finds: dict[str, set[str]], characters: str, pattern: str
) -> None:
    differing = opa_finds[pattern] ^ set(re.findall(pattern, characters))
    assert {char for char in differing if unicodedata.category(char) != "Cn"} & opa_finds["assigned"] == set()


def test_a_class_that_is_short_is_never_written_by_category() -> None:
    assert _class("[0-9a-z_-]") == r"[\-0-9_a-z]"
    assert _class(r"[^\Wa]").count(r"\p") == 0


@pytest.mark.parametrize("form", ["{}", "[{}x]", "[^{}x]", "(?i){}", "(?i)[{}x]"])
def test_every_ascii_character_means_itself(judge: RegexJudge, form: str) -> None:
    characters = [chr(code) for code in range(128)]
    patterns = [form.format(f"\\x{ord(char):02x}") for char in characters]
    answers = judge.verdicts([(translate(pattern), characters) for pattern in patterns])
    expected = [[re.match(pattern, subject) is not None for subject in characters] for pattern in patterns]
    assert answers == expected


def test_ignoring_case_concerns_the_cased_characters_alone() -> None:
    # What `members` builds on: it asks Python about these characters and about no others.
    text, cased = _cased()
    inside = "".join(f"{chr(first)}-{chr(last)}" for first, last in cased)
    outside = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in complement(cased))
    assert len(text) < 5000
    assert set(re.findall(f"[{inside}]", EVERY_CHARACTER, re.IGNORECASE)) == set(text)
    assert set(re.findall(f"[{outside}]", EVERY_CHARACTER, re.IGNORECASE)) == set(EVERY_CHARACTER) - set(text)


def test_the_letters_that_only_python_folds_are_there() -> None:
    assert _class("(?i)i") == r"[Ii\x{130}\x{131}]"
    assert _class("(?i)İ") == r"[Ii\x{130}\x{131}]"
    assert _class("(?i)s") == r"[Ss\x{17f}]"
    assert _class("(?i)K") == r"[Kk\x{212a}]"


def test_unicode_data_are_read_once() -> None:
    assert unicode_categories() is unicode_categories()
    assert members((("CATEGORY", "CATEGORY_NOT_SPACE"),), ignore_case=False, ascii_only=True) == complement(
        ((0x09, 0x0D), (0x20, 0x20))
    )


def test_sets_of_code_points_keep_the_laws() -> None:
    some = union([(5, 9), (1, 2), (3, 4), (20, 30), (25, 26)])
    assert some == ((1, 9), (20, 30))
    assert complement(complement(some)) == some
    assert complement(NOTHING) == EVERYTHING
    assert difference(some, ((2, 25),)) == ((1, 1), (26, 30))
    assert [point for point in range(40) if holds(some, point)] == [*range(1, 10), *range(20, 31)]
