"""Translation of a Python pattern to tests for OPA's engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from translators.regex.beginnings import may_match
from translators.regex.boundaries import without_boundaries
from translators.regex.endings import NO_MORE, settle
from translators.regex.literals import exact_text, literal_prefix, required_text
from translators.regex.lookaround import Demand, separate
from translators.regex.reader import DEEPEST, read
from translators.regex.refusal import Untranslatable
from translators.regex.starts import Start, starts
from translators.regex.tails import START, Tails, at_end, empty_has_non_boundary
from translators.regex.tree import Anchor, Node, Sequence, contains
from translators.regex.writer import LONGEST_TEXT, write

_NOT_EMPTY: Final = r"\A(?s:.)"


@dataclass(frozen=True, slots=True)
class Translation:
    r"""Tests for OPA's `regex.match` that together are equivalent to `re.match(pattern, subject)`.

    All `positives` must match the subject and none of the `negatives` may. Each begins with `\A` and is printable ASCII
    without a back-quote, so that it can stand in a raw string of Rego. `literal_prefix` is text, maybe empty, that
    every matching subject starts with, for use by an index, and `required_text` text that it contains: to look for that
    takes the engine a tenth of the time of a match. `exact` is the one subject that matches, where the pattern
    is literal text up to the end without a final newline; else None. Every matching subject begins with one of
    `starts`.
    """

    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    literal_prefix: str
    required_text: str
    exact: str | None
    starts: tuple[Start, ...]
    tree: Sequence = field(repr=False, compare=False)

    def may_match(self, beginning: str) -> bool:
        """Return whether a subject with this beginning, which holds no newline, may match; False is certain."""
        return may_match(self.tree, beginning)


def translate(pattern: str) -> Translation:
    """Return the exact translation of `re.match(pattern, …)` with a text pattern's default flags.

    Raises only `Untranslatable`, for a pattern that has no exact translation or that Python refuses. Subjects are text
    without surrogates. Not thread-safe: warnings of Python's parser are suppressed for the process.
    """
    try:
        return _translate(pattern)
    except RecursionError:
        raise Untranslatable(f"nesting of more than {DEEPEST} groups") from None


def _translate(pattern: str) -> Translation:
    tree = read(pattern)
    tails = Tails()
    main, demands = separate(tree)
    settled = _settled(without_boundaries(main), tails)
    positives = [write(settled)]
    negatives: list[str] = []
    length = len(positives[0])
    for demand in demands:
        test = write(_settled(without_boundaries(demand.node), tails))
        (negatives if demand.negative else positives).append(test)
        length += len(test)
        if length > LONGEST_TEXT:
            raise Untranslatable("a pattern that becomes too large")
    if _has_non_boundary(tree) and not literal_prefix(settled) and not empty_has_non_boundary():
        positives += _without_empty(tree, demands, tails)
    return Translation(
        positives=tuple(dict.fromkeys(positives)),
        negatives=tuple(dict.fromkeys(negatives)),
        literal_prefix=literal_prefix(settled),
        required_text=required_text(settled),
        exact=None if demands else exact_text(settled),
        starts=starts(tree),
        tree=tree,
    )


def _settled(sequence: Sequence, tails: Tails) -> Sequence:
    settled = settle(sequence, NO_MORE, tails)
    return settled if isinstance(settled, Sequence) else Sequence((settled,))


def _without_empty(tree: Sequence, demands: tuple[Demand, ...], tails: Tails) -> list[str]:
    r"""Return the test that excludes the empty subject where only the engine's `\B` would accept it."""
    if any(demand.negative and _has_non_boundary(demand.node) for demand in demands):
        raise Untranslatable(r"\B in a negative look-ahead")
    return [] if tails.of(tree)[at_end(START)] else [_NOT_EMPTY]


def _has_non_boundary(node: Node) -> bool:
    return contains(node, Anchor.NOT_BOUNDARY) or contains(node, Anchor.NOT_UNICODE_BOUNDARY)
