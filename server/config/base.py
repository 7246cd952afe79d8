"""The base of all models of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, ConfigDict, Discriminator, model_validator
from pydantic.fields import FieldInfo

from server.config.raw_value import RawValue, Section


@dataclass(frozen=True, slots=True)
class UnknownSetting:
    """Takes the place of a value whose key isn't `known`, so that the error can suggest one that is."""

    known: tuple[str, ...]


class StrictModel(BaseModel):
    """A mapping of the file: unknown keys are refused, values aren't coerced, and nothing changes after validation."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _mark_unknown_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = cls.keys()
        left_out = data.emptied & cls._with_a_default() if isinstance(data, Section) else set[str]()
        return {
            key: value if key in known else UnknownSetting(known) for key, value in data.items() if key not in left_out
        }

    @classmethod
    def _with_a_default(cls) -> set[str]:
        """Return the keys of scalars that have a default and are never None; the default replaces an empty variable.

        Not for lists: the default of some is everything, and an empty variable must not open them.
        """
        return {
            key
            for name, field in cls.model_fields.items()
            if not field.is_required() and not _may_be_none(field.annotation) and not isinstance(field.default, tuple)
            for key in _keys(name, field)
        }

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Return every key that the file may use here, alternative spellings included."""
        found: list[str] = []
        for name, field in cls.model_fields.items():
            found += _keys(name, field)
        return tuple(found)


def _keys(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    return [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [name]


def _may_be_none(annotation: Any) -> bool:
    return annotation is Any or NoneType in get_args(annotation)


def chosen_by(key: str, *names: str) -> Discriminator:
    """Return a discriminator that chooses a member of a union by the value of `key`; its tags are `names`."""

    def tag(value: object) -> str | None:
        word = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        return word.text if isinstance(word, RawValue) else word if isinstance(word, str) else None

    context: dict[str, int | str | float] = {"key": key, "known": " ".join(names)}
    return Discriminator(
        tag,
        custom_error_type="unknown-member",
        custom_error_message="no member has this tag",
        custom_error_context=context,
    )
