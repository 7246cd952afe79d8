"""Every pattern of the corpus becomes what the corpus says, and OPA then answers as Python does."""

from __future__ import annotations

import re
import warnings

import pytest

from tests.support.regex_corpus import COMMON_SUBJECTS, REFUSED, TRANSLATED, Refused, Translated
from tests.support.regex_opa import RegexJudge
from translators.regex import Untranslatable, translate

Verdicts = dict[str, dict[str, bool]]


def _name(row: Translated | Refused) -> str:
    return ascii(row.pattern[:40])


@pytest.fixture(scope="module")
def opa_says(judge: RegexJudge) -> Verdicts:
    """Pattern → subject → OPA's answer, for the whole corpus in one question."""
    cases = [(translate(row.pattern), [*COMMON_SUBJECTS, *row.subjects]) for row in TRANSLATED]
    answers = judge.verdicts(cases)
    return {
        row.pattern: dict(zip(subjects, given, strict=True))
        for row, (_, subjects), given in zip(TRANSLATED, cases, answers, strict=True)
    }


@pytest.mark.parametrize("row", TRANSLATED, ids=_name)
def test_a_pattern_becomes_the_expected_tests(row: Translated) -> None:
    translation = translate(row.pattern)
    # Before Python 3.14 `\B` needs a test of its own on the empty subject.
    positives = tuple(test for test in translation.positives if r"\B" not in row.pattern or test != r"\A(?s:.)")
    assert (positives, translation.negatives) == (row.positives, row.negatives)


@pytest.mark.parametrize("row", TRANSLATED, ids=_name)
def test_opa_answers_what_re_match_answers(row: Translated, opa_says: Verdicts) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        python_says = {subject: re.match(row.pattern, subject) is not None for subject in opa_says[row.pattern]}
    assert opa_says[row.pattern] == python_says


@pytest.mark.parametrize("row", REFUSED, ids=_name)
def test_what_has_no_translation_is_refused_by_name_and_place(row: Refused) -> None:
    with pytest.raises(Untranslatable) as refusal:
        translate(row.pattern)
    assert (refusal.value.construct, refusal.value.position) == (row.construct, row.position)
    assert row.construct in str(refusal.value)


def test_the_corpus_is_large_enough() -> None:
    assert len(TRANSLATED) + len(REFUSED) >= 120
    assert len({row.pattern for row in (*TRANSLATED, *REFUSED)}) == len(TRANSLATED) + len(REFUSED)


def test_opa_reads_every_test_back_as_it_was_written(judge: RegexJudge) -> None:
    translations = [translate(row.pattern) for row in TRANSLATED]
    assert judge.spelled(translations) == [[list(one.positives), list(one.negatives)] for one in translations]
    for test in (test for one in translations for test in (*one.positives, *one.negatives)):
        assert test.startswith(r"\A")
        assert test.isascii()
        assert test.isprintable()
        assert "`" not in test
