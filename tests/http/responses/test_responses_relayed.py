"""Responses of models whose provider keeps a quiet connection alive."""

from __future__ import annotations

from pathlib import Path

from tests.support.relay_server import DONE, event, relaying, streamed
from tests.support.responses_server import events_of


def test_a_comment_in_front_of_a_chunk_hides_it_not_nor_lets_it_through(tmp_path: Path) -> None:
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
    with relaying(tmp_path) as place:
        place.answers(streamed(b": still here\n\n" + event(chunk), DONE))
        body = {"model": "p/m", "input": "hi", "store": False, "stream": True}
        answer = place.address.post("/v1/responses", body, "Authorization: Bearer alice")
    comments = [text for text in answer.body.split(b"\n\n") if text.startswith(b":")]
    assert comments == [b": ping"]
    events = events_of(answer.body.replace(b": ping\n\n", b""))
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "a"
