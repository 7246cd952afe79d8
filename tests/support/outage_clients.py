"""Clients of a server whose database comes and goes: each knows what it was told, and looks whether that stays true."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps
from random import Random
from typing import Protocol

from tests.support.conversations_server import said
from tests.support.files_server import BOUNDARY, form_of
from tests.support.serving import Address, Answer

GONE = ""
"""How a record looks that isn't there."""


class Refused(Exception):
    """The server has said that its database is away; `in_doubt` if it can't tell whether it has done what was asked."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        message = answer.error["message"]
        self.in_doubt = "it isn't known whether" in message
        assert self.in_doubt or "nothing was changed" in message
        assert answer.headers["x-should-retry"] == ("false" if self.in_doubt else "true")


class Ask:
    """Asks a server; every answer but a good one, a 404 and that the database is away is a fault of the server."""

    def __init__(self, address: Address, caller: str) -> None:
        self._address = address
        self._caller = caller

    def __call__(self, method: str, path: str, body: object = None) -> Answer:
        """The answer; raises Refused."""
        kind = f"multipart/form-data; boundary={BOUNDARY}" if isinstance(body, bytes) else "application/json"
        for _ in range(100):
            answer = self._address.ask(method, path, self._caller, body=body, kind=kind, timeout=60)
            # On a busy machine OPA may be late now and then.
            if answer.status != 503 or answer.error["code"] != "policy_unavailable":
                break
        if answer.status == 503:
            assert answer.error["code"] == "storage_unavailable", answer
            raise Refused(answer)
        assert answer.status == 200 or (answer.status, answer.error["code"]) == (404, "not_found"), answer
        return answer


class Kind(Protocol):
    """What can be kept, and how."""

    path: str
    is_late: bool
    """Whether it may come a while after it was acknowledged."""
    name: str | None
    """What the id is called in lists; None if there are none."""

    def make(self, ask: Ask, look: str) -> str:
        """The id of a new record that looks so."""
        ...

    def look(self, ask: Ask, identity: str) -> str:
        """How it looks, all of which must fit together."""
        ...

    def change(self, ask: Ask, identity: str, look: str) -> bool:
        """Whether it looks so now; some kinds never change."""
        ...


class Conversations:
    """A conversation looks like its metadata, and has three items."""

    path, is_late, name = "/v1/conversations", False, None

    def make(self, ask: Ask, look: str) -> str:
        """One with all of its items."""
        body = {"metadata": {"look": look}, "items": [said(text) for text in "abc"]}
        return str(ask("POST", self.path, body).json["id"])

    def look(self, ask: Ask, identity: str) -> str:
        """Its metadata."""
        answer = ask("GET", f"{self.path}/{identity}")
        items = ask("GET", f"{self.path}/{identity}/items?order=asc")
        assert items.status == answer.status
        if answer.status == 404:
            return GONE
        assert [item["content"][0]["text"] for item in items.json["data"]] == [*"abc"]
        return str(answer.json["metadata"]["look"])

    def change(self, ask: Ask, identity: str, look: str) -> bool:
        """Other metadata."""
        return ask("POST", f"{self.path}/{identity}", {"metadata": {"look": look}}).status == 200


class Files:
    """A file looks like its content."""

    path, is_late, name = "/v1/files", False, "id"

    def make(self, ask: Ask, look: str) -> str:
        """One of some kilobytes."""
        return str(ask("POST", self.path, form_of(look.encode() * 5000)).json["id"])

    def look(self, ask: Ask, identity: str) -> str:
        """What it repeats."""
        answer = ask("GET", f"{self.path}/{identity}/content")
        if answer.status == 404:
            return GONE
        look = answer.body[: len(answer.body) // 5000].decode()
        assert answer.body == look.encode() * 5000
        return look

    def change(self, ask: Ask, identity: str, look: str) -> bool:
        """Never."""
        return False


class Prompts:
    """A prompt looks like its latest version, and has all that were before."""

    path, is_late, name = "/v1/prompts", False, "prompt_id"

    def make(self, ask: Ask, look: str) -> str:
        """One with a first version."""
        return str(ask("POST", self.path, {"prompt": look}).json["prompt_id"])

    def look(self, ask: Ask, identity: str) -> str:
        """What the latest version says."""
        answer = ask("GET", f"{self.path}/{identity}/versions")
        if answer.status == 404:
            return GONE
        versions = answer.json["data"]
        assert [version["version"] for version in versions] == [*range(len(versions), 0, -1)]
        return str(versions[0]["prompt"])

    def change(self, ask: Ask, identity: str, look: str) -> bool:
        """One more version."""
        latest = ask("GET", f"{self.path}/{identity}/versions?limit=1").json["data"][0]["version"]
        body = {"prompt": look, "version": latest, "set_as_default": True}
        return ask("PUT", f"{self.path}/{identity}", body).status == 200


class Chats:
    """A stored chat looks like its question, and is written in the background where its database is away."""

    path, is_late, name = "/v1/chat/completions", True, "id"

    def make(self, ask: Ask, look: str) -> str:
        """One that is to be stored."""
        body = {"model": "m", "messages": [{"role": "user", "content": look}], "store": True}
        return str(ask("POST", self.path, body).json["id"])

    def look(self, ask: Ask, identity: str) -> str:
        """What was asked and answered."""
        answer = ask("GET", f"{self.path}/{identity}")
        if answer.status == 404:
            return GONE
        [message] = ask("GET", f"{self.path}/{identity}/messages").json["data"]
        assert answer.json["choices"][0]["message"]["content"] == f"echo: {message['content']}", dumps(answer.json)
        return str(message["content"])

    def change(self, ask: Ask, identity: str, look: str) -> bool:
        """Never."""
        return False


KINDS: Sequence[Kind] = (Conversations(), Files(), Prompts(), Chats())


@dataclass(slots=True)
class Told:
    """A record of which the client knows that it looks like one of `looks`."""

    kind: Kind
    identity: str
    looks: set[str]


class Witness:
    """One client, to whom belongs what it makes. `done` counts what it was told to be done."""

    def __init__(self, address: Address, seed: int, caller: str) -> None:
        self.told: list[Told] = []
        self.done = 0
        self.refused = 0
        self.lost: list[str] = []
        """Paths at which something was perhaps made whose id nobody knows."""
        self._ask = Ask(address, caller)
        self._random = Random(seed)  # noqa: S311 - a test's dice
        self._name = f"w{seed}"
        self._looks = 0

    def work(self, stop: threading.Event) -> None:
        """Do one thing after the other."""
        while not stop.is_set():
            try:
                [step] = self._random.choices(
                    (self._make, self._change, self._remove, self._see, self._list), (3, 3, 2, 4, 1)
                )
                step()
            except Refused:
                self.refused += 1
                stop.wait(0.01)

    def look(self, told: Told) -> None:
        """See to it that it looks as it may; from then on it looks so. Raises Refused."""
        seen = told.kind.look(self._ask, told.identity)
        assert seen in told.looks, (told, seen)
        if not (told.kind.is_late and seen == GONE):
            told.looks = {seen}

    def _make(self) -> None:
        kind, look = self._random.choice(KINDS), self._new_look()
        try:
            made = Told(kind, kind.make(self._ask, look), {look, GONE} if kind.is_late else {look})
        except Refused as refused:
            if refused.in_doubt:
                self.lost.append(kind.path)
            raise
        self.told.append(made)
        self.done += 1

    def _change(self) -> None:
        if told := self._settled():
            look = self._new_look()
            with self._perhaps(told, look):
                if told.kind.change(self._ask, told.identity, look):
                    told.looks = {look}

    def _remove(self) -> None:
        if told := self._settled():
            with self._perhaps(told, GONE):
                assert self._ask("DELETE", f"{told.kind.path}/{told.identity}").status == 200
                told.looks = {GONE}
            self.done += 1

    @contextmanager
    def _perhaps(self, told: Told, look: str) -> Iterator[None]:
        """It may look so too if what is done meanwhile is in doubt."""
        try:
            yield
        except Refused as refused:
            if refused.in_doubt:
                told.looks = {*told.looks, look}
            raise

    def _see(self) -> None:
        if self.told:
            self.look(self._random.choice(self.told))

    def _list(self) -> None:
        """Exactly what is there is in the list, on as many pages as there are."""
        kind = self._random.choice(KINDS)
        if kind.name is None:
            return
        listed: list[str] = []
        query = "?limit=20&order=asc"
        while True:
            page = self._ask("GET", kind.path + query).json
            listed += [each[kind.name] for each in page["data"]]
            if not page["has_more"]:
                break
            query = f"?limit=20&order=asc&after={listed[-1]}"
        known = {told.identity: told.looks for told in self.told if told.kind is kind}
        assert len({*listed}) == len(listed) <= len(known) + self.lost.count(kind.path)
        for identity, looks in known.items():
            assert GONE in looks or identity in listed
            assert looks != {GONE} or identity not in listed

    def _settled(self) -> Told | None:
        """A record that is there, and of which it is known how it looks."""
        those = [told for told in self.told if len(told.looks) == 1 and GONE not in told.looks]
        return self._random.choice(those) if those else None

    def _new_look(self) -> str:
        self._looks += 1
        return f"{self._name}.{self._looks}"
