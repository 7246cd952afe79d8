"""What all shapes of the configuration have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Discriminator, model_validator

from server.config.given import Given


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """Stands in the place of a value whose key isn't `known`, so that the error can suggest one that is."""

    known: tuple[str, ...]


class Shape(BaseModel):
    """A mapping of the file: unknown keys are refused, values aren't coerced, nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _mark_unknown_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = cls.keys()
        return {key: value if key in known else UnknownKey(known) for key, value in data.items()}

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Every key that the file may use here, second spellings included."""
        found: list[str] = []
        for name, field in cls.model_fields.items():
            alias = field.validation_alias
            found += [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [name]
        return tuple(found)


def chosen_by(key: str, *names: str) -> Discriminator:
    """Chooses a member of a union by what `key` says; its tags are `names`."""

    def tag(value: object) -> str | None:
        word = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        return word.text if isinstance(word, Given) else word if isinstance(word, str) else None

    context: dict[str, int | str | float] = {"key": key, "known": " ".join(names)}
    return Discriminator(
        tag,
        custom_error_type="unknown-member",
        custom_error_message="no member has this tag",
        custom_error_context=context,
    )
