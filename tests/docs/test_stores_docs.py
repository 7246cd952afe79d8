"""The pages about vector stores and responses: their pieces of Python, run one after the other by a reader."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.support.application import ByToken
from tests.support.real_policy import decided

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n(?P<code>.*?)```", re.DOTALL)
PAGES = ("docs/api/vector-stores.md", "docs/api/responses.md", "docs/operate/reading-files.md")
CONFIG = """
    version: 2
    apis: [inference, vector_io, agents]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: mistral-7b, provider_id: echo}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
    """


@pytest.fixture(scope="module")
def client(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """A caller of a server with little configuration, as its default policy has it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        with (
            decided(CONFIG, opa_binary, home, authenticator=ByToken()) as house,
            openai.OpenAI(base_url=f"{house.address.url}/v1", api_key="alice", max_retries=0) as made,
        ):
            yield made


def printed(page: str, client: openai.OpenAI) -> list[str]:
    """What the pieces of a page print."""
    names = {"client": client, "data": b"caf\xe9"}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        for block in BLOCK.finditer((ROOT / page).read_text()):
            exec(compile(block["code"], page, "exec"), names)  # noqa: S102 - it is this repository's
    return out.getvalue().splitlines()


def test_a_store_is_filled_and_searched(client: openai.OpenAI) -> None:
    status, hit, *text, words = printed(PAGES[0], client)
    assert status == "completed None"
    assert hit.split()[1] == "doors.md"
    assert text[-1] == "The red door leads to the garden. The blue door leads to the cellar."
    assert words == "['doors.md']"


def test_a_directory_goes_in_by_the_command_of_the_page(client: openai.OpenAI, tmp_path: Path) -> None:
    (command,) = re.findall(r"```sh\n(OSTIARY_TOKEN=.*)\n```", (ROOT / PAGES[0]).read_text())
    store = client.vector_stores.create().id
    (tmp_path / "handbook").mkdir()
    (tmp_path / "handbook" / "a.md").write_text("the red door")
    command = command.replace("$DEVELOPER", "alice").replace("vs_…", store)
    done = subprocess.run(
        ["/bin/bash", "-c", f'ostiary() {{ "{sys.executable}" -m server.cli.main "$@"; }}; {command}'],
        cwd=tmp_path,
        env={**os.environ, "OSTIARY_URL": str(client.base_url).removesuffix("/v1/")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "1 files: 0 were there already, 0 are not taken in\n"), done.stderr
    assert [hit.filename for hit in client.vector_stores.search(store, query="a door")] == ["a.md"]


def test_responses_go_on_and_stream(client: openai.OpenAI) -> None:
    assert printed(PAGES[1], client) == [
        "echo: what is my name?",
        "['user', 'assistant', 'user']",
        "echo: hello",
        "['user', 'assistant']",
    ]


def test_a_file_of_another_charset_is_uploaded(client: openai.OpenAI) -> None:
    printed(PAGES[2], client)
    # The newest comes first; other pages upload a file of that name, too.
    file = next(each for each in client.files.list() if each.filename == "notes.txt")
    store = client.vector_stores.create()
    taken = client.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id)
    assert taken.status == "completed"
    assert next(iter(client.vector_stores.files.content(file.id, vector_store_id=store.id))).text == "caf\u00e9"
