"""Requests for responses that are answered later, as they are kept until then, without their items."""

from __future__ import annotations

from dataclasses import asdict, fields
from json import dumps, loads
from typing import Any, Final

from server.api.responses.body import RESPONSE, ResponseBody
from server.http.errors import invalid

_NOT_KEPT: Final = ("authorization", "headers")
"""Members of tools that may hold secrets."""


def kept_request(body: ResponseBody) -> bytes:
    """Return a body as JSON; raises the 400 for one with a secret, which is not kept."""
    for place, members in (asked for every in body.served.values() for asked in every):
        for name in _NOT_KEPT:
            if members.get(name):
                sentence = f"`{place}.{name}` is not kept until a response is answered later; leave out `background`"
                raise invalid(sentence, f"{place}.{name}", "unsupported_value")
        if "?" in (members.get("url") or ""):
            sentence = f"the query of `{place}.server_url` is not kept until a response is answered later"
            raise invalid(f"{sentence}; leave out `background`", f"{place}.server_url", "unsupported_value")
    members = {field.name: getattr(body, field.name) for field in fields(body) if field.name not in ("items", "prompt")}
    prompt = None if body.prompt is None else asdict(body.prompt)
    items = [[item.word, 0, item.copy_of] for item in body.items]
    return dumps({**members, "prompt": prompt, "items": items}, default=_plain, separators=(",", ":")).encode()


def request_of(text: bytes) -> ResponseBody:
    """Return the body of such a text; its items are empty but for what they refer to."""
    return RESPONSE.value({**loads(text), "texts": b""})


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"a body holds a {type(value).__name__}, which is not kept")
