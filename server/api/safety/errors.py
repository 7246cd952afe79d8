"""Errors about shields that a caller names."""

from __future__ import annotations

from http import HTTPStatus

from server.api.safety.shields import Shields
from server.authz.request_authorization import Gate
from server.config.shield_params import BadParams
from server.http.errors import ApiError, invalid


def shield_not_found(name: str, param: str) -> ApiError:
    """Return the 404 of a missing shield and of one that the caller may not read: the same bytes for both."""
    sentence = f"the shield `{name}` does not exist, or you have no access to it"
    return ApiError(HTTPStatus.NOT_FOUND, sentence, code="shield_not_found", param=param)


def unusable(name: str, wrong: BadParams) -> ApiError:
    """Return the 400 for a registered shield that no provider can have."""
    return invalid(f"the shield `{name}` can't be used: {wrong}", wrong.key, "invalid_value")


async def unnamed(shields: Shields, gate: Gate, param: str) -> ApiError:
    """Return the 400 for a request that leaves the shield to a server without a default, with the readable ones."""
    names = ", ".join(f"`{name}`" for name in await shields.readable(gate))
    one = f"name one of them as `{param}`: {names}" if names else "and there is none that you may read"
    return invalid(f"this server has no default shield; {one}", param, "missing_required_parameter")
