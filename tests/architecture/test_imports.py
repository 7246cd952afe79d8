"""The directions of imports, and the names that this application takes in its environment."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
OURS = {"server", "policy", "translators", "rego"}


def test_imports_go_in_their_direction() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_contracts_name_every_resource_of_the_api() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [each["layers"] for each in contracts if each.get("containers") == ["server.api"]]
    [about_server] = [each for each in contracts if each.get("forbidden_modules") == ["server.api.system"]]
    packages = {path.parent.name for path in (ROOT / "server" / "api").glob("*/__init__.py")} - {"system"}
    assert {name for layer in layers for name in layer.split(" | ")} == packages
    assert {name.removeprefix("server.api.") for name in about_server["source_modules"]} == packages


def test_the_language_needs_nothing_but_yaml() -> None:
    code = (
        "import policy.parser, policy.source.rendering, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    foreign = set(done.stdout.split()) - set(sys.stdlib_module_names) - {"policy", "yaml", "_yaml", "cython_runtime"}
    assert {
        name for name in foreign if not name.startswith(("_", "__editable__", "sitecustomize", "usercustomize"))
    } == set()


def test_no_other_distribution_owns_our_import_names() -> None:
    for distribution in distributions():
        if distribution.name != "ostiary":
            tops = {path.parts[0] for path in distribution.files or () if len(path.parts) > 1}
            assert not tops & OURS, distribution.name
