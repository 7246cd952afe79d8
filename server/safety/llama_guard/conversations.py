"""The conversations in which a Llama Guard judges the last turn, made from the texts that a shield is given.

The templates of its versions take turns of `user` and `assistant` by turns, `user` first, and judge the last one alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from server.safety.shield import Direction, Said, TooMuchText, answer_in

WINDOW: Final = 12_000
"""Characters of a conversation that a model judges at once."""

OVERLAP: Final = 400
"""Characters that two windows of a long text share."""

MOST_WINDOWS: Final = 64
"""Windows of one check, each of which is a request to the model that judges."""

_JOINED: Final = "\n\n"
_PAIRS: Final = ("<|", "|>", "<<", "<<")
"""Beginnings and ends of special tokens. A row of `<` needs two rounds."""

_MARKER: Final = re.compile(r"<(?=/?s>|\s*(?:BEGIN|END)\b)|\[(?=/?INST\])", re.IGNORECASE)
_ENDS: Final = r"\r\v\f\x1c-\x1e\x85\u2028\u2029"
_SPEAKER: Final = re.compile(
    rf"((?:^|[{_ENDS}])[^\S\n{_ENDS}]*(?:User|Agent|Assistant))(?=\s*[:\uff1a])", re.IGNORECASE | re.MULTILINE
)

_PIECE: Final = 16 * 1024
_BEFORE_MARKER: Final = re.compile(r"[<\[]")
_AFTER_LINE: Final = re.compile(r"(?<=[\r\n])")


def harmless(text: str) -> str:
    """Return the text with a blank in each token or marker that could end the conversation in the model's prompt."""
    for pair in _PAIRS:
        text = text.replace(pair, f"{pair[0]} {pair[1]}")
    return _changed(_SPEAKER, r"\1 -", _AFTER_LINE, _changed(_MARKER, r"\g<0> ", _BEFORE_MARKER, text))


def _changed(pattern: re.Pattern[str], into: str, border: re.Pattern[str], text: str) -> str:
    """Return the text with what the pattern finds changed, piece by piece: a search lets no other thread run."""
    pieces, start = list[str](), 0
    while start < len(text):
        found = border.search(text, start + _PIECE)
        end = len(text) if found is None else found.start()
        pieces.append(pattern.sub(into, text[start:end]))
        start = end
    return "".join(pieces)


def turns_of(said: Sequence[Said]) -> list[Said]:
    """Return the texts without empty ones; texts in a row by the same speaker are one turn."""
    kept = (replace(each, text=harmless(each.text)) for each in said if each.text.strip())
    return [
        Said(_JOINED.join(each.text for each in group), by_model)
        for by_model, group in groupby(kept, lambda each: each.by_model)
    ]


def conversations(said: Sequence[Said], direction: Direction) -> list[list[Said]]:
    """Return the conversations whose last turns have to be judged, so that nothing of the texts is left out.

    Of the input all earlier turns are judged as one text of the user's too: they come from the caller, whatever they
    say of their speakers. Raises TooMuchText.
    """
    turns = turns_of(said)
    made: list[list[Said]] = []
    if direction is Direction.INPUT and len(turns) > 1:
        earlier = Said(_JOINED.join(turn.text for turn in turns[:-1]))
        made += _in_windows([earlier])
    elif direction is Direction.OUTPUT and not answer_in(turns):
        return []
    if turns:
        made += _in_windows(turns)
    if len(made) > MOST_WINDOWS:
        raise TooMuchText(f"the texts are longer than a Llama Guard checks at once ({MOST_WINDOWS} windows)")
    return made


def _in_windows(turns: Sequence[Said]) -> Iterator[list[Said]]:
    """Yield the conversation, and several for a last turn that is longer than a window."""
    last = turns[-1]
    for start in range(0, max(1, len(last.text) - OVERLAP), WINDOW - OVERLAP):
        piece = replace(last, text=last.text[start : start + WINDOW])
        context = _context(turns[:-1], WINDOW - len(piece.text))
        if not context and piece.by_model:
            piece = Said(piece.text)  # nothing comes before it, and the first turn is the user's
        yield [*context, piece]


def _context(turns: Sequence[Said], room: int) -> list[Said]:
    """Return the latest turns, the user's first, of which one is cut; they are judged elsewhere."""
    kept: list[Said] = []
    for turn in reversed(turns):
        text = turn.text[-max(room, OVERLAP) :] if not kept else turn.text
        if kept and len(text) > room:
            break
        kept.insert(0, replace(turn, text=text))
        room -= len(text)
    while kept and kept[0].by_model:
        del kept[0]
    return kept
