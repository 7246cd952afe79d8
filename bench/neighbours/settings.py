"""The configurations under which scenarios run."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from bench.tokens import AUDIENCE, ISSUER
from bench.upstream import BROKEN, BULKY, DRIPPING, FAILING, HANGING, LONG, PACED, VECTORS

FILES: Final = "openai_files"
USAGE: Final = "usage"
MODELS: Final = ("fast", PACED, LONG, BULKY, FAILING, HANGING, DRIPPING, BROKEN)
LOCAL_CHAT: Final = "local/chat"
LOCAL_TEXTS: Final = "wordllama/texts"
ECHO: Final = "echo/words"
READER: Final = "files/reader"

_LOCAL_PROVIDERS: Final = (
    {"provider_id": "local", "provider_type": "inline::llama-cpp", "config": {"context": 512}},
    {"provider_id": "wordllama", "provider_type": "inline::wordllama"},
)
_LOCAL_MODELS: Final = (
    {"model_id": "chat", "provider_id": "local"},
    {"model_id": "texts", "provider_id": "wordllama", "model_type": "embedding"},
)
_AGENTS: Final = {
    "agents": [
        {
            "provider_id": "builtin",
            "provider_type": "inline::builtin",
            "config": {"persistence": {"responses": {"backend": "tables", "table_name": "responses"}}},
        }
    ]
}
_REGEXES: Final = 100
_CLOSED: Final = "/v1/toolgroups*"


TOOL_GROUP: Final = "bench"
"""The group of the tools of `bench.tool_answers`."""

_TOOLS: Final = {"provider_id": "mcp", "provider_type": "remote::model-context-protocol"}
_GROUP: Final = {"toolgroup_id": TOOL_GROUP, "provider_id": "mcp"}


SHIELD: Final = "words"
HUNG_SHIELD: Final = "hung"
"""Shields: a list of words, and one whose model never judges."""

_SHIELD_PROVIDERS: Final = (
    {"provider_id": "words", "provider_type": "inline::keyword"},
    {"provider_id": "guards", "provider_type": "inline::llama-guard"},
)
_SHIELDS: Final = (
    {"shield_id": SHIELD, "provider_id": "words", "params": {"words": [f"forbidden{number}" for number in range(100)]}},
    {"shield_id": HUNG_SHIELD, "provider_id": "guards", "provider_shield_id": f"judges/{HANGING}"},
)


class Setting(Enum):
    """A kind of configuration; the modest caller is served alike under each."""

    USUAL = "the default policy"
    TEAMS = "records belong to teams"
    REGEXES = "a hundred regular expressions about every record"
    CUSTOM = "tokens are judged by an endpoint that takes 0.1 s"
    GROUPED = "shares belong to teams"
    CLOSED = "a route that no caller may use, and none without a token"
    LOCAL = "models that run beside the server"
    VECTORS = "vector stores with a local embedding model"
    AGENTS = "responses are kept"
    TOOLS = "a server of tools"
    SHIELDS = "shields that a request asks for, one of which hangs"


_APIS: Final = {
    Setting.AGENTS: ("agents",),
    Setting.TOOLS: ("agents", "tool_runtime"),
    Setting.SHIELDS: ("safety",),
    Setting.VECTORS: ("vector_io", "agents"),
}
"""What is served besides models."""


def configuration(
    setting: Setting,
    *,
    backend: Mapping[str, Any],
    folder: str,
    upstream: int,
    reader: int,
    identity: int,
    workers: int,
) -> dict[str, Any]:
    """Return a configuration; `upstream`, `identity` and `reader` are ports, `backend` is where tables are.

    At `reader` is another provider, which reads what the greedy caller's files come to.
    """
    server: dict[str, Any] = {
        "workers": workers,
        "decision_log": f"{folder}/decisions.jsonl",
        "auth": {"provider_config": _provider_config(setting, upstream, identity), **_policies(setting)},
    }
    if setting is Setting.GROUPED:
        server["fairness"] = {"by": "teams"}
    tables = {
        "conversations": "openai_conversations",
        "files": FILES,
        "inference": "chat_completions",
    }
    keys = {**backend, "type": str(backend["type"]).replace("sql_", "kv_", 1)}
    return {
        "version": 2,
        "apis": ["inference", *_APIS.get(setting, ())],
        "providers": {
            **({"tool_runtime": [_TOOLS]} if setting is Setting.TOOLS else {}),
            **(_vectors(folder) if setting is Setting.VECTORS else {}),
            **(_AGENTS if setting is Setting.AGENTS else {}),
            **({"safety": _SHIELD_PROVIDERS} if setting is Setting.SHIELDS else {}),
            "inference": [
                {
                    "provider_id": "bench",
                    "provider_type": "remote::vllm",
                    "config": {"url": f"http://127.0.0.1:{upstream}"},
                },
                {
                    "provider_id": "files",
                    "provider_type": "remote::openai",
                    "config": {"base_url": f"http://127.0.0.1:{reader}/v1"},
                },
                {"provider_id": "echo", "provider_type": "inline::echo"},
                *(_judges(upstream) if setting is Setting.SHIELDS else ()),
                *(_LOCAL_PROVIDERS if setting is Setting.LOCAL else ()),
                *(_LOCAL_PROVIDERS[1:] if setting is Setting.VECTORS else ()),
            ],
        },
        "models": [
            *({"model_id": name, "provider_id": "bench"} for name in MODELS),
            {"model_id": "reader", "provider_id": "files", "provider_model_id": "fast"},
            {"model_id": "words", "provider_id": "echo"},
            *([{"model_id": HANGING, "provider_id": "judges"}] if setting is Setting.SHIELDS else ()),
            {"model_id": VECTORS, "provider_id": "bench", "model_type": "embedding"},
            *(_LOCAL_MODELS if setting is Setting.LOCAL else ()),
            *(_LOCAL_MODELS[1:] if setting is Setting.VECTORS else ()),
        ],
        "tool_groups": [
            {**group, "mcp_endpoint": {"uri": f"http://127.0.0.1:{upstream}/mcp"}}
            for group in ([_GROUP] if setting is Setting.TOOLS else [])
        ],
        "shields": [*(_SHIELDS if setting is Setting.SHIELDS else ())],
        "storage": {
            "backends": {"tables": backend, "keys": keys},
            "stores": {
                **{name: {"backend": "tables", "table_name": table} for name, table in tables.items()},
                **{name: {"backend": "keys", "namespace": name} for name in ("metadata", "prompts", USAGE)},
            },
            "blobs": {"type": "local", "path": f"{folder}/blobs"},
        },
        "server": server,
    }


def _judges(upstream: int) -> list[dict[str, Any]]:
    config = {"url": f"http://127.0.0.1:{upstream}"}
    return [{"provider_id": "judges", "provider_type": "remote::vllm", "config": config}]


def _vectors(folder: str) -> dict[str, Any]:
    index = {"provider_id": "index", "provider_type": "inline::lancedb", "config": {"db_path": f"{folder}/vectors"}}
    return {"vector_io": [index]}


def _provider_config(setting: Setting, upstream: int, identity: int) -> dict[str, Any]:
    if setting is Setting.CUSTOM:
        return {"type": "custom", "endpoint": f"http://127.0.0.1:{identity}/validate"}
    return {
        "type": "oauth2_token",
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks": {"uri": f"http://127.0.0.1:{upstream}/jwks.json"},
        "claims_mapping": {"roles": "roles", "teams": "teams"},
    }


def _policies(setting: Setting) -> dict[str, Any]:
    if setting is Setting.CLOSED:
        closed = {"forbid": {"paths": [_CLOSED]}}
        return {"route_policy": [closed, {"permit": {"paths": ["*"]}, "when": "user is authenticated"}]}
    if setting is Setting.TEAMS:
        return {"access_policy": [*_own_and_configured("user in owners teams")]}
    if setting is Setting.REGEXES:
        regexes = [_regex(index) for index in range(_REGEXES)]
        return {"access_policy": [*regexes, *_own_and_configured("user is owner")]}
    return {}


def _own_and_configured(owners: str) -> list[dict[str, Any]]:
    return [
        {"permit": {"actions": ["read"]}, "when": "resource is from config"},
        {"permit": {"actions": ["create"]}, "when": "user is authenticated"},
        {"permit": {"actions": ["read", "update", "delete"]}, "when": owners},
    ]


def _regex(index: int) -> dict[str, Any]:
    resource = f"regex:.*::.*(area|field)-{index}-[a-z]+.*"
    return {"permit": {"actions": ["read", "update"], "resource": resource}, "when": "user with developer in roles"}
