"""Keys of providers in files: `${file:PATH}` as the whole of a value."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent

import pytest
from pydantic import SecretStr

from policy.source.rendering import render
from server.config.provider_keys import FileSecret
from server.config.providers import RemoteSettings
from tests.support.config_texts import NAME, errors, load, read

KEY = "key-canary-1"
URL = "base_url: https://far.example"
KEYS = [
    ("remote::openai", "", "api_key"),
    ("remote::vllm", f"{URL}, ", "api_token"),
    ("remote::groq", "", "api_key"),
    ("remote::groq", "", "api_token"),
    ("remote::azure", f"{URL}, ", "api_key"),
    ("remote::bedrock", "region: us-east-1, ", "api_key"),
    ("remote::bedrock", "region: us-east-1, ", "aws_bearer_token_bedrock"),
]


def text(kind: str, more: str, name: str, value: object) -> str:
    return f"""\
        providers:
          inference:
          - provider_id: p
            provider_type: {kind}
            config: {{{more}{name}: "{value}"}}
        """


@pytest.mark.parametrize(("kind", "more", "name"), KEYS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_key_is_read_from_its_file(kind: str, more: str, name: str, end: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(f"{KEY}{end}".encode())
    [found] = load(text(kind, more, name, f"${{file:{file}}}")).providers["inference"]
    assert isinstance(found.config, RemoteSettings)
    key = found.config.key
    assert isinstance(key, FileSecret)
    assert (key.get_secret_value(), key.path) == (KEY, file)
    assert KEY not in repr(found)
    assert KEY not in str(found.config.model_dump())


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "can't be read (No such file or directory)"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"key-canary\n\n", "holds a blank, a line break or another character that a header can't carry"),
        (b"key canary", "holds a blank, a line break or another character that a header can't carry"),
        (b"\xff", "holds something other than text"),
        (b"k" * (64 * 1024 + 1), "has more than 65536 bytes"),
    ],
)
def test_a_file_without_a_key_is_refused_with_its_place(content: bytes | None, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    for kind, more, name in KEYS:
        wrong = text(kind, more, name, f"${{file:{file}}}")
        line = wrong.splitlines()[4]
        place = f"5:{line.index(name) - 8 + len(name) + 3}"
        assert errors(wrong) == [f"{place}: `{name}` names the file `{file}`, which {fault}"]


def test_a_file_without_a_key_is_shown_by_its_name_and_never_by_what_it_holds(tmp_path: Path) -> None:
    for content in (None, f"{KEY} {KEY}"):
        file = tmp_path / ("x" * 100)
        if content is not None:
            file.write_text(content)
        for kind, more, name in KEYS:
            wrong = text(kind, more, name, f"${{file:{file}}}")
            shown = render(read(wrong)[1], {NAME: dedent(wrong)}, color=False)
            assert f"names the file `{file}`, which" in shown
            assert "***" not in shown
            assert KEY not in shown
            # What stands beside it is hidden as before.
            for word in (f"${{file:{file}}}{KEY}", f"{KEY}${{file:{file}}}"):
                wrong = text(kind, more, name, word)
                assert KEY not in render(read(wrong)[1], {NAME: dedent(wrong)}, color=False)


def test_the_largest_file_a_pipe_and_a_directory(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"k" * (64 * 1024))
    load(text(*KEYS[0], f"${{file:{file}}}"))
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        [fault] = errors(text(*KEYS[0], f"${{file:{tmp_path / name}}}"))
        assert "names the file `" in fault


def test_only_a_whole_key_of_a_provider_stands_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    named = f"${{file:{file}}}"
    for wrong, environ in (
        (text("remote::openai", "", "base_url", named), {}),
        (text("remote::openai", "", "api_key", f"{named}x"), {}),
        (text("remote::openai", "", "api_key", "${env.KEY}"), {"KEY": named}),
        (f"        server: {{opa: {{url: 'http://127.0.0.1:9', token: '{named}'}}}}", {}),
    ):
        [fault] = errors(wrong, **environ)
        assert "takes no `${file:…}`; only keys of providers do, as the whole of what is written" in fault
        assert str(file) not in fault


def test_a_key_of_the_file_is_what_it_was() -> None:
    [found] = load(text(*KEYS[0], "plain")).providers["inference"]
    assert isinstance(found.config, RemoteSettings)
    assert type(found.config.key) is SecretStr
