r"""What a part may become once it is known what follows it: `$`, atomic parts and trailing look-ahead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from translators.regex.refusal import Untranslatable
from translators.regex.tails import (
    EVERYWHERE,
    NEWLINE,
    OTHER,
    START,
    WORD,
    Relation,
    Tails,
    at_end,
    at_newline,
    reaching,
    repeated,
)
from translators.regex.tree import Anchor, At, Atomic, Choice, Look, LookBehind, Node, Repeat, Sequence, cannot_fail

_LOOKS: Final = {Look: "look-ahead", LookBehind: "look-behind"}


@dataclass(frozen=True, slots=True)
class Rest:
    """What follows a part, up to the end of the pattern.

    `places` are those (see `tails`) from which it matches. `certain`: it matches whatever the subject is. `counted`: it
    may begin with further rounds of a counted repetition, fewer in each round.
    """

    places: int
    certain: bool
    counted: bool = False

    def after(self, relation: Relation, *, certain: bool) -> Rest:
        """The rest as seen from before a part with this relation."""
        return replace(self, places=reaching(relation, self.places), certain=self.certain and certain)


NO_MORE: Final = Rest(EVERYWHERE, certain=True)
"""The end of the pattern: `re.match` asks for no more."""


def settle(node: Node, rest: Rest, tails: Tails) -> Node:
    """The node without atomic parts and look-ahead, and with every `$` such that it may consume a final newline.

    Exact under `rest` only. Refuses what has no such form.
    """
    if tails.settled(node):
        return node
    match node:
        case At(_, position):
            return At(_end(rest, position), position)
        case Sequence():
            return _sequence(node, rest, tails)
        case Choice(branches):
            return Choice(tuple(_sequence(branch, rest, tails) for branch in branches))
        case Repeat(body, least, most, position):
            return Repeat(_sequence(body, _rounds(node, rest, tails), tails), least, most, position)
        case Atomic() | Look() | LookBehind():
            return _sequence(_where_nothing_fails(node, rest), rest, tails)
        case _:
            raise AssertionError(node)


def _where_nothing_fails(node: Atomic | Look | LookBehind, rest: Rest) -> Sequence:
    """The body, where nothing that follows can fail.

    There the first way in which an atomic part matches is as good as any other, and look-ahead may as well consume.
    """
    construct = node.construct if isinstance(node, Atomic) else _LOOKS[type(node)]
    if not rest.certain or isinstance(node, LookBehind) or (isinstance(node, Look) and node.negative):
        raise Untranslatable(construct, node.position)
    return node.body


def _sequence(sequence: Sequence, rest: Rest, tails: Tails) -> Sequence:
    items = sequence.items
    first = next((place for place, item in enumerate(items) if not tails.settled(item)), len(items))
    settled: list[Node] = []
    # What follows a part matters to nothing in front of the first of these, so it isn't worked out there.
    for item in reversed(items[first:]):
        node = settle(item, rest, tails)
        settled.extend(reversed(node.items) if isinstance(node, Sequence) else [node])
        rest = rest.after(tails.of(item), certain=cannot_fail(item))
    return Sequence((*items[:first], *reversed(settled)))


def _rounds(repeat: Repeat, rest: Rest, tails: Tails) -> Rest:
    """What follows one round of a repetition: the rounds still to come, then the rest."""
    if repeat.most in {0, 1}:
        return rest
    least = max(repeat.least - 1, 0)
    most = None if repeat.most is None else repeat.most - 1
    further = repeated(tails.of(repeat.body), least, most)
    seen = rest.after(further, certain=least == 0 or cannot_fail(repeat.body))
    return replace(seen, counted=rest.counted or least > 0 or most is not None)


def _end(rest: Rest, position: int | None) -> Anchor:
    r"""The anchor to write for a `$`: END is going to be `(?:\n?\z)`, which may consume the newline; FINISH is `\z`.

    The consuming form is exact if the rest matches before the final newline just when it matches at the end.
    """
    if rest.counted:
        raise Untranslatable("$ in a counted repetition", position)
    befores = (START, NEWLINE, WORD, OTHER)
    verdicts = {(rest.places >> at_end(before) & 1, rest.places >> at_newline(before) & 1) for before in befores}
    if verdicts in ({(1, 1)}, {(0, 0)}):
        return Anchor.END
    if verdicts == {(1, 0)}:
        return Anchor.FINISH
    raise Untranslatable("$ before a part that can match there", position)
