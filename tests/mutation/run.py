"""Makes each deliberate mistake in a copy of the project and shows which check noticed it; `make mutants`.

Goldens are left out on purpose: they notice every change of text, and would hide what the cases don't.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Final, TypeAlias

from tests.mutation.identity_mistakes import IDENTITY_MISTAKES
from tests.mutation.list_mistakes import LIST_MISTAKES
from tests.mutation.mistake import Mistake
from tests.mutation.mistakes import MISTAKES
from tests.mutation.provider_mistakes import PROVIDER_MISTAKES
from tests.mutation.quota_mistakes import QUOTA_MISTAKES
from tests.mutation.request_mistakes import REQUEST_MISTAKES
from tests.mutation.service_mistakes import SERVICE_MISTAKES

SERVICE = (*SERVICE_MISTAKES, *PROVIDER_MISTAKES, *QUOTA_MISTAKES, *REQUEST_MISTAKES)
ALL = (*MISTAKES, *LIST_MISTAKES, *IDENTITY_MISTAKES, *SERVICE)

REGO: Final = "rego"
"""The folder of the tests in Rego, which OPA runs."""

Check: TypeAlias = list[str]
"""Arguments of pytest, or `[REGO]`."""

ROOT = Path(__file__).parent.parent.parent
USUAL = ROOT / "tests/mutation/noticed_by.json"
"""The test file that noticed each mistake the last time, by the mistake's name: it is tried first."""

CONFORMANCE: Check = ["tests/conformance/test_altitudes.py", "-k", "rest"]
CHECKS: Sequence[Check] = (
    [REGO],
    CONFORMANCE,
    ["tests/unit/translators"],
    ["tests/equivalence/test_policies.py"],
    ["tests/laws"],
    ["tests/unit/storage", "-k", "filter"],
    ["tests/unit/authz", "-k", "clauses or list"],
    ["tests/unit/regex", "tests/equivalence/test_regex.py"],
)
AT_THE_DOOR: Sequence[Check] = (
    ["tests/unit/authn", "tests/unit/quota", "tests/unit/net", "tests/unit/inference/test_inference_usage.py"],
    ["tests/http/auth", "tests/http/protocol/test_cors_configured.py"],
    ["tests/http/quota"],
)
"""What checks the callers, and the shares that they have: the policy's own checks have no part in it."""

OF_THE_SERVICE: Sequence[Check] = (
    [
        *("tests/unit/inference", "tests/unit/config/test_config_defaults.py", "tests/unit/api", "tests/unit/http"),
        *("tests/unit/quota", "tests/unit/storage", "tests/unit/background", "tests/unit/fairness"),
    ],
    ["tests/unit/authn", "tests/unit/authz"],
    ["tests/http"],
)
"""What checks records, providers and quotas."""


def copy_of_project(folder: Path) -> Path:
    copy = folder / "project"
    for name in ("policy", "translators", "server", "rego", "tests", "examples", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def failing(copy: Path, arguments: Sequence[str]) -> str | None:
    """The first test file that fails in the copy, or `rego` for a test in Rego; None if all pass."""
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command = [os.environ["OSTIARY_OPA"], "test", REGO] if arguments[0] == REGO else [*pytest, *arguments]
    ended = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    if not ended.returncode:
        return None
    named = re.search(r"^(?:FAILED|ERROR) (tests/[^: ]+)", ended.stdout, re.MULTILINE)
    return arguments[0] if named is None else named[1]


def noticed_by(copy: Path, mistake: Mistake, usual: str | None) -> str | None:
    """The test file that notices the mistake in the copy; `usual` is the one that did so the last time."""
    if usual is not None and failing(copy, check_of(usual)):
        return usual
    return next(filter(None, (failing(copy, arguments) for arguments in checks_of(mistake))), None)


def check_of(file: str) -> Check:
    """The check of one test file; the conformance cases are tried at one altitude."""
    return CONFORMANCE if file == CONFORMANCE[0] else [file]


def made(mistake: Mistake, copy: Path) -> None:
    path = copy / mistake.file
    text = path.read_text()
    if text.count(mistake.old) != 1:
        raise SystemExit(f"`{mistake.name}`: its text stands {text.count(mistake.old)} times in {mistake.file}")
    path.write_text(text.replace(mistake.old, mistake.new))


def checks_of(mistake: Mistake) -> Sequence[Check]:
    """What may notice it, the quickest check first."""
    if mistake in IDENTITY_MISTAKES:
        return AT_THE_DOOR
    return OF_THE_SERVICE if mistake in SERVICE else CHECKS


def check_copy(copy: Path, checks: Iterable[Check]) -> None:
    """Raise SystemExit unless the copy is what its tests import, and passes the checks without any mistake."""
    code = "import translators; print(translators.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True, text=True).stdout
    if not found.startswith(str(copy)):
        raise SystemExit(f"the copy isn't what is tested, but {found.strip()}")
    for arguments in checks:
        if (broken := failing(copy, arguments)) is not None:
            raise SystemExit(f"without any mistake, {broken} fails")


def needed(mistakes: Sequence[Mistake], usual: Mapping[str, str]) -> list[Check]:
    """The checks that have to pass without a mistake."""
    files = sorted({usual[each.name] for each in mistakes if each.name in usual})
    new = {id(checks): checks for checks in map(checks_of, (each for each in mistakes if each.name not in usual))}
    return [*map(check_of, files), *chain.from_iterable(new.values())]


def results(mistakes: Sequence[Mistake], usual: Mapping[str, str]) -> Iterator[tuple[Mistake, str | None]]:
    """Each mistake with the test file that noticed it, in the order of the ends; one copy a processor."""
    with tempfile.TemporaryDirectory(prefix="ostiary-mutants-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(os.cpu_count() or 1):
            copies.put(copy_of_project(Path(folder) / str(number)))
        first = copies.get()
        check_copy(first, needed(mistakes, usual))
        copies.put(first)

        def tried(mistake: Mistake) -> tuple[Mistake, str | None]:
            copy = copies.get()
            original = (copy / mistake.file).read_text()
            try:
                made(mistake, copy)
                return mistake, noticed_by(copy, mistake, usual.get(mistake.name))
            finally:
                (copy / mistake.file).write_text(original)
                copies.put(copy)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for done in as_completed([pool.submit(tried, mistake) for mistake in mistakes]):
                yield done.result()


def main() -> int:
    """Print the table, and keep what noticed each mistake; 1 if a mistake went unnoticed."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    usual: dict[str, str] = json.loads(USUAL.read_text())
    mistakes = [mistake for mistake in ALL if wanted in mistake.name]
    survivors = 0
    for mistake, file in results(mistakes, usual):
        survivors += file is None
        sys.stdout.write(f"{file or 'NOT NOTICED'}: {mistake.name} ({mistake.file})\n")
        sys.stdout.flush()
        if file is not None:
            usual[mistake.name] = file
    kept = {mistake.name: usual[mistake.name] for mistake in ALL if mistake.name in usual}
    USUAL.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"{survivors} of {len(mistakes)} mistakes went unnoticed\n")
    return min(survivors, 1)


if __name__ == "__main__":
    sys.exit(main())
