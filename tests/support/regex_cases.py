"""Random patterns of Python's dialect, each with subjects of which about a third match.

Everything comes from one `random.Random`, so a seed names a run. Patterns are made from a grammar that knows, beside
the text of each part, how to make a subject that the part is likely to match.
"""

from __future__ import annotations

import random
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

ALPHABET = tuple(
    "aAbBcCiIkKsSzZ019_-/:.,*+?()[]{}^$|\\`'\"#&~@! "
    "\n\r\t\v\f\x00\x01\x1c\x1f\x7f\x85\xa0"
    "éÉßẞàÀДд\u0130\u0131\u017f\u212a\u212b\u00e5\u00b5\u03bc\u03a3\u03c3\u03c2\u01c5\u0345\u03b9\u0390\u1fd3\u1e9b\u1e61"
    "²½Ⅷ①一四々\u0663\u07c2\u0966\uff15\U0001d7d8"
    "\u0301\u200b\u200d\u2028\u2029\u3000\ufeff\ufffd\uffff\U00010400\U00010428😀\U0010ffff"
)
"""Characters that some engine somewhere treats in a way of its own."""
_FINISH = r"\Z"

Sample = Callable[[], str]


@dataclass(frozen=True)
class Part:
    """A piece of a pattern, and how to make text that it may match."""

    text: str
    sample: Sample


@dataclass(frozen=True)
class Case:
    """A pattern that Python accepts, and subjects for it."""

    pattern: str
    subjects: list[str]


@dataclass
class Scope:
    """What holds at a place of a pattern: flags, and how deep it is."""

    flags: frozenset[str]
    depth: int


@dataclass
class PatternMaker:
    """Makes random patterns; `names` counts its named groups."""

    random: random.Random
    names: int = 0
    groups: int = 0
    atoms: tuple[Callable[[Scope], Part], ...] = field(init=False)

    def __post_init__(self) -> None:
        self.atoms = (
            *[self.literal] * 8,
            *[self.char_class] * 5,
            *[self.shorthand] * 3,
            *[self.group] * 4,
            self.anchor,
            self.oddity,
        )

    def pattern(self) -> Part:
        """A whole pattern, which Python may still refuse."""
        self.names = self.groups = 0
        chosen = "".join(flag for flag in "imsxa" if self.random.random() < 0.12)
        scope = Scope(frozenset(chosen), 0)
        body = self.alternation(scope)
        start = self.random.choice(("", "", "^", "model::", r"\A"))
        end = self.random.choice(("", "", "", "$", "$", "$", r"\Z", self.look(scope).text))
        if self.random.random() < 0.08:
            before = self.sequence(Scope(scope.flags, 2)).text
            end = f"(?<{self.random.choice('=!')}{before}){self.random.choice(('$', _FINISH))}"
        look = self.look(scope).text if self.random.random() < 0.15 else ""
        text = (f"(?{chosen})" if chosen else "") + start + look + body.text + end
        lead = "model::" if start == "model::" else ""
        return Part(text, lambda: lead + body.sample())

    def alternation(self, scope: Scope) -> Part:
        branches = [self.sequence(scope) for _ in range(self.random.choice((1, 1, 1, 2, 3)))]
        return Part("|".join(branch.text for branch in branches), lambda: self.random.choice(branches).sample())

    def sequence(self, scope: Scope) -> Part:
        parts = [self.quantified(scope) for _ in range(self.random.choices((0, 1, 2, 3), (1, 5, 5, 4))[0])]
        blank = " " if "x" in scope.flags else ""
        return Part(blank.join(part.text for part in parts), lambda: "".join(part.sample() for part in parts))

    def quantified(self, scope: Scope) -> Part:
        atom = self.random.choice(self.atoms)(scope)
        if self.random.random() < 0.6:
            return atom
        low = self.random.choice((0, 1, 2, 3))
        high = low + self.random.choice((0, 1, 2))
        spelled = ("*", "+", "?", f"{{{low}}}", f"{{{low},{high}}}", f"{{,{high}}}", f"{{{low},}}")
        weights = (8, 8, 8, 4, 4, 2, 2)
        quantifier = self.random.choices(spelled, weights)[0]
        mode = self.random.choices(("", "?", "+"), (8, 3, 0.7))[0]
        least, most = {"*": (0, 3), "+": (1, 3), "?": (0, 1)}.get(quantifier, (low, high))
        least = 0 if quantifier.startswith("{,") else least

        def sample() -> str:
            return "".join(atom.sample() for _ in range(self.random.randint(least, most)))

        return Part(atom.text + quantifier + mode, sample)

    def literal(self, scope: Scope) -> Part:
        char = self.random.choice(ALPHABET)
        spellings = [re.escape(char), f"\\U{ord(char):08x}"]
        if ord(char) < 0x100:
            spellings += [f"\\x{ord(char):02x}", f"\\{ord(char):03o}"]
        if unicodedata.name(char, ""):
            spellings.append(f"\\N{{{unicodedata.name(char)}}}")
        if char not in r".^$*+?{}[]\|()" and not ("x" in scope.flags and char in " \t\n\r\v\f#"):
            spellings += [char] * 5
        return self.unit(self.random.choice(spellings), scope)

    def shorthand(self, scope: Scope) -> Part:
        return self.unit(self.random.choice((r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", ".", ".", ".")), scope)

    def char_class(self, scope: Scope) -> Part:
        members = []
        for _ in range(self.random.choice((1, 1, 2, 3, 4))):
            kind = self.random.random()
            if kind < 0.3:
                first, last = sorted(self.random.sample(ALPHABET, 2))
                members.append(f"{_in_class(first)}-{_in_class(last)}")
            elif kind < 0.5:
                members.append(self.random.choice((r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r"\b", "[:alpha:", "a-c")))
            else:
                members.append(_in_class(self.random.choice(ALPHABET)))
        negated = "^" if self.random.random() < 0.35 else ""
        return self.unit(f"[{negated}{''.join(members)}]", scope)

    def unit(self, text: str, scope: Scope) -> Part:
        """A part that matches one character: the samples are those of the alphabet that Python matches with it."""
        flags = "".join(sorted(scope.flags - {"m", "x"}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matching = re.compile(f"(?{flags}:{text})" if flags else text).fullmatch
        fitting = [char for char in ALPHABET if matching(char)] or [""]
        return Part(text, lambda: self.random.choice(fitting))

    def group(self, scope: Scope) -> Part:
        if scope.depth > 1:
            return self.literal(scope)
        on = self.random.choice(("i", "s", "m", "a", "x", "is"))
        self.names += 1
        opening, added, removed = self.random.choice(
            (
                ("(", "", ""),
                ("(?:", "", ""),
                ("(?:", "", ""),
                (f"(?P<n{self.names}>", "", ""),
                (f"(?{on}:", on, ""),
                ("(?-i:", "", "i"),
                ("(?-sm:", "", "sm"),
                ("(?>", "", "") if self.random.random() < 0.3 else ("(", "", ""),
            )
        )
        inner = Scope((scope.flags | set(added)) - set(removed), scope.depth + 1)
        body = self.alternation(inner)
        return Part(f"{opening}{body.text})", body.sample)

    def anchor(self, scope: Scope) -> Part:
        return Part(self.random.choice(("^", "$", "$", r"\A", r"\Z", r"\b", r"\B")), str)

    def look(self, scope: Scope) -> Part:
        body = self.alternation(Scope(scope.flags, scope.depth + 2))
        return Part(f"{self.random.choice(('(?=', '(?!'))}{body.text})", str)

    def oddity(self, scope: Scope) -> Part:
        kind = self.random.random()
        if kind < 0.5 and scope.depth < 2:
            return self.look(scope)
        return Part(self.random.choice(("(?#note)", "(?<=a)", r"\1", "(?=)", "(?!)", "(?:)", "()")), str)


SOUP = (
    *"aAbi01_ \n-]^$.|()[*+?{,}`\u017f\u0130",
    *("(?:", "(?=", "(?!", "(?i:", "(?s:", "(?m:", "(?#", "{2}", "{,2}", "{1,}", "??", "*+", "[^", "[]", "a-z"),
    *(r"\d", r"\w", r"\s", r"\W", r"\n", r"\Z", r"\A", r"\\", r"\-", r"\x41", r"\101", r"\u0130", r"\N{DIGIT ONE}"),
)
"""Tokens that are strung together blindly; what Python accepts of it is a pattern that no grammar foresees."""


def cases(seed: int, pairs: int) -> Iterator[Case]:
    """Cases with at least `pairs` (pattern, subject) pairs in all."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    maker = PatternMaker(chance)
    made = 0
    while made < pairs:
        soup = Part("".join(chance.choices(SOUP, k=chance.randint(1, 10))), str)
        part = soup if chance.random() < 0.2 else maker.pattern()
        if not _accepted(part.text):
            continue
        case = Case(part.text, _subjects(part, chance))
        made += len(case.subjects)
        yield case


def _subjects(part: Part, chance: random.Random) -> list[str]:
    sampled = [part.sample() for _ in range(2)]
    near = [_mutated(_mutated(text, chance), chance) for text in (*sampled, *sampled)]
    noise = ["".join(chance.choices(ALPHABET, k=chance.randint(1, 5))) for _ in range(4)]
    tails = [sampled[0] + "\n", sampled[1] + chance.choice(ALPHABET), "".join(chance.choices("aAb01_ \n", k=4))]
    found = dict.fromkeys((*sampled, *near, *noise, *tails))
    # Python's backtracking would never end for some of these patterns on longer subjects.
    return [text for text in found if len(text.removeprefix("model::")) <= 9]


def _mutated(text: str, chance: random.Random) -> str:
    place = chance.randint(0, len(text))
    change = chance.choice(("", chance.choice(ALPHABET), text[place : place + 1].swapcase()))
    return text[:place] + change + text[place + chance.randint(0, 1) :]


def _in_class(char: str) -> str:
    return f"\\{char}" if char in r"\]^-[&~|" else char


def _accepted(pattern: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(pattern)
        except Exception:  # noqa: BLE001 - CPython's own failures make no pattern either
            return False
    return True


_SMALL_SUBJECTS = {
    letter: ["".join(chars) for size in range(5) for chars in product(f"{letter}\n-", repeat=size)] for letter in "aé"
}
"""Every subject of up to four characters out of a letter, a newline and something else."""

_SMALL_ATOMS = (
    *("a", "a", "a", "-", r"\n", ".", "[^a]", r"\W"),
    *("^", "$", "$", "$", r"\Z", r"\b", r"\B", "(?!a)", "(?=a)", "(?!)"),
)
_SMALL_GROUPS = ("(", "(", "(?:", "(?m:", "(?s:", "(?>", "(?=", "(?!")
_SMALL_QUANTIFIERS = ("", "", "", "", "?", "*", "+", "{2}", "{0,2}", "{1,2}", "{2,}", "*?", "?+", "*+", "{2}+", "{2,}+")


def small_cases(seed: int, patterns: int) -> Iterator[Case]:
    """Short patterns full of anchors, look-ahead and atomic parts, each with every small subject."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    made = 0
    while made < patterns:
        letter, flags = chance.choice((("a", ""), ("é", ""), ("a", "(?a)"), ("a", "(?am)")))
        behind = chance.choice(("", "", "", "", "(?<!", "(?<="))
        end = f"{behind}{_small(chance, 3)}){chance.choice(('$', _FINISH))}" if behind else ""
        pattern = flags + (_small(chance, 0) + end).replace("a", letter)
        if _accepted(pattern):
            made += 1
            yield Case(pattern, _SMALL_SUBJECTS[letter])


def _small(chance: random.Random, depth: int) -> str:
    branches = []
    for _ in range(chance.choice((1, 1, 1, 2))):
        parts = []
        for _ in range(chance.randint(1, 3)):
            grouped = depth < 3 and chance.random() < 0.4
            group = f"{chance.choice(_SMALL_GROUPS)}{_small(chance, depth + 1)})" if grouped else ""
            parts.append((group or chance.choice(_SMALL_ATOMS)) + chance.choice(_SMALL_QUANTIFIERS))
        branches.append("".join(parts))
    return "|".join(branches)
