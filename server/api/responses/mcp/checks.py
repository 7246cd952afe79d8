"""The checks of tools of type `mcp` in a body, and of the approvals in its input.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from server.http.body_checks import text_at, wrong
from server.json_input.strict import Json

MOST_NAMES: Final = 512
"""Tools that a filter may name."""

MOST_HEADERS: Final = 32
"""Headers that one server of tools is sent."""

MOST_HEADER_BYTES: Final = 16 * 1024
"""Bytes of all headers of one server of tools."""

MOST_APPROVALS: Final = 32
"""Answers to approval requests in one input."""

LONGEST_URL: Final = 2048
"""Characters of the address of a server of tools."""

LONGEST_ID: Final = 128

_LABEL: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_VALUE: Final = re.compile(r"[\t -~]*")
_TOKEN: Final = re.compile(r"[!-~]+")
_OURS: Final = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect"),
        *("host", "keep-alive", "last-event-id", "mcp-protocol-version", "mcp-session-id", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"),
    }
)
"""Headers that the transport needs for itself."""


def check(tool: Json, place: str) -> Json:
    """Return what a tool asks for: `label`, `url` or `connector`, `headers`, `allowed`, `always` and `never`.

    It may hold secrets. `allowed` is a filter of tools, or None for all; calls of tools that `never` matches, and
    `always` does not, need no approval. Raises InvalidJson.
    """
    label = text_at(tool, "server_label", place)
    if not _LABEL.fullmatch(label):
        raise wrong(f"{place}.server_label", "must be a letter, and at most 63 letters, digits, `_` and `-` behind it")
    if tool.get("tunnel_id") is not None:
        raise wrong(f"{place}.tunnel_id", "is not served here; name the server by `server_url`")
    callers = tool.get("allowed_callers")
    if callers is not None and (type(callers) is not list or "direct" not in callers):
        raise wrong(f"{place}.allowed_callers", "must hold `direct`, since the model alone calls tools here")
    url, connector = (_named(tool, name, place) for name in ("server_url", "connector_id"))
    if (url is None) == (connector is None):
        raise wrong(f"{place}.server_url", "or `connector_id` must be given, and not both")
    allowed = tool.get("allowed_tools")
    if type(allowed) is list:
        allowed = {"tool_names": allowed}
    always, never = _approval(tool.get("require_approval"), f"{place}.require_approval")
    return {
        "label": label,
        "url": url,
        "connector": connector,
        "headers": _headers(tool, place),
        "allowed": None if allowed is None else _filter(allowed, f"{place}.allowed_tools"),
        "always": always,
        "never": never,
    }


def shown(tool: Json) -> Json:
    """Return a tool as answers repeat it: of the address no more than the server, since a path may be a secret."""
    url = tool.get("server_url")
    if type(url) is not str:
        return tool
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return {**tool, "server_url": ""}
    host = f"[{host}]" if ":" in host else host
    return {**tool, "server_url": f"{parts.scheme}://{host}{'' if port is None else f':{port}'}"}


def approvals_in(given: Any) -> Json:
    """Return the approval requests that an input brings along and answers, by their ids; raises InvalidJson."""
    items = given if type(given) is list else []
    answered = set[str]()
    for index, item in enumerate(items):
        if type(item) is not dict or item.get("type") != "mcp_approval_response":
            continue
        place = f"input[{index}]"
        identity = text_at(item, "approval_request_id", place, LONGEST_ID)
        if identity in answered:
            raise wrong(f"{place}.approval_request_id", "is answered twice; answer it once")
        if type(item.get("approve")) is not bool:
            raise wrong(f"{place}.approve", "must be true or false")
        if type(item.get("reason")) not in (str, type(None)):
            raise wrong(f"{place}.reason", "must be a text")
        answered.add(identity)
    if len(answered) > MOST_APPROVALS:
        raise wrong("input", f"may answer {MOST_APPROVALS} approval requests and no more")
    found: Json = {}
    for item in items if answered else ():
        if type(item) is dict and item.get("type") == "mcp_approval_request" and item.get("id") in answered:
            found[item["id"]] = {name: item.get(name) for name in ("server_label", "name", "arguments")}
    return found


def _named(tool: Json, name: str, place: str) -> str | None:
    return None if tool.get(name) is None else text_at(tool, name, place, LONGEST_URL)


def _headers(tool: Json, place: str) -> Json:
    given = tool.get("headers")
    headers = {} if given is None else given
    if type(headers) is not dict or len(headers) > MOST_HEADERS:
        raise wrong(f"{place}.headers", f"must be an object with at most {MOST_HEADERS} headers")
    names = [name.lower() for name in headers]
    if len(set(names)) < len(names):
        raise wrong(f"{place}.headers", "must name each header once, in one spelling")
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or type(value) is not str or not _VALUE.fullmatch(value):
            raise wrong(f"{place}.headers", "must be names and texts that a header can carry")
        if name.lower() in _OURS:
            raise wrong(f"{place}.headers", f"must not hold `{name.lower()}`, which is for the transport itself")
    token = tool.get("authorization")
    if token is not None:
        if "authorization" in names:
            raise wrong(f"{place}.headers", "must not hold `authorization` beside the `authorization` of the tool")
        if type(token) is not str or not _TOKEN.fullmatch(token):
            raise wrong(f"{place}.authorization", "must be an access token, without blanks and without `Bearer`")
        headers = {**headers, "Authorization": f"Bearer {token}"}
    if sum(len(name) + len(value) for name, value in headers.items()) > MOST_HEADER_BYTES:
        raise wrong(f"{place}.headers", f"must take at most {MOST_HEADER_BYTES} bytes")
    return headers


def _approval(given: Any, place: str) -> tuple[Json | None, Json | None]:
    """Return the filters of tools whose calls always and never need an approval; what neither matches needs one."""
    if given is None or given == "always":
        return None, None
    if given == "never":
        return None, {"names": None, "read_only": None}
    if type(given) is not dict or given.keys() - {"always", "never"}:
        raise wrong(place, "must be `always`, `never`, or an object with `always` and `never`")
    always, never = (
        None if given.get(name) is None else _filter(given[name], f"{place}.{name}") for name in ("always", "never")
    )
    return always, never


def _filter(given: Any, place: str) -> Json:
    if type(given) is not dict or not given or given.keys() - {"tool_names", "read_only"}:
        raise wrong(place, "must have `tool_names`, `read_only` or both")
    names, read_only = given.get("tool_names"), given.get("read_only")
    if names is not None and (
        type(names) is not list or len(names) > MOST_NAMES or any(type(name) is not str for name in names)
    ):
        raise wrong(place, f"must hold at most {MOST_NAMES} names of tools, which are texts")
    if type(read_only) not in (bool, type(None)) or (names is None and read_only is None):
        raise wrong(place, "must have `tool_names`, a list, or `read_only`, true or false")
    return {"names": names, "read_only": read_only}
