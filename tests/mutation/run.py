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
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from subprocess import PIPE
from typing import Final, TypeAlias

from tests.mutation.background_mistakes import BACKGROUND_MISTAKES
from tests.mutation.batch_input_mistakes import BATCH_INPUT_MISTAKES
from tests.mutation.batch_mistakes import BATCH_MISTAKES
from tests.mutation.dialect_mistakes import DIALECT_MISTAKES
from tests.mutation.extraction_mistakes import EXTRACTION_MISTAKES
from tests.mutation.fairness_mistakes import FAIRNESS_MISTAKES
from tests.mutation.identity_mistakes import IDENTITY_MISTAKES
from tests.mutation.index_mistakes import INDEX_MISTAKES
from tests.mutation.ingestion_mistakes import INGESTION_MISTAKES
from tests.mutation.list_mistakes import LIST_MISTAKES
from tests.mutation.mcp_mistakes import MCP_MISTAKES
from tests.mutation.message_mistakes import MESSAGE_MISTAKES
from tests.mutation.mistake import Mistake
from tests.mutation.mistakes import MISTAKES
from tests.mutation.opa_mistakes import OPA_MISTAKES
from tests.mutation.provider_mistakes import PROVIDER_MISTAKES
from tests.mutation.quota_mistakes import QUOTA_MISTAKES
from tests.mutation.request_mistakes import REQUEST_MISTAKES
from tests.mutation.response_mistakes import RESPONSE_MISTAKES
from tests.mutation.safety_mistakes import SAFETY_MISTAKES
from tests.mutation.sealed_mistakes import SEALED_MISTAKES
from tests.mutation.service_mistakes import SERVICE_MISTAKES
from tests.mutation.socket_mistakes import SOCKET_MISTAKES
from tests.mutation.tool_mistakes import TOOL_MISTAKES
from tests.mutation.vector_mistakes import VECTOR_MISTAKES

SERVICE = (
    *SERVICE_MISTAKES,
    *PROVIDER_MISTAKES,
    *QUOTA_MISTAKES,
    *REQUEST_MISTAKES,
    *FAIRNESS_MISTAKES,
    *OPA_MISTAKES,
    *DIALECT_MISTAKES,
    *INDEX_MISTAKES,
    *VECTOR_MISTAKES,
    *INGESTION_MISTAKES,
    *RESPONSE_MISTAKES,
    *BACKGROUND_MISTAKES,
    *BATCH_INPUT_MISTAKES,
    *BATCH_MISTAKES,
    *MESSAGE_MISTAKES,
    *SOCKET_MISTAKES,
    *TOOL_MISTAKES,
    *MCP_MISTAKES,
    *SEALED_MISTAKES,
    *SAFETY_MISTAKES,
    *EXTRACTION_MISTAKES,
)
ALL = (*MISTAKES, *LIST_MISTAKES, *IDENTITY_MISTAKES, *SERVICE)

REGO: Final = "rego"
"""The folder of the tests in Rego, which OPA runs."""

Check: TypeAlias = list[str]
"""Arguments of pytest, or `[REGO]`."""

ROOT = Path(__file__).parent.parent.parent
KNOWN = ROOT / "tests/mutation/noticed_by.json"
"""The test that notices each mistake, by the mistake's name: `file::test`, or `file`; `rego` for the tests in Rego.

It alone is tried. Without an entry all tests are, which takes minutes, and the one that notices is written down.
"""

CHECKS: Sequence[Check] = (
    [REGO],
    ["tests/conformance/test_altitudes.py", "-k", "rest"],
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
        "tests/unit/extraction",
    ],
    ["tests/unit/authn", "tests/unit/authz"],
    ["tests/http"],
)
"""What checks records, providers and quotas."""


class Copy:
    """A copy of the project in `folder`, and a process that runs its tests."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "project"
        for name in ("policy", "translators", "server", "rego", "tests", "examples", "docs"):
            shutil.copytree(ROOT / name, self.path / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", self.path)
        self._changes = count(1)
        command = [sys.executable, "tests/mutation/runner.py"]
        self._runner = subprocess.Popen(command, cwd=self.path, stdin=PIPE, stdout=PIPE, text=True)

    def close(self) -> None:
        """End the process."""
        self._runner.communicate()

    def failing(self, arguments: Sequence[str]) -> str | None:
        """The first test that fails, as `file::test`, or `rego` for a test in Rego; None if all pass."""
        if arguments[0] == REGO:
            opa = [os.environ["OSTIARY_OPA"], "test", REGO]
            return REGO if subprocess.run(opa, cwd=self.path, capture_output=True, check=False).returncode else None
        pipes = self._runner
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write(json.dumps(["-x", "-q", "-p", "no:cacheprovider", *arguments]) + "\n")
        pipes.stdin.flush()
        status, output = json.loads(pipes.stdout.readline())
        if not status:
            return None
        named = re.search(r"^(?:FAILED|ERROR) (tests/[^:\s]+(?:::\w+)*)", output, re.MULTILINE)
        return arguments[0] if named is None else named[1]

    @contextmanager
    def with_mistake(self, mistake: Mistake) -> Iterator[None]:
        """The copy has the mistake within the block."""
        path = self.path / mistake.file
        text, times = path.read_text(), path.stat()
        if text.count(mistake.old) != 1:
            raise SystemExit(f"`{mistake.name}`: its text stands {text.count(mistake.old)} times in {mistake.file}")
        path.write_text(text.replace(mistake.old, mistake.new))
        # Python takes compiled code for that of a file of the same size and of the same second.
        second = next(self._changes)
        os.utime(path, (second, second))
        try:
            yield
        finally:
            path.write_text(text)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def noticed_by(copy: Copy, mistake: Mistake, known: str | None) -> str | None:
    """The test that notices the mistake in the copy; only where none is known it is looked for among all of them."""
    checks = checks_of(mistake) if known is None else [[known]]
    return next(filter(None, map(copy.failing, checks)), None)


def checks_of(mistake: Mistake) -> Sequence[Check]:
    """What may notice it, the quickest check first."""
    if mistake in IDENTITY_MISTAKES:
        return AT_THE_DOOR
    return OF_THE_SERVICE if mistake in SERVICE else CHECKS


def check_copy(copy: Copy, tests: Collection[str]) -> None:
    """Raise SystemExit unless the copy is what its tests import, and passes the tests without any mistake."""
    code = "import translators; print(translators.__file__)"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=copy.path, check=True, capture_output=True, text=True).stdout
    if not found.startswith(str(copy.path)):
        raise SystemExit(f"the copy isn't what is tested, but {found.strip()}")
    for arguments in ([REGO], sorted({*tests} - {REGO})):
        if arguments and (broken := copy.failing(arguments)) is not None:
            raise SystemExit(f"without any mistake, {broken} fails")


def results(mistakes: Sequence[Mistake], known: Mapping[str, str]) -> Iterator[tuple[Mistake, str | None]]:
    """Each mistake with the test that noticed it, in the order of the ends; one copy a processor."""
    with tempfile.TemporaryDirectory(prefix="ostiary-mutants-") as folder, ExitStack() as opened:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(os.cpu_count() or 1):
            copies.put(opened.enter_context(closing(Copy(Path(folder) / str(number)))))
        first = copies.get()
        check_copy(first, {known[mistake.name] for mistake in mistakes if mistake.name in known})
        copies.put(first)

        def tried(mistake: Mistake) -> tuple[Mistake, str | None]:
            copy = copies.get()
            try:
                with copy.with_mistake(mistake):
                    test = noticed_by(copy, mistake, known.get(mistake.name))
                if test is not None and mistake.name not in known:
                    check_copy(copy, [test])
            finally:
                copies.put(copy)
            return mistake, test

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for done in as_completed([pool.submit(tried, mistake) for mistake in mistakes]):
                yield done.result()


def main() -> int:
    """Print the table, and keep what noticed each mistake; 1 if a mistake went unnoticed."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    known: dict[str, str] = json.loads(KNOWN.read_text())
    mistakes = [mistake for mistake in ALL if wanted in mistake.name]
    survivors = 0
    for mistake, test in results(mistakes, known):
        survivors += test is None
        sys.stdout.write(f"{test or 'NOT NOTICED'}: {mistake.name} ({mistake.file})\n")
        sys.stdout.flush()
        if test is not None:
            known[mistake.name] = test
    kept = {mistake.name: known[mistake.name] for mistake in ALL if mistake.name in known}
    KNOWN.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"{survivors} of {len(mistakes)} mistakes went unnoticed\n")
    return min(survivors, 1)


if __name__ == "__main__":
    sys.exit(main())
