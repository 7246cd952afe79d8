"""Embeddings as a provider answers them: checked, put into order, and written in the form that the caller wants.

An answer may have a hundred megabytes. It is read one embedding at a time, and nothing holds another thread for more
than a few milliseconds.
"""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterator, Sequence
from itertools import islice
from json import dumps
from math import isfinite
from typing import Any, Final

from server.inference.answers.model_name import SMALL, json_entries, json_members
from server.inference.answers.plain import NotAnAnswer, ToldError, decoded
from server.inference.answers.shapes import told_error
from server.inference.answers.usage import MOST_TOKENS
from server.inference.provider import Counted, Tokens, Wanted
from server.json_input.strict import Json

MOST_ENTRY: Final = 512 * 1024
"""Bytes of one embedding as a provider writes it, which is parsed as a whole."""

LARGEST: Final = 3.4028234663852886e38
"""The largest number of an embedding, which has 32 bits."""

_MARK: Final = b"\xef\xbb\xbf"
_NUMBERS: Final = {int, float}

Vector = Sequence[float]


class BadVectors(NotAnAnswer):
    """An answer holds no embeddings that can be used; the message goes on after the provider's name."""


class OtherDimensions(NotAnAnswer):
    """The embeddings have `length` numbers, and the caller asked for another number of them."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length


def vectors_answer(text: bytes, model_id: str, wanted: Wanted) -> Counted:
    """Return the embeddings in a provider's answer as OpenAI writes them.

    Raises NotAnAnswer, BadVectors for embeddings that are wrong, OtherDimensions and ToldError.
    """
    text = text.removeprefix(_MARK)
    if len(text) <= SMALL:
        document = decoded(text)
        lists = _lists(text, document.get("data"))
        if wanted.base64 or lists:
            return _small_answer(document, lists, model_id, wanted)
    head: Json = {}
    place = None
    for name, start, end in json_members(text):
        if name == b'"data"' and text.startswith(b"[", start):
            place = start
        elif end - start <= SMALL:
            head |= decoded(b"{%b:%b}" % (name, text[start:end]))
    if told_error(head if place is None else {**head, "id": ""}):
        raise ToldError(head)
    if place is None:
        raise NotAnAnswer
    return written(_entries(text, place, wanted), model_id, wanted, head.get("usage"))


def _lists(text: bytes, data: Any) -> list[bytes]:
    """Return the lists inside of `data` as `text` spells them, one of each entry; none where that isn't certain."""
    count = len(data) if type(data) is list else 0
    # That of `data` and one in each entry: then no text holds a bracket, and no member comes twice.
    if not count == text.count(b"[") - 1 == text.count(b"]") - 1:
        return []
    if not all(type(entry) is dict and type(entry.get("embedding")) is list for entry in data):
        return []
    return [b"[%b]" % piece.partition(b"]")[0] for piece in text.split(b"[")[2:]]


def _small_answer(document: Json, lists: list[bytes], model_id: str, wanted: Wanted) -> Counted:
    data = document.get("data")
    if type(data) is not list:
        raise ToldError(document) if told_error(document) else NotAnAnswer
    head = {name: value for name, value in document.items() if name != "data"}
    if told_error({**head, "id": ""}):
        raise ToldError(head)
    raws = lists or [b""] * len(data)
    return written(
        (_entry(entry, raw, wanted) for entry, raw in zip(data, raws, strict=True)), model_id, wanted, head.get("usage")
    )


def written(found: Iterator[tuple[int | None, Vector, bytes]], model_id: str, wanted: Wanted, usage: Any) -> Counted:
    """Return an answer with these embeddings, each with its index and its text; raises as `vectors_answer`.

    Where none has an index, they are in the order of the inputs.
    """
    texts, indices, length = list[bytes](), list[int | None](), None
    for index, vector, text in islice(found, wanted.count + 1):
        length = len(vector) if length is None else length
        _check(vector, length)
        texts.append(text)
        indices.append(index)
    if len(texts) != wanted.count:
        more = "more than " if len(texts) > wanted.count else ""
        number = wanted.count if more else len(texts)
        raise BadVectors(f"answered with {more}{number} embeddings for {wanted.count} inputs")
    if wanted.dimensions not in (None, length):
        raise OtherDimensions(length or 0)
    order: Sequence[Any] = range(wanted.count) if {*indices} == {None} else indices
    if {*order} != {*range(wanted.count)}:
        raise BadVectors("answered with embeddings whose indices are not those of the inputs")
    ordered = sorted(zip(order, texts, strict=True))
    told = _usage(usage)
    begin = f'{{"object":"list","model":{dumps(model_id)},"data":['.encode()
    end = b'],"usage":%b}' % dumps(told, separators=(",", ":")).encode()
    tokens = told["prompt_tokens"] or told["total_tokens"]
    return Counted(_pieces(begin, ordered, end), Tokens(tokens, tokens) if tokens else None)


def _entries(text: bytes, place: int, wanted: Wanted) -> Iterator[tuple[int | None, Vector, bytes]]:
    for start, end in json_entries(text, place):
        if end - start > MOST_ENTRY:
            raise BadVectors(f"answered with an embedding of more than {MOST_ENTRY} bytes")
        raw = text[start:end]
        yield _entry(decoded(raw), raw, wanted)


def _entry(entry: Any, raw: bytes, wanted: Wanted) -> tuple[int | None, Vector, bytes]:
    """Return the index, the numbers and the text of an entry, which `raw` spells."""
    if type(entry) is not dict:
        raise NotAnAnswer
    index, given = entry.get("index"), entry.get("embedding")
    if type(index) not in (int, type(None)):
        raise NotAnAnswer
    if type(given) is str:
        vector = _unpacked(given)
        return index, vector, b'"%b"' % given.encode() if wanted.base64 else as_numbers(vector)
    if type(given) is not list or not {*map(type, given)} <= _NUMBERS:
        raise BadVectors("answered with an embedding that is no list of numbers")
    # Numbers as the provider wrote them: others might be rounded in another way.
    return index, given, as_base64(given) if wanted.base64 else _spelled(raw)


def as_numbers(vector: Vector) -> bytes:
    """Return a vector as a list of JSON."""
    return dumps([*vector], separators=(",", ":")).encode()


def as_base64(vector: Vector) -> bytes:
    """Return a vector as a text of JSON: numbers of 32 bits, the lowest byte first, in base64."""
    try:
        packed = array("f", vector)
    except OverflowError:
        raise _odd_number() from None
    if sys.byteorder == "big":
        packed.byteswap()
    return b'"%b"' % b64encode(packed.tobytes())


def _unpacked(text: str) -> Vector:
    vector = array("f")
    try:
        vector.frombytes(b64decode(text, validate=True))
    except (Error, ValueError):
        raise BadVectors("answered with an embedding that is no base64 of 32-bit numbers") from None
    if sys.byteorder == "big":
        vector.byteswap()
    return vector


def _spelled(raw: bytes) -> bytes:
    """Return the list of numbers in an entry."""
    if raw.count(b"[") == raw.count(b"]") == 1:
        return raw[raw.index(b"[") : raw.index(b"]") + 1]
    spans = [(start, end) for name, start, end in json_members(raw) if name == b'"embedding"']
    start, end = spans[-1]
    return raw[start:end]


def _check(vector: Vector, length: int) -> None:
    """Raise BadVectors for what can't be compared with other embeddings."""
    if not vector:
        raise BadVectors("answered with an empty embedding")
    if len(vector) != length:
        raise BadVectors("answered with embeddings of different lengths")
    try:
        # The sum of numbers of 32 bits is finite unless one of them isn't, and a packed vector holds no others.
        usable = isfinite(sum(vector)) and (
            isinstance(vector, array) or (max(vector) <= LARGEST and min(vector) >= -LARGEST)
        )
    except OverflowError:
        usable = False
    if not usable:
        raise _odd_number()
    if not any(vector):
        raise BadVectors("answered with an embedding of zeros alone")


def _odd_number() -> BadVectors:
    return BadVectors("answered with an embedding that holds NaN, an infinity, or a number of more than 32 bits")


def _usage(given: Any) -> Json:
    """Return the usage that a provider reports, whole; zeros where it reports none."""
    usage = given if type(given) is dict else {}
    prompt = _tokens(usage.get("prompt_tokens"))
    return {**usage, "prompt_tokens": prompt, "total_tokens": _tokens(usage.get("total_tokens")) or prompt}


def _tokens(given: Any) -> int:
    return given if type(given) is int and 0 < given <= MOST_TOKENS else 0


def _pieces(begin: bytes, ordered: list[tuple[int, bytes]], end: bytes) -> Iterator[bytes]:
    """Yield the answer in pieces that are worth sending; the texts are dropped as they are written."""
    piece = bytearray(begin)
    for place, (index, text) in enumerate(ordered):
        ordered[place] = (index, b"")
        piece += b'%b{"object":"embedding","index":%d,"embedding":%b}' % (b"," if place else b"", index, text)
        if len(piece) > SMALL:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece + end)
