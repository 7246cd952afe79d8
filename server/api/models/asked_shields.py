"""The members of a body by which a caller asks for shields.

The checks may run in a worker process, so this module imports the standard library and `server.json_input` alone.
"""

from __future__ import annotations

from typing import Final

from server.json_input.strict import InvalidJson, Json

MEMBERS: Final = ("guardrails", "moderation")
"""Members that ask for shields; a provider that doesn't know them would ignore them."""


def check_unshielded(body: Json) -> None:
    """Raise InvalidJson for a body that asks for shields, however the name is written, where none would act.

    Null asks for none. No provider is ever asked in the place of a shield, whatever its rules let pass.
    """
    for name, value in body.items():
        if name.casefold() in MEMBERS and value is not None:
            sentence = f"`{name}` is not served in this version; leave it out: no shield would check the texts"
            raise InvalidJson(sentence, name, "unsupported_parameter")
