"""The APIs that configurations name: which of them this version serves. Every other place asks this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from policy.source.diagnostics import quoted


class Standing(Enum):
    """The extent to which an API is served.

    `PROVIDED`: by the providers under its key in `providers`. `BUILT_IN`: without providers. `LATER`: a later version
    serves it. `NEVER`: no version is planned to.
    """

    PROVIDED = auto()
    BUILT_IN = auto()
    LATER = auto()
    NEVER = auto()


@dataclass(frozen=True, slots=True)
class Api:
    """One API: its standing, a path of ours that it stands for, and what to do where it isn't served.

    `sections` are the lists of the configuration whose entries the API needs.
    """

    standing: Standing
    route: str = ""
    advice: str = ""
    sections: tuple[str, ...] = ()


_ELSEWHERE: Final = "run it beside the server, as a client of its API"

APIS: Final[Mapping[str, Api]] = {
    "agents": Api(Standing.PROVIDED, "/v1/responses"),
    "batches": Api(Standing.PROVIDED, "/v1/batches"),
    "inference": Api(Standing.PROVIDED, "/v1/chat/completions", sections=("models",)),
    "safety": Api(Standing.PROVIDED, "/v1/moderations", sections=("shields",)),
    "tool_runtime": Api(Standing.PROVIDED, "/v1/responses", sections=("tool_groups",)),
    "vector_io": Api(Standing.PROVIDED, "/v1/vector_stores", sections=("vector_stores", "vector_dbs")),
    "benchmarks": Api(Standing.BUILT_IN, "/v1/eval/benchmarks"),
    "conversations": Api(Standing.BUILT_IN, "/v1/conversations"),
    "datasets": Api(Standing.BUILT_IN, "/v1/datasets"),
    "files": Api(Standing.BUILT_IN, "/v1/files"),
    "messages": Api(Standing.BUILT_IN, "/v1/messages"),
    "inspect": Api(Standing.BUILT_IN, "/v1/health"),
    "models": Api(Standing.BUILT_IN, "/v1/models"),
    "prompts": Api(Standing.BUILT_IN, "/v1/prompts"),
    "providers": Api(Standing.BUILT_IN, "/v1/providers"),
    "responses": Api(Standing.BUILT_IN, "/v1/responses"),
    "scoring_functions": Api(Standing.BUILT_IN, "/v1/scoring-functions"),
    "shields": Api(Standing.BUILT_IN, "/v1/shields"),
    "tool_groups": Api(Standing.BUILT_IN, "/v1/toolgroups"),
    "vector_dbs": Api(Standing.BUILT_IN, "/v1/vector-dbs"),
    "admin": Api(Standing.LATER, advice="use `ostiary` at a terminal until then"),
    "connectors": Api(Standing.LATER, advice="list groups under `tool_groups` until then"),
    "datasetio": Api(Standing.NEVER, advice=_ELSEWHERE, sections=("datasets",)),
    "eval": Api(Standing.NEVER, advice=_ELSEWHERE, sections=("benchmarks",)),
    "file_processors": Api(Standing.NEVER, advice="send text, or files that the model reads itself"),
    "interactions": Api(Standing.NEVER, advice="use `/v1/chat/completions`"),
    "post_training": Api(Standing.NEVER, advice="train elsewhere, and serve the model through a provider of inference"),
    "scoring": Api(Standing.NEVER, advice=_ELSEWHERE, sections=("scoring_fns",)),
    "synthetic_data_generation": Api(Standing.NEVER, advice=_ELSEWHERE),
    "telemetry": Api(Standing.NEVER, advice="use `server.tracing` and `server.metrics`"),
}
"""Every API that configurations of Llama Stack and of this server name."""

PROVIDED_APIS: Final = tuple(name for name, api in APIS.items() if api.standing is Standing.PROVIDED)
"""The APIs that take providers."""

SERVED_APIS: Final = tuple(name for name, api in APIS.items() if api.standing in (Standing.PROVIDED, Standing.BUILT_IN))
"""The APIs that this version serves, with providers and without."""

SECTIONS: Final[Mapping[str, str]] = {section: name for name, api in APIS.items() for section in api.sections}
"""The lists of resources in the configuration, with the API that each needs."""


def is_missing(name: str) -> bool:
    """Return whether `name` is an API that this version doesn't serve."""
    return name in APIS and name not in SERVED_APIS


def about_missing(name: str, what: str) -> str:
    """Return the sentence about `what`, a part of the configuration that needs the API `name`, which isn't served."""
    if APIS[name].standing is Standing.LATER:
        return f"{what} is not available in this version"
    return f"{what} is not served"


def about_api(name: str) -> str:
    """Return the sentence about an API that isn't served."""
    return about_missing(name, quoted(name))
