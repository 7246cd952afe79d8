"""Laws of the compiler: what it makes depends on the policies and on nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.conformance_files import ConformanceFile, conformance_files
from tests.support.opa_engine import compile_config

ROOT = Path(__file__).parents[2]
AUTH_SECTIONS = [
    "{access_policy: [{permit: {actions: read}}]}",
    "{access_policy: [{forbid: {actions: read}}]}",
    "{access_policy: [{permit: {actions: update}}]}",
    "{access_policy: [{permit: {actions: read, principal: ann}}]}",
    "{access_policy: [{permit: {actions: read, resource: 'model::a'}}]}",
    "{access_policy: [{permit: {actions: read}, when: user is owner}]}",
    "{access_policy: [{permit: {actions: read}, unless: user is owner}]}",
    "{access_policy: [{permit: {actions: read}, description: reading}]}",
    "{access_policy: [{permit: {actions: read}}], provider_config: {type: oauth2_token}}",
    "{access_policy: [{permit: {actions: read}}], route_policy: [{permit: {paths: /v1/models}}]}",
]

HASHES = """
import hashlib
from tests.support.opa_engine import compile_config
from tests.support.conformance_files import conformance_files
for file in conformance_files():
    print(file.id, hashlib.sha256(compile_config(file.config, file.environ).archive).hexdigest())
"""


def test_compile_is_deterministic() -> None:
    def hashes(seed: str) -> str:
        command = [sys.executable, "-c", HASHES]
        environ = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True).stdout

    first = hashes("1")
    assert len(first.splitlines()) == len(conformance_files())
    assert hashes("2") == first


@pytest.mark.parametrize("file", conformance_files(), ids=lambda file: file.id)
def test_the_environment_of_the_compiler_is_no_part_of_a_bundle(file: ConformanceFile) -> None:
    noisy = {**file.environ, "UNRELATED": "value"}
    assert compile_config(file.config, noisy).archive == compile_config(file.config, file.environ).archive


def test_another_policy_has_another_revision() -> None:
    revisions = {compile_config(f"{{server: {{auth: {auth}}}}}").revision for auth in AUTH_SECTIONS}
    assert len(revisions) == len(AUTH_SECTIONS)
