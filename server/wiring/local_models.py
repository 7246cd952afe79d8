"""Building of the providers that run a model on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Final

from server.config.local_models import LlamaCppSettings, WordLlamaSettings
from server.inference.file_parts import FILE
from server.inference.members import EVERYTHING, MemberRules
from server.inference.one_prompt import OnePrompt
from server.inference.provider import Provider, Task
from server.inference.providers.dialects import STORING
from server.inference.providers.llama_cpp.client import LlamaCpp, turns
from server.inference.providers.llama_cpp.forms import GRAMMAR
from server.inference.providers.llama_cpp.process import ModelFile
from server.inference.providers.vector_answers import VectorRoom
from server.inference.providers.word_llama import WordLlamaVectors, model_files, tokenizer_file
from server.inference.shared import SharedChat, SharedCounter
from server.json_input.reader import Reader

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def llama_cpp(name: str, settings: LlamaCppSettings, reader: Reader, workers: int) -> Provider:
    """Return the provider of the model in a file, of which each of the server's `workers` runs one."""
    file = settings.file
    if file is None:
        raise ValueError(f"the provider `{name}` has no file")  # the check of the configuration has said so
    client = LlamaCpp(
        name,
        ModelFile(
            file,
            settings.sha256,
            settings.context,
            settings.parallel,
            settings.threads or max(1, (cores() - 1) // workers),
            settings.shared_cache,
        ),
        reader,
        takes_grammars=not {GRAMMAR, EVERYTHING}.isdisjoint(settings.allow_members),
    )
    rules = MemberRules(frozenset(settings.allow_members), refused=STORING, lacks=frozenset({FILE}))
    shared = SharedChat(OnePrompt(client), turns(settings.parallel))
    return Provider(
        client,
        shared,
        rules,
        frozenset({Task.CHAT, Task.TEXT}),
        counter=SharedCounter(client, shared.turn),
        thoughts="reasoning_content",
    )


def word_llama(name: str, settings: WordLlamaSettings, reader: Reader, room: VectorRoom) -> Provider:
    """Return the provider of the embedding model that a package carries."""
    service = WordLlamaVectors(name, reader, room)
    rules = MemberRules(frozenset(settings.allow_members), is_local=True)
    tasks = frozenset({Task.EMBEDDING})
    return Provider(service, service, rules, tasks, tokenizer=tokenizer_file, files=model_files)


def cores() -> int:
    """Return the number of cores that this process may use, by the machine and by its container."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = map(int, _QUOTA.read_text().split())  # the first is `max` where there is no quota
        found = min(found, ceil(quota / period))
    return max(1, found)
