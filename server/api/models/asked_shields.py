"""The members of a body by which a caller asks for shields.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from server.http.body_checks import known_members, text_at, wrong
from server.inference.known_members import SHIELDS
from server.json_input.strict import InvalidJson, Json

MOST_ASKED: Final = 8
"""Shields that one request may ask for."""

LONGEST_NAME: Final = 512
"""Characters of a shield's name; no shield has a longer one."""

DEFAULT: Final = ""
"""Stands for the server's default shield."""

SIDES: Final = ("input", "output")
"""The sides of a model on which a moderation may block, or tell scores."""

_MODES: Final = ("score", "block")

Asked: TypeAlias = tuple[str, str, Sequence[str] | None]
"""A shield that a body asks for: its place in the body, its name or `DEFAULT`, and the sides on which it does no more
than tell what it finds. These are None where nothing is told.
"""


def asked_shields(body: Json) -> list[Asked]:
    """Return the shields that a body asks for.

    Raises InvalidJson for what they could not do here, and for a name that differs only in case from a member's.
    """
    if SHIELDS.isdisjoint(map(str.casefold, body)):
        return []
    for name in body.keys() - SHIELDS:
        if name.casefold() in SHIELDS:
            raise wrong(name, f"is written `{name.casefold()}`")
    found = _guardrails(body.get("guardrails")) + _moderation(body.get("moderation"))
    if len({name for _, name, _ in found}) > MOST_ASKED:
        raise wrong(found[-1][0], f"brings the shields of this request to more than {MOST_ASKED}")
    return found


def settings_of_shields(body: Json) -> Json:
    """Return the members of a chat that ask for the shields that a body asks for; raises InvalidJson."""
    return {name: body[name] for name in sorted(SHIELDS & body.keys())} if asked_shields(body) else {}


def check_blocking(body: Json) -> None:
    """Raise InvalidJson for a body that asks for results where no answer can tell them."""
    for _, _, scored in asked_shields(body):
        for side in scored or ():
            place = f"moderation.policy.{side}.mode"
            sentence = f"`{place}` must be `block` here, since this answer has no place for scores"
            raise InvalidJson(sentence, place, "unsupported_value")


def check_unshielded(body: Json) -> None:
    """Raise InvalidJson for a body that asks for shields, however the name is written, where none would act.

    Null asks for none. No provider is ever asked in the place of a shield, whatever its rules let pass.
    """
    for name, value in body.items():
        if name.casefold() in SHIELDS and value is not None:
            sentence = f"`{name}` is not served here; leave it out: no shield would check the texts"
            raise InvalidJson(sentence, name, "unsupported_parameter")


def _guardrails(given: Any) -> list[Asked]:
    if given is None or given is False:
        return []
    if given is True:
        return [("guardrails", DEFAULT, None)]
    if type(given) is not list or len(given) > MOST_ASKED:
        raise wrong("guardrails", f"must be true, or a list of at most {MOST_ASKED} names of shields")
    for index, name in enumerate(given):
        if type(name) is not str or not 0 < len(name) <= LONGEST_NAME:
            raise wrong(f"guardrails[{index}]", "must be the name of a shield")
    return [(f"guardrails[{index}]", name, None) for index, name in enumerate(given)]


def _moderation(given: Any) -> list[Asked]:
    if given is None:
        return []
    if type(given) is not dict:
        raise wrong("moderation", "must be an object with a `model`")
    known_members(given, ("model", "policy"), "moderation")
    name, policy = text_at(given, "model", "moderation", LONGEST_NAME), given.get("policy")
    if not isinstance(policy, dict | None):
        raise wrong("moderation.policy", "must be an object")
    known_members(policy or {}, SIDES, "moderation.policy")
    scored = [side for side in SIDES if _mode((policy or {}).get(side), f"moderation.policy.{side}") == "score"]
    return [("moderation.model", name, scored)]


def _mode(config: Any, place: str) -> str:
    """Return what a moderation does on one side; it tells scores where the body doesn't say."""
    if config is None:
        return "score"
    if type(config) is not dict:
        raise wrong(place, "must be an object with a `mode`")
    known_members(config, ("mode",), place)
    mode = config.get("mode")
    if type(mode) is not str or mode not in _MODES:
        raise wrong(f"{place}.mode", "must be `score` or `block`")
    return mode
