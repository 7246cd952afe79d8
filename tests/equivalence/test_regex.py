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

from tests.support.regex_cases import Case, cases, small_cases
from tests.support.regex_opa import RegexJudge
from translators.regex import Translation, Untranslatable, translate

PAIRS = 10_000
"""Pairs of a random pattern and a subject; about a quarter of the patterns are refused."""

SMALL_PATTERNS = 2_000
"""Patterns that are tried on each of some 120 small subjects."""

NIGHTLY_PAIRS = 200_000
BATCH = 1_000
"""Patterns in one question to OPA."""


def test_translations_say_what_re_match_says_on_random_patterns(opa_binary: Path, tmp_path: Path) -> None:
    counts = _no_difference(cases(20, PAIRS), RegexJudge(opa_binary, tmp_path))
    assert counts["pairs"] >= PAIRS / 2, "too much is refused to prove much"
    assert counts["pairs"] / 5 < counts["matching"] < counts["pairs"] / 2, "too few or too many matches to prove much"


def test_translations_say_what_re_match_says_on_every_small_subject(opa_binary: Path, tmp_path: Path) -> None:
    _no_difference(small_cases(20, SMALL_PATTERNS), RegexJudge(opa_binary, tmp_path))


@pytest.mark.skipif(os.environ.get("OSTIARY_NIGHTLY") != "1", reason="the long run; set OSTIARY_NIGHTLY=1")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(8))
def test_translations_say_what_re_match_says_all_night(opa_binary: Path, tmp_path: Path, seed: int) -> None:
    judge = RegexJudge(opa_binary, tmp_path)
    assert _no_difference(cases(seed, NIGHTLY_PAIRS // 4), judge)["pairs"] >= NIGHTLY_PAIRS / 8
    _no_difference(small_cases(seed, 5 * SMALL_PATTERNS), judge)


def _no_difference(source: Iterator[Case], judge: RegexJudge) -> Counter[str]:
    """How often what happened; fails if OPA and Python differ anywhere."""
    counts: Counter[str] = Counter()
    differences: list[tuple[str, str, bool]] = []
    while batch := list(islice(_translated(source, counts), BATCH)):
        answers = judge.verdicts([(translation, list(expected)) for _, translation, expected in batch])
        for (case, translation, expected), given in zip(batch, answers, strict=True):
            counts["pairs"] += len(expected)
            counts["matching"] += sum(expected.values())
            wrong = [subject for subject, answer in zip(expected, given, strict=True) if answer != expected[subject]]
            differences += [(case.pattern, subject, expected[subject]) for subject in wrong]
            _literals_hold(case, translation, expected)
    print(dict(counts))  # noqa: T201 - the numbers of the run, shown with `pytest -s`
    assert differences == []
    return counts


def _translated(source: Iterator[Case], counts: Counter[str]) -> Iterator[tuple[Case, Translation, dict[str, bool]]]:
    """The cases that have a translation, with what Python says about each subject."""
    for case in source:
        counts["patterns"] += 1
        try:
            translation = translate(case.pattern)
        except Untranslatable as refusal:
            counts["refused"] += 1
            counts[f"refused: {refusal.construct}"] += 1
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
        assert not matches or translation.required_text in subject, (case.pattern, subject)
        begun = [start for start in translation.starts if subject.startswith(start.text)]
        assert matches <= bool(begun), (case.pattern, subject)
        assert matches >= any(start.complete for start in begun), (case.pattern, subject)
        if translation.exact is not None:
            assert matches == (subject == translation.exact), (case.pattern, subject)
