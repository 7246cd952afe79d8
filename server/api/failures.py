"""What a provider's failure looks like to the caller."""

from __future__ import annotations

from server.http.errors import ApiError, invalid
from server.inference.provider import Fault, ProviderFailed


def provider_error(failure: ProviderFailed) -> ApiError:
    """400 for what the caller can mend, 429 for what it can wait for, 502 for the rest."""
    match failure.fault:
        case Fault.REQUEST:
            return invalid(failure.message, failure.param, failure.code)
        case Fault.BUSY:
            headers = {} if failure.retry_after is None else {"Retry-After": str(failure.retry_after)}
            if failure.code == "insufficient_quota":
                # Waiting does not fill an account.
                headers["x-should-retry"] = "false"
            return ApiError(429, failure.message, code=failure.code, headers=headers)
        case Fault.PROVIDER:
            return ApiError(502, failure.message, code=failure.code)
