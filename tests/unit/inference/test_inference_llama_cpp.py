"""The child process of `inline::llama-cpp`: files that can't be served, memory, health, and the wait for a model."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from server.config.local_models import packaged_model
from server.fairness.shares import FairShares
from server.inference.attachments import SENT, Attachments
from server.inference.provider import ChatRequest, Fault, HealthStatus, ProviderFailed
from server.inference.providers.llama_cpp import process
from server.inference.providers.llama_cpp.client import LlamaCpp
from server.inference.providers.llama_cpp.process import ModelAbsent, ModelFile, ModelProcess
from server.json_input.reader import Reader
from tests.support.gguf_files import head, untaught
from tests.support.model_process import running, until


@pytest.fixture(scope="module")
def model() -> Path:
    found = packaged_model()
    assert found is not None
    return found


def fault(file: ModelFile) -> str:
    told = list[str]()

    async def wait(made: ModelProcess) -> None:
        with pytest.raises(ModelAbsent) as absent:
            await made.ready()
        told.append(str(absent.value))
        assert made.absent == told[0]

    running(file, wait)
    return told[0].removeprefix("can't load its model: ")


def test_each_wrong_file_is_one_sentence_without_its_name(model: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "secret-name.gguf"
    wrong.write_bytes(b"hello")
    assert fault(ModelFile(wrong)) == "its file is no GGUF file"
    with model.open("rb") as whole:
        wrong.write_bytes(whole.read(4_000_000))
    assert fault(ModelFile(wrong)) == "its file is cut short, at 4.0 MB of 98.4 MB"
    wrong.write_bytes(head({"general.architecture": "nothing"}))
    assert fault(ModelFile(wrong)) == "llama.cpp refuses its file"
    assert fault(ModelFile(wrong, sha256="0" * 64)) == "its file has another `sha256` than the configuration says"
    wrong.write_bytes(head({"split.count": 2}))
    sentence = "it is in several files, of which `sha256` can verify one alone"
    assert fault(ModelFile(wrong, sha256="0" * 64)) == sentence
    wrong.unlink()
    assert fault(ModelFile(wrong)) == "its file can't be read (No such file or directory)"
    os.mkfifo(wrong)
    assert fault(ModelFile(wrong)) == "its file is no GGUF file"


def test_a_model_that_needs_more_memory_than_there_is_is_not_loaded(tmp_path: Path) -> None:
    huge = tmp_path / "huge.gguf"
    huge.write_bytes(head({"general.architecture": "llama"}, {"weight": 1_000_000_000_000}))
    os.truncate(huge, 4_000_000_001_000)
    told = fault(ModelFile(huge))
    assert told.startswith("it needs about 4,000,134.2 MB of memory, and ")
    assert told.endswith(" MB are free")


def test_after_a_lasting_fault_requests_start_no_child_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"hello")

    async def use(made: ModelProcess) -> None:
        with pytest.raises(ModelAbsent) as first:
            await made.ready()
        file.unlink()
        file.symlink_to(model)
        with pytest.raises(ModelAbsent) as second:
            await made.ready()
        with pytest.raises(ModelAbsent) as third:
            await made.ready()
        assert str(first.value) == str(second.value) == str(third.value)
        assert len({id(each.value) for each in (first, second, third)}) == 3
        assert made.pid is None
        assert 0 < second.value.retry_after <= process.AGAIN_SECONDS
        monkeypatch.setattr(process, "AGAIN_SECONDS", 0.0)
        made._again_at = 0.0
        await made.ready()
        assert made.absent is None

    running(ModelFile(file), use)


def test_a_model_of_another_architecture_and_vocabulary_is_loaded(tmp_path: Path) -> None:
    async def use(made: ModelProcess) -> None:
        await made.ready()
        assert made.absent is None

    file = tmp_path / "untaught.gguf"
    file.write_bytes(untaught())
    running(ModelFile(file, context=128, parallel=1), use)
    file.write_bytes(untaught()[:-64])
    assert fault(ModelFile(file, context=128, parallel=1)).startswith("its file is cut short")


def test_health_says_why_nothing_is_answered(tmp_path: Path) -> None:
    async def run() -> None:
        provider = LlamaCpp("local", ModelFile(tmp_path / "absent.gguf"), Reader())
        await provider.start()
        try:
            before = await provider.health()
            assert (before.status, before.message) == (HealthStatus.ERROR, "it is loading its model")
            with pytest.raises(ModelAbsent):
                await provider.process.ready()
            after = await provider.health()
            assert after.message == "it can't load its model: its file can't be read (No such file or directory)"
        finally:
            await provider.close()

    asyncio.run(run())


def test_no_file_goes_to_a_model_that_reads_text_alone(model: Path) -> None:
    attached = Attachments([], FairShares(SENT))
    asked = ChatRequest("local/m", b'{"messages": []}', attached=attached)

    async def run() -> None:
        provider = LlamaCpp("local", ModelFile(model), Reader())
        for ask in (provider.complete, provider.stream, provider.count):
            with pytest.raises(ProviderFailed) as failed:
                await ask(asked)
            assert (failed.value.fault, failed.value.code) == (Fault.REQUEST, "unsupported_value")

    asyncio.run(run())


def test_a_request_waits_for_the_model_only_so_long(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PATIENCE_SECONDS", 0.0)

    async def run(file: Path) -> ProviderFailed:
        provider = LlamaCpp("local", ModelFile(file), Reader())
        await provider.start()
        try:
            if file is not model:
                await until(lambda: provider.process.pid is None and provider.process.absent != "is loading its model")
            with pytest.raises(ProviderFailed) as failed:
                await provider.complete(ChatRequest("local/m", b'{"messages": []}'))
        finally:
            await provider.close()
        assert failed.value.unsent
        return failed.value

    loading = asyncio.run(run(model))
    assert (loading.fault, loading.message) == (Fault.PAUSED, "the provider `local` is still loading its model")
    absent = asyncio.run(run(tmp_path / "absent.gguf"))
    assert absent.fault is Fault.PROVIDER
    assert absent.message == (
        "the provider `local` can't load its model: its file can't be read (No such file or directory)"
    )
