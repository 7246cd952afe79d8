"""Pieces of a text: they cover it, never have too many tokens, and end where people would end them."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from time import process_time
from unicodedata import combining

import pytest

from server.extraction.pieces import Chunking
from server.extraction.tokens import TokenCounter
from tests.support.extraction import cut, tokenizer_file

SIZES = [(800, 400), (100, 50), (100, 0), (100, 49), (4096, 2048), (4096, 0)]
ODD = {
    "short lines": "abc\n" * 5000,
    "no blank": "x" * 20_000,
    "marks alone": "\u0301" * 20_000,
    "one letter with marks": "e" + "\u0301" * 20_000,
    "families": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" * 2000,
    "flags": "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7" * 3000,
    "joined for ever": "\U0001f468\u200d" * 10_000,
    "no blanks between sentences": "\u8fd9\u662f\u4e00\u4e2a\u53e5\u5b50\u3002" * 3000,
    "syllables in parts": "\u1112\u1161\u11ab" * 5000,
    "a word longer than a piece": "one two " + "w" * 5000 + " three four",
    "blanks around": " \n" * 5000 + "word" + "\t " * 5000,
    "long lines and short ones": ("s\n" + "l" * 390 + "\n") * 100,
    "joiners alone between": ("a" + "\u200b" * 500 + " ") * 20,
    "one letter": "a",
    "carriage returns": "a\r\n" * 5000,
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize(("size", "overlap"), SIZES)
def test_pieces_of_odd_texts_cover_them(name: str, size: int, overlap: int) -> None:
    for rows in (False, True):
        for block in (997, 65536):
            assert cut(ODD[name], Chunking(size, overlap), rows=rows, block=block)


@pytest.mark.parametrize("name", ODD)
def test_the_tokenizer_of_a_model_never_counts_more_than_the_size(name: str) -> None:
    counter = TokenCounter(str(tokenizer_file()))
    for piece in cut(ODD[name], Chunking(100, 50), counter=counter):
        assert piece.tokens == counter.measured(piece.text).count


@pytest.mark.parametrize("text", ["", "\r\n" * 20_000, " \t\u3000\u2003\n" * 5000, "\u200b\ufeff " * 5000])
def test_a_text_without_anything_visible_has_no_piece(text: str) -> None:
    from server.extraction.cutter import Cutter
    from server.extraction.tokens import BytesCounter

    cutter = Cutter(Chunking(100, 50), BytesCounter())
    assert [*cutter.feed(text), *cutter.finish()] == []


def test_random_texts_have_the_same_pieces_however_they_come() -> None:
    random = Random(17)  # noqa: S311 - not for secrets
    parts = ["word", " ", "\n", "\n\n", ". ", "x" * 150, "\u0301", "\U0001f1e9\U0001f1ea", "\u200d", "\t", "\u4e2d"]
    for _ in range(40):
        text = "".join(random.choices(parts, k=1500))
        chunking = Chunking(random.randint(100, 300), random.randint(0, 50))
        rows = random.random() < 0.5
        assert cut(text, chunking, rows=rows, block=64) == cut(text, chunking, rows=rows, block=10**6)


def test_a_piece_ends_with_a_paragraph_a_sentence_or_a_word() -> None:
    paragraph = "word " * 66 + "end."
    texts = [piece.text for piece in cut("\n\n".join([paragraph] * 9), Chunking(100, 0))]
    assert texts == [paragraph] * 9
    sentence = "Every sentence has some words and then it ends. "
    assert all(piece.text.endswith("ends.") for piece in cut(sentence * 100, Chunking(100, 50)))
    assert all(piece.text.startswith("Every") for piece in cut(sentence * 100, Chunking(100, 50)))
    assert {word for piece in cut("seven " * 500, Chunking(100, 50)) for word in piece.text.split()} == {"seven"}


def test_neighbours_share_at_most_the_overlap() -> None:
    text = "Some words of a sentence. " * 400
    for counter in (None, TokenCounter(str(tokenizer_file()))):
        pieces = cut(text, Chunking(100, 50), counter=counter)
        shared = [text[after.start : before.end] for before, after in pairwise(pieces)]
        assert all(0 < len(each) <= 50 * 6 for each in shared)
        assert (
            cut(text, Chunking(100, 0), counter=counter)[1].start >= cut(text, Chunking(100, 0), counter=counter)[0].end
        )


def test_no_character_is_taken_apart() -> None:
    text = "x".join(
        ["e\u0301\u0323", "\U0001f468\u200d\U0001f469", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd"] * 500
    )
    for piece in cut(text.replace("x", ""), Chunking(100, 50)):
        assert not combining(piece.text[0])
        assert piece.text[0] not in "\u200d\U0001f469\U0001f1ea\U0001f3fd"
        assert piece.text[-1] not in "e\u200d\U0001f468\U0001f1e9\U0001f44d"


@pytest.mark.parametrize(
    "letter", ["e\u0301", "e\u0301\u0323", "\U0001f468\u200d\U0001f469", "\U0001f44d\U0001f3fd", "\u1112\u1161\u11ab"]
)
def test_a_letter_of_several_characters_is_whole_wherever_a_piece_ends(letter: str) -> None:
    for size in range(100, 107):
        for piece in cut(letter * 1000, Chunking(size, 50)):
            assert piece.text == letter * (len(piece.text) // len(letter))


def test_rows_that_fit_are_whole() -> None:
    random = Random(3)  # noqa: S311 - not for secrets
    rows = [f"{number}," + "v" * random.randint(1, 350) for number in range(400)]
    pieces = cut("\n".join(rows), Chunking(100, 50), rows=True)
    assert {line for piece in pieces for line in piece.text.split("\n")} == set(rows)


def test_the_work_grows_with_the_text_alone() -> None:
    def seconds(text: str) -> float:
        started = process_time()
        cut(text, Chunking(800, 400))
        return process_time() - started

    for unit in ("y", "\u0301", "a\n", "a "):
        short = max(0.02, seconds(unit * (300_000 // len(unit))))
        assert seconds(unit * (1_500_000 // len(unit))) < short * 20
