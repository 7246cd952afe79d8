"""Keys of seals that are replaced while servers run: the first one seals, and all of them open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.relay_server import Relaying, relaying

ALICE, BOB = "Authorization: Bearer alice", "Authorization: Bearer bob"
OLD, NEW = "o" * 32, "n" * 32


def compacted(place: Relaying) -> Any:
    """The output of a compaction, whose last item is sealed."""
    answer = place.address.post("/v1/responses/compact", {"model": "p/m", "input": "remember 7"}, ALICE)
    assert answer.status == 200, answer.body
    return answer.json["output"]


def goes_on(place: Relaying, output: Any, caller: str = ALICE) -> Any:
    """The status of a request that goes on from it, and the code of its error."""
    asked = [*output, {"role": "user", "content": "and?"}]
    body = {"model": "p/m", "input": asked, "store": False}
    answer = place.address.post("/v1/responses", body, caller)
    return answer.status, None if answer.status == 200 else answer.error["code"]


def test_a_key_is_replaced_in_two_steps(tmp_path: Path) -> None:
    made = dict[str, Any]()
    for name, keys, opens in (
        ("before", [OLD], {"before"}),
        ("between", [NEW, OLD], {"before", "between"}),
        ("after", [NEW], {"between", "after"}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        with relaying(folder, more=f"server: {{seal_keys: {keys}}}") as place:
            made[name] = compacted(place)
            found = {each: goes_on(place, output) for each, output in made.items()}
            assert {each for each, told in found.items() if told == (200, None)} == opens
            refused = [told for each, told in found.items() if each not in opens]
            assert refused == [(400, "invalid_encrypted_content")] * len(refused)
            assert goes_on(place, made[name], BOB) == (400, "invalid_encrypted_content")


def test_servers_with_the_same_key_open_what_others_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "home"))
    outputs, folders = list[Any](), [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        with relaying(folder) as place:
            outputs.append(compacted(place))
            assert [goes_on(place, output) for output in outputs] == [(200, None)] * len(outputs)
