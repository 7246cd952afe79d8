"""Lines of the decision log, held against its schema, and questions that they are about."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from policy.vocabulary import Action, Anonymous, Origin, Principal, Resource, Route
from server.authz.contract.question import Question
from server.authz.decision_log.record import Counted

SCHEMA = Path(__file__).parents[2] / "docs" / "operate" / "decision-log.schema.json"
VALIDATOR = Draft202012Validator(json.loads(SCHEMA.read_text()))
NOBODY = Anonymous()
REFUSED = {"effect": "deny"}


def valid(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The lines, each of which the schema describes."""
    records = [json.loads(line) for line in lines]
    for record in records:
        VALIDATOR.validate(record)
    return records


def deny(route: str = "/v1/models") -> Counted:
    """A refusal of a route."""
    return Counted("deny", Route("GET", route), "r1", "route_policy[0]", "config.yaml:3")


def question(principal: Principal | Anonymous, path: str | None = "/v1/models", name: str | None = None) -> Question:
    """A question about a route, a model, or both."""
    route = None if path is None else Route("GET", path)
    if name is None:
        return Question(principal, route)
    return Question(principal, route, Action.READ, Resource("model", (name,), None, Origin.CONFIG))
