"""The records of the shields that a configuration describes."""

from __future__ import annotations

from server.config import Config
from server.config.safety import ShieldConfig
from server.storage.records.record import Json


def shield_records(config: Config) -> dict[str, Json]:
    """Return the body of the record of each shield, by its id."""
    return {
        shield.identity: {
            "provider_id": provider_of(config, shield),
            "provider_resource_id": shield.resource_id,
            "described": {"params": dict(shield.params) or None},
        }
        for shield in config.shields
    }


def provider_of(config: Config, shield: ShieldConfig) -> str:
    """Return the id of the provider of a shield: the only one, where the file names none."""
    return shield.provider_id or config.providers["safety"][0].provider_id
