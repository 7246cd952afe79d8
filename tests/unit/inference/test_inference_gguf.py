"""The head of GGUF files: what is read of it, files that are cut short or hostile, and the memory of a model."""

from __future__ import annotations

import os
from pathlib import Path
from struct import pack

import pytest

from server.config.local_models import packaged_model
from server.inference.providers.llama_cpp import child
from server.inference.providers.llama_cpp.child import CantLoad, Order, check_memory, needed_memory
from server.inference.providers.llama_cpp.gguf import CutShort, NotGguf, read_gguf
from tests.support.gguf_files import head, text

GIGABYTES = 1 << 30
VALUES: dict[str, int | str | list[str]] = {
    "general.architecture": "llama",
    "llama.context_length": 8192,
    "llama.block_count": 30,
    "llama.embedding_length": 576,
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
    "tokenizer.ggml.tokens": ["a", "bc", ""],
    "tokenizer.chat_template": "{" * 300,
    "tokenizer.ggml.bos_token_id": 1,
}
WHOLE = head(VALUES, {"weight": 100, "bias": 3}) + bytes(416 + 12)


def written(folder: Path, content: bytes) -> Path:
    file = folder / "model.gguf"
    file.write_bytes(content)
    return file


def test_a_whole_file_tells_its_context_and_the_size_of_its_cache(tmp_path: Path) -> None:
    model = read_gguf(written(tmp_path, WHOLE))
    assert (model.context, model.parts, model.size) == (8192, 1, len(WHOLE))
    # Keys and values of 64 numbers, with 2 bytes each, for 3 heads in 30 layers.
    assert model.cache(10) == 10 * 30 * 3 * (64 + 64) * 2
    assert model.values["tokenizer.ggml.bos_token_id"] == 1


def test_a_file_that_is_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, WHOLE)
    for length in reversed(range(len(WHOLE))):
        os.truncate(file, length)
        with pytest.raises(NotGguf if length < 4 else CutShort):
            read_gguf(file)
    with pytest.raises(CutShort) as cut:
        read_gguf(written(tmp_path, WHOLE[:-1]))
    assert cut.value.needed == len(WHOLE)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGU",
        b"\x7fELF" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        head(VALUES, version=1),
        head(VALUES, version=1 << 24),
        b"GGUF" + pack("<IQQ", 3, 1 << 60, 0),
        b"GGUF" + pack("<IQQ", 3, 0, 1 << 60),
        b"GGUF" + pack("<IQQ", 3, 0, 1) + pack("<Q", 1 << 60),
        b"GGUF" + pack("<IQQ", 3, 0, 1) + text("name") + pack("<I", 99),
        b"GGUF" + pack("<IQQ", 3, 0, 1) + text("name") + pack("<IIQ", 9, 9, 1),
        b"GGUF" + pack("<IQQ", 3, 1, 0) + text("name") + pack("<I", 1 << 30),
    ],
)
def test_a_file_of_another_kind_is_no_gguf(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(NotGguf):
        read_gguf(written(tmp_path, content))


@pytest.mark.parametrize("kind", [0, 8])
def test_a_list_that_claims_to_be_endless_ends_with_the_file(tmp_path: Path, kind: int) -> None:
    content = b"GGUF" + pack("<IQQ", 3, 0, 1) + text("name") + pack("<IIQ", 9, kind, 1 << 62) + bytes(1000)
    with pytest.raises(CutShort):
        read_gguf(written(tmp_path, content))


def test_a_model_in_several_files_says_so(tmp_path: Path) -> None:
    assert read_gguf(written(tmp_path, head({"split.count": 3}))).parts == 3


def test_a_head_without_measures_has_no_cache(tmp_path: Path) -> None:
    model = read_gguf(written(tmp_path, head({"general.architecture": "llama"})))
    assert (model.context, model.cache(1000)) == (None, 0)
    odd = head({"general.architecture": "llama", "llama.context_length": "many"})
    assert read_gguf(written(tmp_path, odd)).context is None


def test_memory_counts_weights_cache_and_some_more() -> None:
    model = packaged_model()
    assert model is not None
    found = read_gguf(model)
    one = order(context=1_000, parallel=1)
    # SmolLM2: keys and values of 3 times 64 numbers, with 2 bytes each, in 30 layers.
    cache = 1_000 * 30 * 2 * 3 * 64 * 2
    assert needed_memory(found, one) == model.stat().st_size + cache + child.SPARE
    assert needed_memory(found, order(context=1_000, parallel=5)) - needed_memory(found, one) == 4 * cache
    # No more context than the model was trained for: 8,192 tokens.
    assert needed_memory(found, order(context=1 << 20, parallel=1)) == needed_memory(found, order(8192, 1))
    check_memory(GIGABYTES, GIGABYTES)
    check_memory(GIGABYTES, None)
    with pytest.raises(CantLoad) as refused:
        check_memory(GIGABYTES, GIGABYTES - 1)
    assert not refused.value.lasting
    free = child.free_memory()
    assert free is None or free > 0


def order(context: int, parallel: int) -> Order:
    return Order("", None, context, parallel, 1, False, "", "", "")
