"""Gates for work that goes on after its request."""

from __future__ import annotations

from typing import cast

import pytest

from policy.vocabulary import Principal
from server.authz.request_authorization import EnforcementPoint
from server.http.deferred import DeferredRequests
from server.quota.admission import unlimited

ANN = Principal("ann", "https://a.example")


@pytest.mark.parametrize("requires_token", [False, True])
def test_who_needs_a_token_for_requests_needs_it_later(requires_token: bool) -> None:
    # Nothing is asked, so that no policy is needed.
    deferred = DeferredRequests(cast(EnforcementPoint, None), unlimited(), requires_token=requires_token)
    assert deferred.gate(None, "POST", "/v1/vector_stores").lacks_token is requires_token
    assert not deferred.gate(ANN, "POST", "/v1/vector_stores").lacks_token
