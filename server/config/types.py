"""Field types: text from a file or from the environment becomes a value of the field's type.

A validator gets a `RawValue` when a file is read, and a ready value when a model is built in Python. It refuses with
the end of a sentence whose beginning is the field's name: "takes a whole number".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Never

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from policy.source.diagnostics import hint_of
from server.config.raw_value import RawValue
from server.local_files.secrets import HEADER_TEXT

_ODD: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_IN_FILE: Final = "${file:"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_WHOLE: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})")
_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})


def refusal(
    code: str, sentence: str, hint: str = "", *, whole: bool = False, below: tuple[str | int, ...] = ()
) -> PydanticCustomError:
    """Return the exception of a validator: `code` as in `Diagnostic`, `sentence`, and `hint`.

    The sentence continues from the field's name, unless it is `whole`. `below` leads from the validated value to the
    field that the sentence is about.
    """
    context = {"code": code, "sentence": sentence, "hint": hint, "whole": whole, "below": below}
    return PydanticCustomError("refused", "{sentence}", context)


def scalar(value: object, expected: str) -> RawValue:
    """Return `value` as one scalar; refuse an empty place, a list and a mapping, saying that it must be `expected`."""
    if isinstance(value, RawValue):
        return value
    if value is None:
        raise refusal("missing-value", "needs a value")
    raise refusal("wrong-kind", f"takes {expected}, not a {'mapping' if isinstance(value, dict) else 'list'}")


def refuse(given: RawValue, expected: str, hint: str = "") -> Never:
    """Refuse a scalar that isn't `expected`, without showing what the environment holds."""
    raise refusal("wrong-value", f"takes {expected}, not {given.described()}", hint)


def text(value: object) -> object:
    """Validate text: never empty, no control characters, no blanks around it, and no number that YAML has read."""
    if isinstance(value, str):
        return value
    given = scalar(value, "text")
    if not isinstance(given.literal, str):
        kind = "a boolean" if isinstance(given.literal, bool) else "a number"
        raise refusal("not-text", f"takes text, and YAML reads it as {kind}", "write it in quotes")
    if not given.text:
        raise refusal("missing-value", "needs a value, and its text is empty")
    if given.text.startswith(_IN_FILE):
        raise refusal(
            "wrong-value", "takes no `${file:…}`", "only keys of providers do, as the whole of what is written"
        )
    if _ODD.search(given.text):
        raise refusal("control-character", "holds a line break or another control character")
    if given.text != given.text.strip():
        raise refusal("blank-around", "starts or ends with a blank")
    return given.text


def one_of(*names: str) -> BeforeValidator:
    """Return a validator for one of these words."""

    def choose(value: object) -> object:
        word = text(value)
        if word in names or not isinstance(value, RawValue):
            return word
        raise unknown_choice(value, names)

    return BeforeValidator(choose)


def unknown_choice(given: RawValue, names: Iterable[str]) -> PydanticCustomError:
    """Return the refusal of a word that isn't one of `names`."""
    word = "" if given.variables else given.text
    return refusal("unknown-choice", f"can't be {given.described()}", hint_of(word, names))


def whole_number(least: int, most: int) -> BeforeValidator:
    """Return a validator for a whole number from `least` to `most`, inclusive."""
    expected = f"a whole number from {least} to {most}"

    def count(value: object) -> object:
        if isinstance(value, int):
            return value
        given = scalar(value, expected)
        if not _WHOLE.fullmatch(given.text) or not least <= int(given.text) <= most:
            refuse(given, expected)
        return int(given.text)

    return BeforeValidator(count)


def switch(value: object) -> object:
    """Validate true or false, in the spellings of YAML (`yes`, `off`, …) or as `1` and `0`."""
    if isinstance(value, bool):
        return value
    given = scalar(value, "`true` or `false`")
    word = given.text.lower()
    if word not in _TRUE | _FALSE:
        refuse(given, "`true` or `false`")
    return word in _TRUE


def secret(value: object) -> object:
    """Validate a credential: text that no message and no representation shows."""
    return value if isinstance(value, SecretStr) else SecretStr(str(text(value)))


def as_written(value: object) -> object:
    """Return a value of any type: as YAML reads it, and text wherever it came from a substitution."""
    if isinstance(value, dict):
        return {key: as_written(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(map(as_written, value))
    literal = value.literal if isinstance(value, RawValue) else value
    if isinstance(literal, float) and not math.isfinite(literal):
        raise refusal("wrong-value", "holds a number that JSON has no word for")
    if isinstance(literal, str) and _SURROGATE.search(literal):
        raise refusal("control-character", "holds a character that is no text")
    return literal


Text = Annotated[str, BeforeValidator(text)]
"""Text that isn't empty; the value of `${env.X}` is text whatever it looks like."""

Switch = Annotated[bool, BeforeValidator(switch)]
"""A boolean."""


def for_a_header(value: SecretStr) -> SecretStr:
    """Validate a credential that a header can carry."""
    if not HEADER_TEXT.fullmatch(value.get_secret_value()):
        raise refusal("bad-token", "takes a token of printable ascii characters without a blank")
    return value


Secret = Annotated[SecretStr, BeforeValidator(secret)]
"""A credential."""

BearerToken = Annotated[Secret, AfterValidator(for_a_header)]
"""A credential that is sent in a header as it is."""

Anything = Annotated[Any, BeforeValidator(as_written)]
"""Any JSON value."""
