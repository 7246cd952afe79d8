"""The `params` of shields, of the configuration and of those that callers register: their types, and what they hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from policy.source.diagnostics import hint_of
from server.config.llama_guard import VERSIONS

LLAMA_GUARD: Final = "inline::llama-guard"
BEDROCK: Final = "remote::bedrock"
KEYWORD: Final = "inline::keyword"

TRANSPORTS: Final = ("chat", "completions")

MOST_WORDS: Final = 1000
"""Words and phrases of one shield of `inline::keyword`."""

LONGEST_WORD: Final = 200
"""Characters of one of them."""

LONGEST_MESSAGE: Final = 500
"""Characters of the sentence that a shield shows to the callers whose texts it flags."""

TIMEOUT_SECONDS: Final = 10.0
"""Time that a shield has for one check, unless its `params` say another one."""

MOST_SECONDS: Final = 120.0
"""Limit of that time."""

GUARDRAIL: Final = re.compile(
    r"[a-z0-9]{1,64}|arn:aws(?:-[a-z-]{1,20})?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]{1,64}"
)
"""The id of a guardrail of Bedrock, or its ARN."""

GUARDRAIL_VERSION: Final = re.compile(r"[1-9][0-9]{0,7}|DRAFT")

_SECONDS: Final = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4})?")
_COMMON: Final = ("timeout", "message", "on_error")
_VERSION_KEYS: Final = ("guardrailVersion", "guardrail_version", "version")


class BadParams(Exception):
    """Raised for params that no shield can have, with the `key` that is wrong, the end of a sentence, and a hint."""

    def __init__(self, key: str, sentence: str, hint: str = "") -> None:
        super().__init__(f"`{key}` {sentence}")
        self.key = key
        self.sentence = sentence
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Common:
    """Params of every shield.

    A check ends after `timeout` seconds. `message` is shown to callers whose texts are flagged. If it `lets_pass`,
    texts pass unchecked when it fails, unless a rule requires it.
    """

    timeout: float = TIMEOUT_SECONDS
    message: str | None = None
    lets_pass: bool = False


@dataclass(frozen=True, slots=True)
class GuardParams:
    """Params of a Llama Guard: its `taxonomy`, None where the model's name tells it, how the model is asked, and the
    codes of the categories that it lets pass.
    """

    common: Common
    taxonomy: str | None
    transport: str
    excluded: frozenset[str]

    def check_excluded(self, taxonomy: str) -> None:
        """Raise BadParams if nothing of the taxonomy is left, or if a code is none of it."""
        codes = VERSIONS[taxonomy].categories
        for code in sorted(self.excluded - codes.keys()):
            raise BadParams("excluded_categories", f"holds `{code}`, which is no category of `{taxonomy}`")
        if self.excluded >= codes.keys():
            sentence = f"holds every category of `{taxonomy}`, so nothing would be unsafe"
            raise BadParams("excluded_categories", sentence, "leave one of them out, or the shield")


@dataclass(frozen=True, slots=True)
class BedrockParams:
    """Params of a guardrail of Bedrock; its answers are checked against their sources too if `grounding`."""

    common: Common
    version: str
    grounding: bool = False


@dataclass(frozen=True, slots=True)
class KeywordParams:
    """Params of a list of words: the words of each category, and whether only whole words are found."""

    common: Common
    categories: Mapping[str, tuple[str, ...]]
    whole_words: bool


def guard_params(given: Mapping[str, Any], excluded: Iterable[str] = ()) -> GuardParams:
    """Return the params of a Llama Guard; `excluded` are the codes that its provider lets pass. Raises BadParams."""
    _known(given, ("taxonomy", "transport", "excluded_categories", *_COMMON))
    codes = frozenset(_texts(given, "excluded_categories", 64, 8)) | frozenset(excluded)
    params = GuardParams(
        _common(given),
        _choice(given, "taxonomy", tuple(VERSIONS), None),
        _choice(given, "transport", TRANSPORTS, "chat") or "chat",
        codes,
    )
    if params.taxonomy is not None:
        params.check_excluded(params.taxonomy)
    return params


def bedrock_params(given: Mapping[str, Any]) -> BedrockParams:
    """Return the params of a guardrail of Bedrock; raises BadParams."""
    _known(given, (*_VERSION_KEYS, "grounding", *_COMMON))
    named = [key for key in _VERSION_KEYS if given.get(key) is not None]
    if len(named) != 1:
        hint = f"`{named[1]}` says the same" if named else "write a number from 1, or `DRAFT`"
        raise BadParams("guardrailVersion", "is needed once", hint)
    value = given[named[0]]
    version = str(value) if type(value) is int else value
    if type(version) is not str or not GUARDRAIL_VERSION.fullmatch(version):
        raise BadParams(named[0], "takes a number from 1, or `DRAFT`")
    return BedrockParams(_common(given), version, _flag(given, "grounding", default=False))


def keyword_params(given: Mapping[str, Any]) -> KeywordParams:
    """Return the params of a list of words; raises BadParams."""
    _known(given, ("words", "categories", "whole_words", *_COMMON))
    lists: dict[str, tuple[str, ...]] = {}
    if given.get("words") is not None:
        lists["keyword"] = _texts(given, "words", MOST_WORDS, LONGEST_WORD)
    categories = given.get("categories")
    if categories is not None:
        if not isinstance(categories, Mapping) or not all(isinstance(name, str) and name for name in categories):
            raise BadParams("categories", "takes lists of words by the names of their categories")
        for name in categories:
            if len(name) > LONGEST_WORD or name in lists:
                raise BadParams("categories", "takes names of at most 200 characters, each once")
            lists[name] = _texts(categories, name, MOST_WORDS, LONGEST_WORD)
    if not lists or not all(lists.values()):
        raise BadParams("words", "takes a list of words", "write at least one word, here or under `categories`")
    if sum(map(len, lists.values())) > MOST_WORDS:
        raise BadParams("categories", f"takes at most {MOST_WORDS} words in all")
    return KeywordParams(_common(given), lists, _flag(given, "whole_words", default=True))


def lets_pass(params: Mapping[str, Any]) -> bool:
    """Return whether texts pass a shield with these params when it fails, unless a rule requires it."""
    return params.get("on_error") == "allow"


def check_identity(provider_type: str, identity: str) -> None:
    """Raise BadParams for a `provider_shield_id` that a provider of this type can't have."""
    if provider_type == BEDROCK and not GUARDRAIL.fullmatch(identity):
        raise BadParams("provider_shield_id", "takes the id of a guardrail, of small letters and digits, or its ARN")


PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any]], GuardParams | BedrockParams | KeywordParams]]] = {
    LLAMA_GUARD: guard_params,
    BEDROCK: bedrock_params,
    KEYWORD: keyword_params,
}
"""The parser of the params of each type."""


def _known(given: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for key in given:
        if key not in names:
            raise BadParams(key, "is not a key of `params`", hint_of(key, names))


def _common(given: Mapping[str, Any]) -> Common:
    timeout = given.get("timeout")
    if timeout is None:
        timeout = TIMEOUT_SECONDS
    elif type(timeout) is str and _SECONDS.fullmatch(timeout):
        timeout = float(timeout)  # of a variable
    if type(timeout) not in (int, float) or not 0 < timeout <= MOST_SECONDS:
        raise BadParams("timeout", f"takes seconds, more than 0 and at most {MOST_SECONDS:g}")
    message = given.get("message")
    if message is not None and (type(message) is not str or not 0 < len(message) <= LONGEST_MESSAGE):
        raise BadParams("message", f"takes a text of 1 to {LONGEST_MESSAGE} characters")
    lets_pass = _choice(given, "on_error", ("block", "allow"), "block") == "allow"
    return Common(float(timeout), message, lets_pass)


def _choice(given: Mapping[str, Any], key: str, names: tuple[str, ...], default: str | None) -> str | None:
    value = given.get(key)
    if value is None:
        return default
    if value not in names:
        raise BadParams(key, f"takes {', '.join(f'`{name}`' for name in names[:-1])} or `{names[-1]}`")
    return str(value)


def _flag(given: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = given.get(key)
    if value is None:
        return default
    if value in ("true", "false"):
        return bool(value == "true")  # of a variable
    if type(value) is not bool:
        raise BadParams(key, "takes `true` or `false`")
    return value


def _texts(given: Mapping[str, Any], key: str, most: int, longest: int) -> tuple[str, ...]:
    value = given.get(key)
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > most:
        raise BadParams(key, f"takes a list of at most {most} texts")
    for text in value:
        if type(text) is not str or not text.strip() or len(text) > longest:
            raise BadParams(key, f"takes texts of 1 to {longest} characters")
    return tuple(value)
