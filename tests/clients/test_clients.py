"""Real clients against `ostiary run`: what app developers see who use OpenAI's SDK, or what builds on it.

Each client is driven by a script of this folder in an environment of its own, which `make clients` makes.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.authn.key_store import KeyStore
from tests.support.mcp_server import mcp_server
from tests.support.openai_upstream import openai_upstream
from tests.support.ostiary_run import environment, running, written

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / "build"
LANGCHAIN, LITELLM, LLAMA_INDEX, OGX = "langchain", "litellm", "llama-index", "ogx"
SCRIPTS = {
    # In three versions.
    "with_anthropic": (LANGCHAIN, LITELLM, LLAMA_INDEX),
    "with_instructor": (LITELLM,),
    "with_langchain": (LANGCHAIN,),
    "with_litellm": (LITELLM,),
    "with_llama_index": (LLAMA_INDEX,),
    "with_llama_stack": (OGX,),
    "with_ogx": (OGX,),
    # In three versions.
    "with_openai": (LANGCHAIN, LITELLM, LLAMA_INDEX),
    "with_open_responses": (LANGCHAIN,),
    "with_openai_agents": (LANGCHAIN,),
    # In three versions.
    "with_openai_types": (LANGCHAIN, LITELLM, LLAMA_INDEX),
    "with_pydantic_ai": (LANGCHAIN,),
}
"""Scripts, and the environments that have their client."""

CONFIG = """\
version: 2
apis: [inference, vector_io, agents, tool_runtime]
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
    - {provider_id: far, provider_type: remote::openai, config: {base_url: FAR, api_key: sk-far}}
  tool_runtime:
    - provider_id: mcp
      provider_type: remote::model-context-protocol
      config: {allowed_hosts: ["TOOLS"], allow_http: ["127.0.0.1"], allow_private: ["127.0.0.1"]}
models:
  - {model_id: echo, provider_id: echo}
  - {model_id: echo-vectors, provider_id: echo, model_type: embedding, metadata: {embedding_dimension: 8}}
  - {model_id: gpt-4o-mini, provider_id: far, provider_model_id: far-gpt}
  - {model_id: text-embedding-3-small, provider_id: far, provider_model_id: far-vectors, model_type: embedding}
vector_stores:
  default_embedding_model: {provider_id: echo, model_id: echo-vectors}
server:
  decision_log: LOG
  auth:
    provider_config: {type: api_key, db_path: KEYS}
"""
"""No `access_policy`: what somebody makes belongs to its maker alone."""


@pytest.fixture(scope="module")
def environ(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a script, with the address of the running server; its keys are in HOME."""
    folder = tmp_path_factory.mktemp("clients")
    with openai_upstream() as far, mcp_server() as tools:
        text = CONFIG.replace("KEYS", str(folder / "keys.db")).replace("FAR", far)
        config = written(folder, text.replace("TOOLS", tools.url.split("/")[2]))
        with running(config, environment(folder, opa_binary)) as server:
            # LiteLLM would fetch a table of prices first.
            alone = {"PATH": os.environ["PATH"], "HOME": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
            yield {**alone, "SERVER": server.address, "TOOLS": tools.url}


def callers(environ: dict[str, str], name: str) -> dict[str, str]:
    """The keys of two new callers, of whom nothing is stored yet."""
    keys = KeyStore(Path(environ["HOME"]) / "keys.db")
    return {each: keys.create(f"{each.lower()}-{name}", {}, None) for each in ("ALICE", "BOB")}


def parts_of(script: str) -> list[str]:
    """The names of the parts that a script does."""
    last = ast.parse((HERE / f"{script}.py").read_text()).body[-1]
    assert isinstance(last, ast.Expr) and isinstance(last.value, ast.Call)
    return [argument.id for argument in last.value.args if isinstance(argument, ast.Name)]


def test_every_part_of_a_script_is_done() -> None:
    assert {*SCRIPTS} == {path.stem for path in HERE.glob("with_*.py")}
    for script in SCRIPTS:
        found = ast.parse((HERE / f"{script}.py").read_text()).body
        parts = parts_of(script)
        functions = {each.name for each in found if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert parts and {*parts} <= functions, script


@pytest.mark.skipif("OSTIARY_NIGHTLY" not in os.environ, reason="`make clients` runs this")
@pytest.mark.parametrize(("script", "name"), [(script, name) for script, names in SCRIPTS.items() for name in names])
def test_the_client_works(script: str, name: str, environ: dict[str, str]) -> None:
    python = ENVIRONMENTS / f"clients-{name}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"build/clients-{name} is not there: `make clients` makes it, or says why it can't")
    done = subprocess.run(
        [str(python), f"{script}.py"],
        cwd=HERE,
        env={**environ, **callers(environ, f"{script}-{name}")},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Some clients write there too.
    assert re.findall(r"^done (\w+)$", done.stdout, re.MULTILINE) == parts_of(script)
