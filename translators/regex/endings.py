r"""Resolution of `$`, atomic parts and trailing look-ahead by means of the part that follows them."""

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
from translators.regex.tree import (
    Anchor,
    At,
    Atomic,
    Choice,
    Lookahead,
    Lookbehind,
    Node,
    Repeat,
    Sequence,
    cannot_fail,
)

_LOOKS: Final = {Lookahead: "look-ahead", Lookbehind: "look-behind"}


@dataclass(frozen=True, slots=True)
class Rest:
    """The part that follows, up to the end of the pattern.

    `places` are those (see `tails`) from which it matches. `certain`: it matches for every subject. `counted`: it may
    begin with further rounds of a counted repetition, fewer in each round.
    """

    places: int
    certain: bool
    counted: bool = False

    def after(self, relation: Relation, *, certain: bool) -> Rest:
        """Return the rest as it is before a part with this relation."""
        return replace(self, places=reaching(relation, self.places), certain=self.certain and certain)


NO_MORE: Final = Rest(EVERYWHERE, certain=True)
"""The end of the pattern: `re.match` asks for no more."""


def settle(node: Node, rest: Rest, tails: Tails) -> Node:
    """Return the node without atomic parts and look-ahead, each `$` being written so that it may consume a final
    newline.

    Exact under `rest` only. Refuses a node that has no such form.
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
        case Atomic() | Lookahead() | Lookbehind():
            return _sequence(_where_nothing_fails(node, rest), rest, tails)
        case _:
            raise AssertionError(node)


def _where_nothing_fails(node: Atomic | Lookahead | Lookbehind, rest: Rest) -> Sequence:
    """Return the body, for a place where nothing that follows can fail.

    There any match of an atomic part is as good as its first one, and look-ahead may consume.
    """
    construct = node.construct if isinstance(node, Atomic) else _LOOKS[type(node)]
    if not rest.certain or isinstance(node, Lookbehind) or (isinstance(node, Lookahead) and node.negative):
        raise Untranslatable(construct, node.position)
    return node.body


def _sequence(sequence: Sequence, rest: Rest, tails: Tails) -> Sequence:
    items = sequence.items
    first = next((place for place, item in enumerate(items) if not tails.settled(item)), len(items))
    settled: list[Node] = []
    # Parts before the first of these don't depend on what follows them, so that it isn't computed there.
    for item in reversed(items[first:]):
        node = settle(item, rest, tails)
        settled.extend(reversed(node.items) if isinstance(node, Sequence) else [node])
        rest = rest.after(tails.of(item), certain=cannot_fail(item))
    return Sequence((*items[:first], *reversed(settled)))


def _rounds(repeat: Repeat, rest: Rest, tails: Tails) -> Rest:
    """Return what follows one round of a repetition: the remaining rounds, then the rest."""
    if repeat.most in {0, 1}:
        return rest
    least = max(repeat.least - 1, 0)
    most = None if repeat.most is None else repeat.most - 1
    further = repeated(tails.of(repeat.body), least, most)
    seen = rest.after(further, certain=least == 0 or cannot_fail(repeat.body))
    return replace(seen, counted=rest.counted or least > 0 or most is not None)


def _end(rest: Rest, position: int | None) -> Anchor:
    r"""Return the anchor for a `$`: END becomes `(?:\n?\z)`, which may consume the newline; FINISH is `\z`.

    The consuming form is exact if the rest matches before the final newline exactly when it matches at the end.
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
