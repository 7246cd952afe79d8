"""How many files the items of one request may name."""

from __future__ import annotations

from pathlib import Path

from server.api.conversations.body import MOST_FILES
from tests.support.conversations_server import talking


def test_the_items_of_one_request_name_a_limited_number_of_files(opa_binary: Path, tmp_path: Path) -> None:
    # Each of them is a question to the policy and a line in the decision log.
    parts = [{"type": "input_file", "file_id": f"file-{number}"} for number in range(MOST_FILES + 1)]
    items = [{"type": "message", "role": "user", "content": some} for some in (parts[:60], parts[60:])]
    with talking(opa_binary, tmp_path) as talk:
        missing = talk.post("", {"items": [{**items[0], "content": parts[:-1]}]})
        assert (missing.status, missing.error["code"]) == (404, "not_found")
        answer = talk.post("", {"items": items})
        assert (answer.status, answer.error["param"], answer.error["code"]) == (400, "items", "invalid_value")
        assert not [
            line for line in talk.house.log(answer.headers["x-request-id"]) if "resource" in line or "resources" in line
        ]
