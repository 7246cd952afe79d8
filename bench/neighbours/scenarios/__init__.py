"""The scenarios, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.neighbours.scenario import Scenario
from bench.neighbours.scenarios import (
    attachments,
    batches,
    bodies,
    connections,
    conversations,
    identities,
    lists,
    local,
    providers,
    registry,
    responses,
    safety,
    sockets,
    streams,
    tools,
    usage,
    vectors,
)

SUBJECTS: Final = (
    connections,
    bodies,
    attachments,
    batches,
    streams,
    sockets,
    providers,
    local,
    vectors,
    tools,
    conversations,
    lists,
    usage,
    registry,
    responses,
    safety,
    identities,
)

SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario for subject in SUBJECTS for scenario in subject.SCENARIOS
}
