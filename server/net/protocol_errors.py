"""The reasons for which a request is not readable as HTTP."""

from __future__ import annotations

from enum import StrEnum


class ProtocolError(StrEnum):
    """The fault of a request that is rejected before it reaches the application, as one word."""

    FRAMING = "framing"
    METHOD = "method"
    PIPELINED = "pipelined"
    SIZE = "size"
    SYNTAX = "syntax"
    TARGET = "target"
    VERSION = "version"
