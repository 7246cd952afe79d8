"""Patterns that no subject of another type than `model` matches, in whichever way they begin."""

from __future__ import annotations

from typing import Final

MODELS_ALONE: Final = (
    "model::.*",
    "(?!model::research-)model::.*",
    "(?!model::a$)(?!model::b$)model::",
    "(?=model::[a-z]+$).*",
    "(?=.*-dev$)model::",
    "(?!sql_record::)(?!prompt::)model::.*",
    "^model::a",
    r"\Amodel::a",
    r"\bmodel::.*",
    "(?i)model::llama",
    "(?i:MODEL)::llama",
    "(?s)model::.*x",
    "(?x) model :: a",
    "(model)::a",
    "(?P<type>model)::a",
    "(?:model|model)::a",
    "(?:model::a|model::b)$",
    "[m]odel::a",
    "m(?:o|0)del::a",
    "(?:model::)+a",
    "mode[l-m]::.*",
    "(?:x|m)odel::.*",
    "(?!)|model::.*",
    "[^:spbvt]+l::.*",
    "..d.l::.*",
    "m.*",
)
