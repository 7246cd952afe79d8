"""The members of a response that are known before its answer."""

from __future__ import annotations

from typing import Any

from server.api.responses.body import ResponseBody
from server.json_input.strict import Json


def head_of(identity: str, created: int, body: ResponseBody) -> Json:
    """Return every member of a response but its model, its output, its status and what goes with that.

    Clients expect all of them, also those that say nothing.
    """
    prompt, conversation = body.prompt, body.conversation
    more: dict[str, Any] = {}
    if prompt is not None:
        version = None if prompt.version is None else str(prompt.version)
        more["prompt"] = {"id": prompt.id, "version": version, "variables": prompt.variables}
    if conversation is not None:
        more["conversation"] = {"id": conversation}
    return {
        "id": identity,
        "object": "response",
        "created_at": created,
        "model": body.model,
        "background": body.background,
        "previous_response_id": body.previous,
        "store": body.store,
        **body.shown,
        **more,
    }
