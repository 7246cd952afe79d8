"""Configurations with a given number of rules, of which the last few are about the scenarios."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import yaml

from bench.tokens import AUDIENCE, ISSUER
from bench.upstream import OPEN, PACED, VECTORS

FAST: Final = "fast"
HIDDEN: Final = "hidden"
CLOSED_PATH: Final = "/v1/providers"

_MODELS: Final = (FAST, PACED, HIDDEN, OPEN, VECTORS, "tiny")


class Kind(StrEnum):
    """The form of all rules but the last few.

    `NAMES` and `REGEXES` are for one team each, as in an organisation with many; the index of the rules leaves those of
    other teams out. `COMMON_REGEXES` are for every developer, so that each question is compared with every one.
    """

    NAMES = "rules"
    REGEXES = "regexes"
    COMMON_REGEXES = "regexes-for-all"


def configuration(rules: int, kind: Kind, *, upstream: int, log: Path) -> str:
    """Return the configuration file: `rules` rules in each of the two policies, the upstream on that port of
    loopback.
    """
    return yaml.safe_dump(
        {
            "version": 2,
            "apis": ["inference"],
            "providers": {"inference": [_provider(upstream)]},
            "models": [_model(name) for name in _MODELS],
            "server": {
                "decision_log": str(log),
                "auth": {
                    "provider_config": {
                        "type": "oauth2_token",
                        "issuer": ISSUER,
                        "audience": AUDIENCE,
                        "jwks": {"uri": f"http://127.0.0.1:{upstream}/jwks.json"},
                        "claims_mapping": {"roles": "roles", "teams": "teams"},
                    },
                    "route_policy": _route_rules(rules, kind),
                    "access_policy": _access_rules(rules, kind),
                },
            },
        },
        sort_keys=False,
    )


def _provider(port: int) -> dict[str, Any]:
    return {
        "provider_id": "bench",
        "provider_type": "remote::vllm",
        "config": {"url": f"http://127.0.0.1:{port}"},
    }


def _model(name: str) -> dict[str, Any]:
    kind = "embedding" if name == VECTORS else "llm"
    return {"model_id": name, "provider_id": "bench", "model_type": kind}


def _route_rules(count: int, kind: Kind) -> list[dict[str, Any]]:
    last: list[dict[str, Any]] = [
        {"forbid": {"paths": [CLOSED_PATH]}, "description": "the scenario of a refused route"},
        {"permit": {"paths": ["/v1/health"]}},
        {"permit": {"paths": ["/v1/*"]}, "when": "user with developer in roles"},
    ]
    return [*(_route_rule(index, kind) for index in range(count - len(last))), *last]


def _route_rule(index: int, kind: Kind) -> dict[str, Any]:
    path = f"regex:/v1/(area|field)-{index}/[a-z]+" if kind is not Kind.NAMES else f"/v1/area-{index}/*"
    return {
        "permit": {"paths": [path], "methods": ["GET", "POST"]},
        "when": _condition(index, kind),
        "description": f"area {index}",
    }


def _access_rules(count: int, kind: Kind) -> list[dict[str, Any]]:
    hidden = {"actions": ["read"], "resource": f"model::bench/{HIDDEN}"}
    last: list[dict[str, Any]] = [
        {"forbid": hidden, "description": "the scenario of a refused model"},
        {"permit": {"actions": ["read"], "resource": "model::*"}, "when": "user with developer in roles"},
    ]
    return [*(_access_rule(index, kind) for index in range(count - len(last))), *last]


def _access_rule(index: int, kind: Kind) -> dict[str, Any]:
    expression = f"regex:model::(bench|test)/team-{index}-[a-z]+"
    return {
        "permit": {
            "actions": ["read", "update"],
            "resource": f"model::bench/team-{index}" if kind is Kind.NAMES else expression,
        },
        "when": _condition(index, kind),
        "description": f"the model of team {index}",
    }


def _condition(index: int, kind: Kind) -> str:
    return "user with developer in roles" if kind is Kind.COMMON_REGEXES else f"user with team-{index} in teams"
