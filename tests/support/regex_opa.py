"""Real OPA as the judge of translated patterns: many patterns and subjects in one evaluation."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from translators.regex import Translation

_LAW = """package equivalence

verdicts := [answers |
	some number, test in tests
	answers := [matches(test, subject) | some subject in input[number]]
]

matches(test, subject) := true if {
	every pattern in test.positives { regex.match(pattern, subject) }
	every pattern in test.negatives { not regex.match(pattern, subject) }
} else := false

found := [regex.find_n(pattern, input, -1) | some pattern in patterns]

spelled := [[test.positives, test.negatives] | some test in tests]
"""


class RegexJudge:
    """Asks OPA, in strict mode, with every pattern in a raw string of a Rego file as the compiler writes it."""

    def __init__(self, opa: Path, folder: Path) -> None:
        self.opa = opa
        self.folder = folder

    def verdicts(self, cases: Iterable[tuple[Translation, list[str]]]) -> list[list[bool]]:
        """For each translation and each of its subjects, whether all tests pass."""
        listed = list(cases)
        self._write("tests", [_test(translation) for translation, _ in listed])
        return self._ask("verdicts", [subjects for _, subjects in listed])

    def found(self, patterns: list[str], subject: str) -> list[list[str]]:
        """For each pattern, the text of all its matches in the subject."""
        self._write("patterns", [_raw(pattern) for pattern in patterns])
        return self._ask("found", subject)

    def spelled(self, translations: list[Translation]) -> list[list[list[str]]]:
        """The positives and negatives as OPA reads them back from raw strings."""
        self._write("tests", [_test(translation) for translation in translations])
        return self._ask("spelled", None)

    def _write(self, name: str, items: list[str]) -> None:
        other = "patterns" if name == "tests" else "tests"
        rules = f"{name} := [{', '.join(items)}]\n\n{other} := []\n"
        (self.folder / "equivalence.rego").write_text(f"{_LAW}\n{rules}")

    def _ask(self, rule: str, document: object) -> Any:
        (self.folder / "input.json").write_text(json.dumps(document))
        command = [self.opa, "eval", "--strict-builtin-errors", "--format=json", "--data=equivalence.rego"]
        command += ["--input=input.json", f"data.equivalence.{rule}"]
        run = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
        return json.loads(run.stdout)["result"][0]["expressions"][0]["value"]


def _test(translation: Translation) -> str:
    positives, negatives = (", ".join(map(_raw, side)) for side in (translation.positives, translation.negatives))
    return f'{{"positives": [{positives}], "negatives": [{negatives}]}}'


def _raw(pattern: str) -> str:
    return f"`{pattern}`"
