"""The models of tool groups: the tools that a provider of `tool_runtime` has under one name."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticUseDefault

from server.config.base import StrictModel
from server.config.sizes import size
from server.config.types import Anything, Secret, Text, refusal
from server.net.outbound import Unreachable, parsed

LONGEST_ID: Final = 256
"""Bytes of the id of a tool group in UTF-8."""

LEAST_MEMORY: Final = 64 * 1024 * 1024
"""Bytes of memory that a program of tools needs at least to start, in most languages."""

MOST_MEMORY: Final = 1024**4
"""Bytes of memory that the configuration may let a program of tools have."""

_MOST_WORDS: Final = 64
_VARIABLE: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_UNREACHABLE: Final = re.compile(r"\\|%[0-9A-Fa-f]{2}|(?:\A|/)\.{0,2}(?:/|\Z)")
"""Text that the path of a request cannot hold, or holds with another meaning."""


def _group_id(value: str) -> str:
    if len(value.encode()) > LONGEST_ID or not value.isprintable() or _UNREACHABLE.search(value):
        sentence = f"takes an id of at most {LONGEST_ID} bytes that a path can hold: no `\\`, no `%2F`, no dot segments"
        raise refusal("wrong-value", sentence)
    return value


def _uri(value: str) -> str:
    try:
        url = parsed(value)
    except Unreachable as fault:
        raise refusal("bad-url", f"is no address of a server of tools: {fault}") from None
    if url.query_string:
        raise refusal("bad-url", "has a query, which callers who may read the group would be shown; leave it out")
    return value


def _null_is_nothing(value: object) -> object:
    if value is None:
        raise PydanticUseDefault
    return value


class McpEndpoint(StrictModel):
    """The address of a server that speaks the Model Context Protocol."""

    uri: Annotated[Text, AfterValidator(_uri)]


def _command(value: tuple[str, ...]) -> tuple[str, ...]:
    if not 0 < len(value) <= _MOST_WORDS:
        raise refusal("wrong-value", f"takes a program and its arguments, {_MOST_WORDS} texts at most")
    if not value[0].startswith("/"):
        hint = "write `[/usr/bin/uvx, mcp-server-time]` for `uvx mcp-server-time`"
        raise refusal("wrong-value", "begins with the absolute path of a program", hint, below=(0,))
    return value


def _environment(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name in value:
        if not _VARIABLE.fullmatch(name):
            raise refusal("wrong-value", f"has `{name}`, which is no name of a variable", whole=False)
    return value


class McpCommand(StrictModel):
    """A program that speaks the Model Context Protocol on its standard streams, and what its environment has.

    Each of its processes has at most `max_memory` bytes.
    """

    command: Annotated[tuple[Text, ...], AfterValidator(_command)]
    environment: Annotated[dict[str, Secret], AfterValidator(_environment)] = Field(default_factory=dict)
    max_memory: Annotated[int, size(LEAST_MEMORY, MOST_MEMORY, "from 64MiB to 1024GiB")] = 1024**3


class ToolGroupConfig(StrictModel):
    """A group of tools that is there from the start on, has no owner, and comes from the configuration.

    Rules go by `toolgroup_id`, and know its tools as `tool::TOOLGROUP_ID/NAME`. Its server is at `mcp_endpoint`, or is
    the program of `mcp_command`, which no caller is shown. `args` are kept and shown.
    """

    toolgroup_id: Annotated[Text, AfterValidator(_group_id)]
    provider_id: Text
    mcp_endpoint: McpEndpoint | None = None
    mcp_command: McpCommand | None = None
    args: Annotated[dict[str, Anything], BeforeValidator(_null_is_nothing)] = Field(default_factory=dict)
