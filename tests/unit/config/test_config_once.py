"""A mistake that the policies and the rest of the file both notice is printed once, by the command that reads both."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2] / "golden"
HEAD = re.compile(r"^(\S+\.yaml:\d+:\d+): (?:error|warning): (.*)$", re.MULTILINE)
CASES = [
    *("authentication-without-type", "keys-in-the-wrong-place", "unknown-keys"),
    *("sections-of-the-wrong-kind", "variables-missing", "variable-malformed"),
    *("section-misplaced-policies", "section-not-a-mapping", "section-provider-missing-variable"),
    *("section-provider-type-null", "section-lenient-patterns-not-boolean"),
    "section-auth-at-the-top",
]


def printed(path: Path, status: int = 2) -> list[tuple[str, str]]:
    command = [sys.executable, "-m", "server.cli.main", "run", "--check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return HEAD.findall(done.stderr)


@pytest.mark.parametrize("name", CASES)
def test_each_place_has_one_error(name: str) -> None:
    (path,) = GOLDEN.glob(f"*/{name}.yaml")
    places = Counter(place for place, _ in printed(path))
    assert places
    assert set(places.values()) == {1}


def test_the_old_form_is_moved_with_a_warning(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "server:\n  auth:\n    require: true\n    provider_type: oauth2_token\n    config: {jwks: {uri: 'https://a'}}\n"
        "    access_policy:\n    - permit: {actions: read}\n      when: user with a in roles\n"
    )
    told = [message for place, message in printed(config, 0) if place.endswith("config.yaml:4:5")]
    assert told[0] == "moved: `provider_type` and `config` are `provider_config`, with the `type` in it"
    assert told[1].startswith("replaced: the default of Llama Stack is written out: `audience`, ")


def test_what_the_environment_lacks_is_named_together(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("server:\n  host: ${env.HOST_X}\n  auth:\n    provider_config: {type: '${env.TYPE_X}'}\n")
    ((_, message),) = printed(config)
    assert message == "the environment lacks `HOST_X` and `TYPE_X` in line 4"
