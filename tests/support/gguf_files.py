"""GGUF files that a test makes: a head alone, a whole model with random weights, or the first layers of a real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from random import Random
from struct import calcsize, pack, unpack_from

FLOATS = 0
"""The type of tensors with 32-bit numbers."""


def text(value: str) -> bytes:
    """A text, with its length before it."""
    return pack("<Q", len(value.encode())) + value.encode()


Value = int | float | str | Sequence[int] | Sequence[float] | Sequence[str]
"""The value of an entry; a list holds values of one kind."""


def entry(name: str, value: Value) -> bytes:
    """An entry of the head."""
    match value:
        case int() | float() | str():
            kind, written = _written(value)
            return text(name) + pack("<I", kind) + written
        case _:
            each = [*map(_written, value)]
            # A list of whole numbers holds signed ones.
            kind = 5 if each[0][0] == 4 else each[0][0]
            return text(name) + pack("<IIQ", 9, kind, len(value)) + b"".join(part for _, part in each)


def _written(value: float | str) -> tuple[int, bytes]:
    match value:
        case int():
            return 4, pack("<I", value)
        case str():
            return 8, text(value)
        case _:
            return 6, pack("<f", value)


def head(
    values: Mapping[str, Value],
    tensors: Mapping[str, int] | None = None,
    version: int = 3,
) -> bytes:
    """The head of a file with these entries and tensors of so many 32-bit numbers, one behind the other."""
    listed = tensors or {}
    made = b"GGUF" + pack("<IQQ", version, len(listed), len(values))
    made += b"".join(entry(name, value) for name, value in values.items())
    offset = 0
    for name, numbers in listed.items():
        made += text(name) + pack("<IQIQ", 1, numbers, FLOATS, offset)
        offset += -(-numbers * 4 // 32) * 32
    return made + bytes(-len(made) % 32)


class _Reading:
    """The head of a real file, taken apart into the bytes of its entries and the tensors."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 4
        self.version = self.number("<I")
        tensors, entries = self.number("<Q"), self.number("<Q")
        self.entries = [self.entry() for _ in range(entries)]
        self.tensors = [self.tensor() for _ in range(tensors)]
        self.data = -(-self.place // 32) * 32

    def number(self, form: str) -> int:
        [found] = unpack_from(form, self.content, self.place)
        self.place += calcsize(form)
        return int(found)

    def text(self) -> bytes:
        size = self.number("<Q")
        self.place += size
        return self.content[self.place - size : self.place]

    def entry(self) -> tuple[str, bytes]:
        name, start = self.text().decode(), self.place
        self.skip(self.number("<I"))
        return name, self.content[start : self.place]

    def skip(self, kind: int) -> None:
        if kind == 8:
            self.text()
        elif kind == 9:
            inner, count = self.number("<I"), self.number("<Q")
            for _ in range(count):
                self.skip(inner)
        else:
            self.place += {0: 1, 1: 1, 2: 2, 3: 2, 7: 1, 10: 8, 11: 8, 12: 8}.get(kind, 4)

    def tensor(self) -> tuple[str, bytes, int]:
        name, start = self.text().decode(), self.place
        dimensions = self.number("<I")
        self.place += 8 * dimensions + 4
        return name, self.content[start : self.place], self.number("<Q")


def shallow(content: bytes, layers: int) -> bytes:
    """A model of the first few layers of another one: it is quick, and what it says means nothing."""
    real = _Reading(content)
    ends = dict(pairwise([*sorted(place for *_, place in real.tensors), len(content) - real.data]))
    kept = [each for each in real.tensors if not each[0].startswith("blk.") or int(each[0].split(".")[1]) < layers]
    made = b"GGUF" + pack("<IQQ", real.version, len(kept), len(real.entries))
    for name, value in real.entries:
        made += text(name) + (pack("<II", 4, layers) if name.endswith(".block_count") else value)
    data = b""
    for name, shape, place in kept:
        made += text(name) + shape + pack("<Q", len(data))
        data += content[real.data + place : real.data + ends[place]]
        data += bytes(-len(data) % 32)
    return made + bytes(-len(made) % 32) + data


def untaught(seed: int = 1) -> bytes:
    """A whole model of some 100 KB with random weights.

    Its architecture (Qwen2) and its vocabulary (SentencePiece, hardly more than bytes) are other ones than those of the
    packaged model.
    """
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581"]
    kinds = [2, 3, 3, *[6] * 256, 1]
    width, inner = 32, 64
    values: dict[str, Value] = {
        "general.architecture": "qwen2",
        "qwen2.context_length": 512,
        "qwen2.embedding_length": width,
        "qwen2.block_count": 1,
        "qwen2.feed_forward_length": inner,
        "qwen2.attention.head_count": 2,
        "qwen2.attention.head_count_kv": 2,
        "qwen2.attention.layer_norm_rms_epsilon": 1e-5,
        "qwen2.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * len(tokens),
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    block = {f"attn_{name}.weight": (width, width) for name in ("q", "k", "v", "output")}
    block |= {"ffn_gate.weight": (width, inner), "ffn_up.weight": (width, inner), "ffn_down.weight": (inner, width)}
    flat = {f"attn_{name}.bias": (width,) for name in ("q", "k", "v")} | {"attn_norm.weight": (width,)}
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (width, len(tokens)),
        "output.weight": (width, len(tokens)),
        "output_norm.weight": (width,),
        **{f"blk.0.{name}": shape for name, shape in {**block, **flat, "ffn_norm.weight": (width,)}.items()},
    }
    chance = Random(seed)  # noqa: S311 - weights, nothing secret
    made, data = b"GGUF" + pack("<IQQ", 3, len(shapes), len(values)), b""
    made += b"".join(entry(name, value) for name, value in values.items())
    for name, shape in shapes.items():
        made += text(name) + pack(f"<I{len(shape)}QIQ", len(shape), *shape, FLOATS, len(data))
        data += pack(f"<{prod(shape)}f", *(chance.gauss(0, 0.3) for _ in range(prod(shape))))
        data += bytes(-len(data) % 32)
    return made + bytes(-len(made) % 32) + data
