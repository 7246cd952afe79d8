"""Makes each deliberate mistake in a copy of the project and shows which check noticed it; `make mutants`.

Goldens are left out on purpose: they notice every change of text, and would hide what the cases don't.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeAlias

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

Check: TypeAlias = tuple[str, list[str]]
"""A name, and the arguments of pytest or OPA."""

ROOT = Path(__file__).parent.parent.parent
CHECKS = (
    ("Rego tests", ["opa", "test", "rego"]),
    ("conformance", ["tests/conformance/test_altitudes.py", "-k", "rest"]),
    ("compiler tests", ["tests/unit/translators"]),
    ("random policies", ["tests/equivalence/test_policies.py"]),
    ("laws", ["tests/laws"]),
    ("SQL", ["tests/unit/storage", "-k", "filter"]),
    ("the server's reading", ["tests/unit/authz", "-k", "clauses or list"]),
    ("patterns", ["tests/unit/regex", "tests/equivalence/test_regex.py"]),
)
AT_THE_DOOR = (
    (
        "callers, shares",
        ["tests/unit/authn", "tests/unit/quota", "tests/unit/net", "tests/unit/inference/test_inference_usage.py"],
    ),
    (
        "callers (HTTP)",
        ["tests/http/auth", "tests/http/protocol/test_cors_configured.py"],
    ),
    ("shares (HTTP)", ["tests/http/quota"]),
)
"""What checks who is asking, and what everybody may use: the policy's own checks have no part in it."""


OF_THE_SERVICE = (
    (
        "units",
        [
            "tests/unit/inference",
            "tests/unit/config/test_config_defaults.py",
            "tests/unit/api",
            "tests/unit/http",
            "tests/unit/quota",
            *(
                f"tests/unit/storage/test_storage_{name}.py"
                for name in ("blobs_disk", "claims", "databases", "guarded")
            ),
        ],
    ),
    (
        "identity, log",
        [
            "tests/unit/authn/test_authn_chosen.py",
            *(f"tests/unit/authz/test_authz_{name}.py" for name in ("decision_log", "log_disk", "pdp", "use_limit")),
        ],
    ),
    (
        "the service (HTTP)",
        [
            f"tests/http/{name}.py"
            for name in (
                "conversations/test_conversations_references",
                "models/test_long_model_lists",
                "chat/test_streams",
                "quota/test_budget_reservations",
                "quota/test_request_quotas",
                "quota/test_storage_quotas",
                "files/test_files_slow_uploads",
                "files/test_files_forms",
                "chat/test_stored_chats",
            )
        ],
    ),
)
"""What checks records, providers and quotas."""


def copy_of_project(folder: Path) -> Path:
    copy = folder / "project"
    for name in ("policy", "translators", "server", "rego", "tests", "examples", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def noticed_by(copy: Path, checks: Sequence[Check]) -> str | None:
    """The first of `checks` that fails in the copy."""
    for name, arguments in checks:
        pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command = [os.environ["OSTIARY_OPA"], *arguments[1:]] if arguments[0] == "opa" else [*pytest, *arguments]
        if subprocess.run(command, cwd=copy, capture_output=True, check=False).returncode:
            return name
    return None


def made(mistake: Mistake, copy: Path) -> None:
    path = copy / mistake.file
    text = path.read_text()
    if text.count(mistake.old) != 1:
        raise SystemExit(f"`{mistake.name}`: its text stands {text.count(mistake.old)} times in {mistake.file}")
    path.write_text(text.replace(mistake.old, mistake.new))


def checks_of(mistake: Mistake) -> Sequence[Check]:
    """What may notice it."""
    if mistake in IDENTITY_MISTAKES:
        return AT_THE_DOOR
    return OF_THE_SERVICE if mistake in SERVICE else CHECKS


def check_copy(copy: Path) -> None:
    """Raise SystemExit unless the copy is what its tests import, and passes them without any mistake."""
    code = "import translators; print(translators.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True, text=True).stdout
    if not found.startswith(str(copy)):
        raise SystemExit(f"the copy isn't what is tested, but {found.strip()}")
    if (broken := noticed_by(copy, (*CHECKS, *AT_THE_DOOR, *OF_THE_SERVICE))) is not None:
        raise SystemExit(f"without any mistake, {broken} fail")


def results(wanted: str) -> Iterator[tuple[Mistake, str | None]]:
    """Each mistake whose name holds `wanted`, with the check that noticed it; one copy of the project a processor."""
    with tempfile.TemporaryDirectory(prefix="ostiary-mutants-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(os.cpu_count() or 1):
            copies.put(copy_of_project(Path(folder) / str(number)))
        first = copies.get()
        check_copy(first)
        copies.put(first)

        def tried(mistake: Mistake) -> tuple[Mistake, str | None]:
            copy = copies.get()
            original = (copy / mistake.file).read_text()
            try:
                made(mistake, copy)
                return mistake, noticed_by(copy, checks_of(mistake))
            finally:
                (copy / mistake.file).write_text(original)
                copies.put(copy)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            yield from pool.map(tried, [mistake for mistake in ALL if wanted in mistake.name])


def main() -> int:
    """Print the table; 1 if a mistake went unnoticed."""
    survivors = 0
    for mistake, check in results(sys.argv[1] if len(sys.argv) > 1 else ""):
        survivors += check is None
        sys.stdout.write(f"{check or 'NOT NOTICED':<16} {mistake.name} ({mistake.file})\n")
        sys.stdout.flush()
    sys.stdout.write(f"{survivors} of {len(ALL)} mistakes went unnoticed\n")
    return min(survivors, 1)


if __name__ == "__main__":
    sys.exit(main())
