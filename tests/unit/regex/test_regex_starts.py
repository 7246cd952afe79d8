"""How matching subjects begin: what a list of records can ask a database in place of a pattern."""

from __future__ import annotations

import re
import time
from collections import Counter

import pytest

from policy.regexes import PATTERN_LIMIT
from tests.support.model_patterns import MODELS_ALONE
from tests.support.regex_cases import cases
from translators.regex import Start, Untranslatable, translate


@pytest.mark.parametrize(
    ("pattern", "texts", "complete"),
    [
        ("prompt::", ["prompt::"], True),
        ("prompt::.*", ["prompt::"], True),
        ("prompt::a?b*(?:c|)", ["prompt::"], True),
        ("^prompt::a", ["prompt::a"], True),
        (r"\Aprompt::a.*", ["prompt::a"], True),
        ("(prompt|batch)::.*", ["prompt::", "batch::"], True),
        ("prompt::(ab|cd)(ef|gh)", ["prompt::abef", "prompt::abgh", "prompt::cdef", "prompt::cdgh"], True),
        ("", [""], True),
        ("ab|a|c", ["a", "c"], True),
        ("(?:)*", [""], True),
        ("prompt::.+", ["prompt::"], False),
        ("prompt::a$", ["prompt::a"], False),
        (r"prompt::a\Z", ["prompt::a"], False),
        ("prompt::[ab]", ["prompt::"], False),
        ("prompt::a.*b", ["prompt::a"], False),
        ("prompt::a+", ["prompt::a"], False),
        ("prompt::(?!a)", ["prompt::"], False),
        ("prompt::(?=a)a", ["prompt::a"], False),
        ("(?!model::research-)model::.*", ["model::"], False),
        ("(?=.*-dev$)prompt::a", ["prompt::a"], False),
        ("(?!model::x)(?:model|prompt)::.*", ["model::", "prompt::"], False),
        (r"\bmodel::.*", ["model::"], False),
        ("(?:model::)+a", ["model::"], False),
        ("(?:model|prompt){1}::a", ["model", "prompt"], False),
        ("(?!model)", [""], False),
        (r"(?a)prompt\b.*", ["prompt"], False),
        ("a^b", ["a"], False),
        ("(?:^a|b)c", ["", "bc"], None),
        ("ab.|a", ["a"], True),
        ("ab|a.", ["ab", "a"], None),
        ("(?i)prompt", [""], False),
        (r"prompt::a\x00b", ["prompt::a"], False),
        (r"prompt::(?:ab|\0)c", ["prompt::abc", "prompt::"], None),
        ("(a|b|c|d)(e|f|g|h)(i|j)", [""], False),
        ("(aa|bb|cc|dd)(ee|ff|gg|hh)(ii|jj)", None, False),
    ],
)
def test_the_starts_of_a_pattern(pattern: str, texts: list[str] | None, *, complete: bool | None) -> None:
    found = translate(pattern).starts
    if texts is not None:
        assert sorted(start.text for start in found) == sorted(texts)
    if complete is not None:
        assert {start.complete for start in found} == {complete}


def test_one_start_may_say_more_than_another() -> None:
    assert set(translate("prompt::a|batch::b$").starts) == {Start("prompt::a", True), Start("batch::b", False)}


def test_there_are_never_many_starts() -> None:
    assert len(translate("(aa|bb|cc|dd)(ee|ff|gg|hh)(ii|jj)").starts) == 16
    assert len(translate("|".join(f"{number}x" for number in range(17))).starts) == 1


def test_a_pattern_may_match_what_begins_as_a_match_of_it_does() -> None:
    told: Counter[bool] = Counter()
    for case in cases(20261130, 6_000):
        try:
            translation = translate(case.pattern)
        except Untranslatable:
            continue
        compiled = re.compile(case.pattern)
        for subject in case.subjects:
            beginning = subject[:4].partition("\n")[0]
            if compiled.match(subject):
                for length in range(len(beginning) + 1):
                    assert translation.may_match(beginning[:length]), (case.pattern, subject)
            told[translation.may_match(beginning)] += 1
    assert min(told.values()) > 1_000, told


@pytest.mark.parametrize("pattern", MODELS_ALONE)
def test_a_pattern_about_models_may_match_no_other_type(pattern: str) -> None:
    types = ["model", "vector_store", "vector_db", "prompt", "sql_record::openai_files", "sql_record::responses"]
    assert [kind for kind in types if translate(pattern).may_match(f"{kind}::")] == ["model"]


NESTED = ["(?:" * 9 + "." + "){1,2}" * 9, "(?:" * 9 + "." + "){2}" * 9, "(?:" * 90 + ".?" + ")*" * 90]
LONG = ["x" * PATTERN_LIMIT, "(?:ab|cd)" * (PATTERN_LIMIT // 9), "(?:" * 190 + "ab|cd" + ")" * 190, *NESTED]


@pytest.mark.parametrize("pattern", LONG)
def test_the_starts_of_a_long_pattern_take_no_time(pattern: str) -> None:
    began = time.process_time()
    translation = translate(pattern)
    assert translation.starts
    translation.may_match("scoring_function::")
    assert time.process_time() - began < 3


def test_what_matches_begins_with_a_start_and_what_begins_with_a_complete_one_matches() -> None:
    matching = completed = 0
    for case in cases(20261123, 8_000):
        try:
            starts = translate(case.pattern).starts
        except Untranslatable:
            continue
        compiled = re.compile(case.pattern)
        for subject in case.subjects:
            if compiled.match(subject):
                assert any(subject.startswith(start.text) for start in starts), (case.pattern, subject)
                matching += 1
            for start in starts:
                if start.complete:
                    assert compiled.match(start.text + subject), (case.pattern, start, subject)
                    completed += 1
    assert min(matching, completed) > 1_000
