"""Raw values of a configuration file: text and origin, before validation by a field's type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from policy.source.diagnostics import quoted


@dataclass(frozen=True, slots=True)
class RawValue:
    """One scalar of the file, after substitution.

    `literal` is what YAML reads an unquoted scalar as, or the text itself where it is quoted or came out of a
    substitution. `variables` names the environment variables in it; it is empty for what the file says itself. The
    text may be a secret, so it is not part of the representation.
    """

    text: str = field(repr=False)
    literal: str | int | float | bool = field(repr=False)
    variables: tuple[str, ...] = ()

    def described(self) -> str:
        """Return the value as messages may show it: the file's own text in back-quotes, but never a value from the
        environment.
        """
        if self.variables:
            return "the value of " + " and ".join(f"`{name}`" for name in self.variables)
        return quoted(self.text)


class Section(dict[str, Any]):
    """A mapping of the file; `emptied` are the keys that their variables leave without a value (`${env.X:=}`)."""

    def __init__(self) -> None:
        super().__init__()
        self.emptied: set[str] = set()


class Unresolved:
    """Takes the place of a scalar without a value for a reason that is reported already, such as a missing variable."""


UNRESOLVED: Final = Unresolved()
