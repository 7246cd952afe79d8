"""Translated patterns say what `re.match` says, on patterns that no one wrote by hand."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.equivalence.regex_cases import Case, cases
from tests.equivalence.regex_opa import RegexJudge
from translators.regex import Translation, Untranslatable, translate

PAIRS = 5_000
NIGHTLY_PAIRS = 200_000
BATCH = 1_000
"""Patterns in one question to OPA."""


def test_translations_say_what_re_match_says_on_random_patterns(opa_binary: Path, tmp_path: Path) -> None:
    _no_difference(seed=20, pairs=PAIRS, judge=RegexJudge(opa_binary, tmp_path))


@pytest.mark.skipif(os.environ.get("OSTIARY_NIGHTLY") != "1", reason="the long run; set OSTIARY_NIGHTLY=1")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(8))
def test_translations_say_what_re_match_says_all_night(opa_binary: Path, tmp_path: Path, seed: int) -> None:
    _no_difference(seed, NIGHTLY_PAIRS // 8, RegexJudge(opa_binary, tmp_path))


def _no_difference(seed: int, pairs: int, judge: RegexJudge) -> None:
    counts: Counter[str] = Counter()
    source = cases(seed, 10 * pairs)
    differences: list[tuple[str, str, bool]] = []
    while counts["pairs"] < pairs:
        batch = list(islice(_translated(source, counts), BATCH))
        assert batch, "the cases ran out"
        answers = judge.verdicts([(translation, list(expected)) for _, translation, expected in batch])
        for (case, translation, expected), given in zip(batch, answers, strict=True):
            counts["pairs"] += len(expected)
            counts["matching"] += sum(expected.values())
            wrong = [subject for subject, answer in zip(expected, given, strict=True) if answer != expected[subject]]
            differences += [(case.pattern, subject, expected[subject]) for subject in wrong]
            _literals_hold(case, translation, expected)
    print(f"seed {seed}: {dict(counts)}")  # noqa: T201 - the numbers of the run, shown with `pytest -s`
    assert differences == []
    assert counts["pairs"] / 5 < counts["matching"] < counts["pairs"] / 2, "too few or too many matches to prove much"
    assert counts["refused"] < counts["patterns"] / 2, "too much is refused to prove much"


def _translated(
    source: Iterator[Case], counts: Counter[str]
) -> Iterator[tuple[Case, Translation, dict[str, bool]]]:
    """The cases that have a translation, with what Python says about each subject."""
    for case in source:
        counts["patterns"] += 1
        try:
            translation = translate(case.pattern)
        except Untranslatable as refusal:
            counts["refused"] += 1
            counts[f"refused: {re.sub(r'[(].*[)]', '', refusal.construct)}"] += 1
            continue
        expected = _python(case)
        if expected:
            yield case, translation, expected


def _python(case: Case) -> dict[str, bool]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matching = re.compile(case.pattern).match
    expected = {}
    for subject in case.subjects:
        try:
            expected[subject] = matching(subject) is not None
        except SystemError:
            continue  # CPython 3.11 fails on some possessive quantifiers, so there is no answer to compare with
    return expected


def _literals_hold(case: Case, translation: Translation, expected: dict[str, bool]) -> None:
    for subject, matches in expected.items():
        assert not matches or subject.startswith(translation.literal_prefix), (case.pattern, subject)
        if translation.exact is not None:
            assert matches == (subject == translation.exact), (case.pattern, subject)
