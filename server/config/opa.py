"""The model of `server.opa`: the OPA that decides."""

from __future__ import annotations

from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr, model_validator

from server.config.base import StrictModel
from server.config.locations import base_url
from server.config.types import Secret, Switch, Text, refusal

SHORTEST_TOKEN: Final = 32
"""Characters; OPA's lock (`rego/system/authz`) opens for no shorter one."""


def _opa_url(value: str) -> str:
    parts = urlsplit(base_url(value))
    if parts.scheme == "https":
        hint = "put opa where no one can listen in between: beside the server, on its host or in its pod"
        raise refusal("bad-url", "takes no https URL", hint)
    if parts.path or parts.port is None or not value.isascii():
        raise refusal("bad-url", "takes `http://HOST:PORT` and nothing else")
    return f"http://{parts.netloc}"


def _opa_token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise refusal("weak-token", f"takes {SHORTEST_TOKEN} or more printable ascii characters without a blank")
    return value


class OpaConfig(StrictModel):
    """An external OPA: its address, and the token with which the server authenticates to it.

    Without `url` and `token` the server starts an OPA of its own; `decision_log` switches on the log that this one
    keeps.
    """

    url: Annotated[Text, AfterValidator(_opa_url)] | None = None
    token: Annotated[Secret, AfterValidator(_opa_token)] | None = None
    decision_log: Switch = False

    @model_validator(mode="after")
    def _log_of_the_own_one(self) -> Self:
        if self.decision_log and self.url is not None:
            hint = "switch its log on where it is started"
            raise refusal("not-ours", "`decision_log` is for the opa that the server starts itself", hint, whole=True)
        return self

    @property
    def location(self) -> tuple[str, int] | None:
        """Host and port of `url`; None where the server is to start OPA itself."""
        if self.url is None:
            return None
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)
