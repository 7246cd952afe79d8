"""The bodies of requests to shields, and the texts in them.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from server.http.body_checks import known_members, missing, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, InvalidJson, Json, Why
from server.safety.images import MOST_IMAGES, Image, image_of

MOST_INPUTS: Final = 64
"""Texts of one request for moderations, each of which is checked by itself."""

MOST_MESSAGES: Final = 2000
"""Messages of one request to a shield."""

MOST_BYTES: Final = 640 * 1024
"""Bytes of a request to a shield; a check of a body may return little more."""

LONGEST_ID: Final = 256
"""Bytes of the id of a shield."""

_BY_MODEL: Final = frozenset({"assistant", "model"})
_SOURCES: Final = frozenset({"developer", "function", "system", "tool"})


@dataclass(frozen=True, slots=True)
class RunBody:
    """A request to run a shield: its id, and each text with whether a model has made it, or a system or a tool.

    `images` have their places.
    """

    shield_id: str
    said: list[tuple[str, bool, bool]]
    images: list[tuple[str, Image]]


@dataclass(frozen=True, slots=True)
class ModerationBody:
    """A request for moderations: the shield that it names or None, and the texts, one for each result.

    With `images`, which have their places, there is one text.
    """

    model: str | None
    inputs: list[str]
    images: list[tuple[str, Image]]


def read_run(document: Document) -> Json:
    """Return the members of a RunBody; raises InvalidJson with the place of what is wrong."""
    body = _checked(document)
    known_members(body, ("shield_id", "messages", "params"))
    if "shield_id" not in body:
        raise missing("shield_id")
    if "messages" not in body:
        raise missing("messages")
    params = body.get("params")
    if params not in (None, {}):
        # They could make a shield weaker than its owner wants it.
        sentence = "a shield has the params that it was registered with; leave `params` out"
        raise InvalidJson(sentence, "params", "unsupported_parameter")
    messages = body["messages"]
    if type(messages) is not list or not 0 < len(messages) <= MOST_MESSAGES:
        raise wrong("messages", f"must be a list of 1 to {MOST_MESSAGES} messages")
    images: list[list[str]] = []
    said = [said for index, message in enumerate(messages) for said in _said_in(message, f"messages[{index}]", images)]
    return {"shield_id": _name(body["shield_id"], "shield_id"), "said": said, "images": images}


def read_moderation(document: Document) -> Json:
    """Return the members of a ModerationBody; raises InvalidJson with the place of what is wrong."""
    body = _checked(document)
    known_members(body, ("input", "model"))
    if "input" not in body:
        raise missing("input")
    model, images = body.get("model"), list[list[str]]()
    return {
        "model": None if model is None else _name(model, "model"),
        "inputs": _inputs(body["input"], images),
        "images": images,
    }


def _checked(document: Document) -> Json:
    if len(document.raw) > MOST_BYTES:
        raise InvalidJson(f"a request to a shield has at most {MOST_BYTES} bytes", why=Why.TOO_COMPLEX)
    return document.members


def _name(value: object, place: str) -> str:
    if type(value) is not str or not 0 < len(value.encode()) <= LONGEST_ID or "\0" in value:
        raise wrong(place, "must be the id of a shield")
    return value


def _inputs(given: Any, images: list[list[str]]) -> list[str]:
    match given:
        case str():
            return [given]
        case [str(), *_]:
            if len(given) > MOST_INPUTS:
                raise wrong("input", f"must hold at most {MOST_INPUTS} texts; send the others in another request")
            for index, text in enumerate(given):
                if type(text) is not str:
                    raise wrong(f"input[{index}]", "must be a text, as the others are")
            return [*given]
        case [dict(), *_]:
            return ["\n\n".join(_texts_of(given, "input", images))]
    raise wrong("input", "must be a text, a list of texts, or a list of parts")


def _said_in(message: Any, place: str, images: list[list[str]]) -> Iterator[tuple[str, bool, bool]]:
    """Yield the texts of a message, those of calls too, each with whether a model, or a system or tool, has made it."""
    if type(message) is not dict:
        raise wrong(place, "must be an object")
    if type(message.get("role")) is not str:
        raise wrong(f"{place}.role", "must be a text")
    by_model, is_source = message["role"] in _BY_MODEL, message["role"] in _SOURCES
    content = message.get("content")
    if type(content) is str:
        yield content, by_model, is_source
    elif content is not None:
        seen = images if message["role"] == "user" else None
        yield from ((text, by_model, is_source) for text in _texts_of(content, f"{place}.content", seen))
    if type(message.get("refusal")) is str:
        yield message["refusal"], by_model, False
    calls = message.get("tool_calls")
    if calls is not None and type(calls) is not list:
        raise wrong(f"{place}.tool_calls", "must be a list")
    for index, call in enumerate(calls or ()):
        yield _call(call, f"{place}.tool_calls[{index}]"), True, False
    if message.get("function_call") is not None:
        yield _named(message["function_call"], f"{place}.function_call"), True, False


def _call(call: Any, place: str) -> str:
    if type(call) is not dict:
        raise wrong(place, "must be an object")
    if type(call.get("custom")) is dict:
        custom = call["custom"]
        return _named({"name": custom.get("name"), "arguments": custom.get("input")}, f"{place}.custom")
    return _named(call.get("function"), f"{place}.function")


def _named(function: Any, place: str) -> str:
    if type(function) is not dict:
        raise wrong(place, "must be an object")
    name, arguments = function.get("name"), function.get("arguments")
    if type(name) is not str or not isinstance(arguments, str | None):
        raise wrong(place, "must have a `name` and `arguments`, both texts")
    return f"{name}\n{arguments or ''}"


def _texts_of(parts: Any, place: str, images: list[list[str]] | None) -> Iterator[str]:
    """Yield the texts of parts, and add their images to `images`, each with its place.

    Raises InvalidJson for a part that no shield reads, such as an image where there is no such list.
    """
    if type(parts) is not list:
        raise wrong(place, "must be a text or a list of parts")
    for index, part in enumerate(parts):
        image = image_of(part) if images is not None and type(part) is dict else None
        if image is not None and images is not None and len(images) < MOST_IMAGES:
            images.append([f"{place}[{index}]", image.format, image.data])
            continue
        kind = part.get("type") if type(part) is dict else None
        text = part.get("refusal" if kind == "refusal" else "text") if type(part) is dict else None
        if kind not in ("text", "input_text", "output_text", "refusal") or type(text) is not str:
            sentence = (
                f"`{place}[{index}]` is neither a text nor one of at most {MOST_IMAGES} images of the user, "
                "PNG or JPEG in a data URL"
            )
            raise InvalidJson(sentence, f"{place}[{index}]", "unsupported_value")
        yield text


def run_body(shield_id: str, said: list[Any], images: list[list[str]]) -> RunBody:
    """Return the body of which a check has returned these members; JSON knows no tuples."""
    return RunBody(shield_id, [(text, by_model, is_source) for text, by_model, is_source in said], _placed(images))


def moderation_body(model: str | None, inputs: list[str], images: list[list[str]]) -> ModerationBody:
    """Return the body of which a check has returned these members."""
    return ModerationBody(model, inputs, _placed(images))


def _placed(images: list[list[str]]) -> list[tuple[str, Image]]:
    return [(place, Image(kind, data)) for place, kind, data in images]


RUN: Final = BodyParser(read_run, run_body)
MODERATION: Final = BodyParser(read_moderation, moderation_body)
