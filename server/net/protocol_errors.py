"""The reasons for which a request is not readable as HTTP."""

from __future__ import annotations

from enum import StrEnum


class ProtocolError(StrEnum):
    """What is wrong with a request that is not handed on, in a word."""

    FRAMING = "framing"
    METHOD = "method"
    PIPELINED = "pipelined"
    SIZE = "size"
    SYNTAX = "syntax"
    TARGET = "target"
    VERSION = "version"
