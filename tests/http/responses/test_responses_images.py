"""Images and files that responses name by their ids: what the model gets, what is stored, and as whom they are read."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.api.chat import files
from tests.support.callers import ALICE, BOB, READER
from tests.support.databases import rows
from tests.support.failing_provider import Upstream, upstream
from tests.support.responses_server import RESPONSES, Responding, responding

PNG = bytes.fromhex("89504e470d0a1a0a") + b"an image of one caller's own" * 40
TEXT = {"type": "input_text", "text": "look"}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def place(
    postgres: str | None, far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("images"), postgres, upstream=far.url) as running:
        yield running


def picture(place: Responding, caller: str = ALICE, **about: str) -> str:
    """The id of a new file with an image."""
    return place.file(PNG, caller, **{"filename": "a.png", "kind": "image/png", **about})


def image(identity: str, **more: Any) -> Any:
    """The part that names an image."""
    return {"type": "input_image", "file_id": identity, **more}


def said(*parts: Any) -> list[Any]:
    """The input with one message of these parts."""
    return [{"role": "user", "content": [*parts]}]


def shown(kind: str = "image/png", detail: str = "auto") -> Any:
    """The part that the model gets for an image."""
    url = f"data:{kind};base64,{b64encode(PNG).decode()}"
    return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


@pytest.mark.parametrize("stream", [False, True])
def test_an_image_reaches_the_model_and_its_id_is_stored(place: Responding, far: Upstream, stream: bool) -> None:
    identity = picture(place)
    asked = said(TEXT, image(identity), image(identity, detail="high"))
    made = place.streamed(asked, model="m")[-1]["response"] if stream else place.made(asked, model="m")
    assert far.body["messages"][0]["content"] == [{"type": "text", "text": "look"}, shown(), shown(detail="high")]
    [item] = place.items(made["id"], "?include[]=message.input_image.image_url")
    assert [part.get("file_id") for part in item["content"]] == [None, identity, identity]
    assert [part.get("image_url") for part in item["content"]] == [None, None, None]
    parts = f"SELECT * FROM answers_parts WHERE parent = '{made['id']}'"  # noqa: S608 - a test
    kept = str(rows(place.database, parts))
    assert identity in kept
    assert b64encode(PNG)[:40].decode() not in kept


@pytest.mark.parametrize(
    ("about", "kind"),
    [
        ({"filename": "a.JPG", "kind": "text/plain"}, "image/jpeg"),
        ({"filename": "photo", "kind": "image/webp"}, "image/webp"),
        ({"filename": "a.gif", "kind": "no type"}, "image/gif"),
    ],
)
def test_the_type_of_an_image_follows_its_name(
    place: Responding, far: Upstream, about: dict[str, str], kind: str
) -> None:
    place.made(said(image(picture(place, **about))), model="m", store=False)
    assert far.body["messages"][0]["content"] == [shown(kind)]


@pytest.mark.parametrize("filename", ["a.txt", "a.svg", "a.pdf", "photo"])
def test_what_is_no_image_is_refused(place: Responding, filename: str) -> None:
    identity = picture(place, filename=filename, kind="image/svg+xml")
    before = place.count()
    answer = place.create(said(TEXT, image(identity)))
    assert (answer.status, answer.json["error"]["param"]) == (400, "input[0].content[1].file_id")
    assert "image/png" in answer.json["error"]["message"]
    assert place.count() == before


def of_function(identity: str) -> list[Any]:
    """Items in which a function has returned an image."""
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
    other = {**call, "call_id": "c2"}
    output = {"type": "function_call_output", "call_id": "c1", "output": [TEXT, image(identity)]}
    return [*said(TEXT), call, other, output, {**output, "call_id": "c2", "output": "fine"}]


PLACES: dict[str, tuple[Any, str]] = {
    "a message": (lambda identity: {"input": said(image(identity))}, "input[0].content[0].file_id"),
    "beside an address": (
        lambda identity: {"input": said(image(identity, image_url="data:image/png;base64,AAAA"))},
        "input[0].content[0].file_id",
    ),
    "the output of a function": (
        lambda identity: {"input": of_function(identity)},
        "input[3].output[1].file_id",
    ),
    "a screenshot, which no model reads": (
        lambda identity: {
            "input": [
                *said(TEXT),
                {
                    "type": "computer_call_output",
                    "call_id": "c",
                    "output": {"type": "computer_screenshot", "file_id": identity},
                },
            ]
        },
        "input[1].output.file_id",
    ),
    "a message of a system": (
        lambda identity: {"input": [{"role": "system", "content": [image(identity)]}]},
        "input[0].content[0].file_id",
    ),
    "the words of a model, which have no images": (
        lambda identity: {"input": [*said(TEXT), {"role": "assistant", "content": [image(identity)]}]},
        "input[1].content[0].file_id",
    ),
    "a file": (
        lambda identity: {"input": said({"type": "input_file", "file_id": identity})},
        "input[0].content[0].file_id",
    ),
}


@pytest.mark.parametrize("what", PLACES)
@pytest.mark.parametrize("target", ["", "/input_tokens", "/compact"])
def test_anothers_file_is_as_one_that_is_not_there(place: Responding, what: str, target: str) -> None:
    body, param = PLACES[what]
    identity, missing = picture(place), "file-" + "0" * 48
    asked = {"model": "small"}
    assert place.ask("POST", RESPONSES + target, {**asked, **body(identity)}).status == 200
    before, told = place.count(), []
    for named in (identity, missing, "file-of-a-provider"):
        answer = place.ask("POST", RESPONSES + target, {**asked, **body(named)}, BOB)
        assert (answer.status, answer.json["error"]["param"]) == (404, param)
        told.append(answer.body.replace(named.encode(), b""))
    assert told[0] == told[1] == told[2]
    assert place.count() == before


def test_what_a_function_returns_is_said_behind_all_outputs(place: Responding, far: Upstream) -> None:
    made = place.made(of_function(picture(place)), model="m", tools=[WEATHER])
    messages = far.body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert messages[2]["content"] == "look\n[input_image, which follows]"
    assert messages[4]["content"] == [{"type": "text", "text": "the tools have returned this:"}, shown()]
    place.made("and now?", model="m", previous_response_id=made["id"])
    assert [message["role"] for message in far.body["messages"][3:]] == ["tool", "user", "assistant", "user"]


@pytest.mark.parametrize("way", ["previous_response_id", "conversation"])
def test_a_file_is_read_as_the_caller_may_now(place: Responding, far: Upstream, way: str) -> None:
    identity = picture(place)
    if way == "conversation":
        more = {"conversation": place.conversation()}
        place.made(said(image(identity)), model="m", **more)
    else:
        more = {"previous_response_id": place.made(said(image(identity)), model="m")["id"]}
    place.made("again", model="m", **more)
    assert far.body["messages"][0]["content"] == [shown()]
    # Another caller may read the response, and not the file.
    if way == "previous_response_id":
        assert place.create("again", READER, store=False, **more).status == 200
    place.ask("DELETE", f"/v1/files/{identity}")
    before = place.count()
    gone = place.create("again", **more)
    assert (gone.status, gone.json["error"]["param"]) == (404, way)
    assert identity in gone.json["error"]["message"]
    assert place.count() == before
    shortened = place.create("again", truncation="auto", **more)
    assert shortened.status == 404


def test_an_image_is_never_one_of_a_providers_account(place: Responding, far: Upstream) -> None:
    identity = "file-of-a-provider"
    assert place.create(said({"type": "input_file", "file_id": identity}), model="own").status == 200
    assert far.body["messages"][0]["content"] == [{"type": "file", "file": {"file_id": identity}}]
    answer = place.create(said(image(identity)), model="own")
    assert (answer.status, answer.json["error"]["param"]) == (404, "input[0].content[0].file_id")


def test_images_are_bounded(place: Responding, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = picture(place)
    many = place.create(said(*[image(identity)] * 101))
    assert (many.status, many.json["error"]["param"]) == (400, "input")
    chained = place.made(said(*[image(identity)] * 60), store=True)["id"]
    more = place.create(said(*[image(identity)] * 60), previous_response_id=chained)
    assert (more.status, more.json["error"]["param"]) == (400, "input")
    monkeypatch.setattr(files, "MOST_OF_ALL", 2 * len(PNG))
    assert place.create(said(*[image(identity)] * 2)).status == 200
    large = place.create(said(TEXT, *[image(identity)] * 3))
    assert (large.status, large.json["error"]["param"]) == (413, "input[0].content[1].file_id")


def test_work_in_the_background_reads_images(place: Responding, far: Upstream) -> None:
    made = place.made(said(image(picture(place))), model="m", background=True)
    assert place.over(made["id"])["status"] == "completed"
    assert far.body["messages"][0]["content"] == [shown()]
    foreign = place.create(said(image(picture(place))), BOB, background=True)
    assert foreign.status == 404


@pytest.mark.parametrize("background", [False, True])
def test_variables_of_a_prompt_hold_images_and_files(place: Responding, far: Upstream, background: bool) -> None:
    prompt = place.prompt(
        "Compare {{what}} with {{ paper }}, {{what}} first, for {{who}}.", "what", "paper", "who", "no"
    )
    variables = {
        "what": image(picture(place), detail="low"),
        "paper": {"type": "input_file", "file_id": place.file(b"words")},
        "who": {"type": "input_text", "text": "{{what}}"},
        "no": image(picture(place)),
    }
    asked = {"id": prompt, "version": "1", "variables": variables}
    made = place.made("go", model="m", prompt=asked, instructions="be brief", background=background)
    if background:
        made = place.over(made["id"])
    assert made["prompt"]["variables"] == {**variables, "who": "{{what}}"}
    first, second, third, last = far.body["messages"]
    assert (first, last) == ({"role": "system", "content": "be brief"}, {"role": "user", "content": "go"})
    assert second == {"role": "system", "content": "Compare [what] with [paper], [what] first, for {{what}}."}
    file = {"type": "file", "file": {"filename": "notes.txt", "file_data": "data:text/plain;base64,d29yZHM="}}
    words = [{"type": "text", "text": f"[{name}]"} for name in ("what", "paper")]
    assert third == {"role": "user", "content": [words[0], shown(detail="low"), words[1], file]}
    # A prompt goes not on.
    place.made("go", model="m", previous_response_id=made["id"])
    assert [message["role"] for message in far.body["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("is_used", [False, True])
@pytest.mark.parametrize("kind", ["input_file", "input_image"])
def test_files_in_variables_are_asked_about(place: Responding, kind: str, is_used: bool) -> None:
    prompt = place.prompt("See {{it}}." if is_used else "See.", "it", caller=BOB)
    told = []
    for named in (picture(place), "file-" + "0" * 48):
        asked = {"id": prompt, "variables": {"it": {"type": kind, "file_id": named}}}
        answer = place.create(caller=BOB, prompt=asked)
        assert (answer.status, answer.json["error"]["param"]) == (404, "prompt.variables.it.file_id")
        told.append(answer.body.replace(named.encode(), b""))
    assert told[0] == told[1]


def test_names_of_variables_name_no_file(place: Responding) -> None:
    prompt = place.prompt("{{type}} {{file_id}}", "type", "file_id")
    made = place.made(prompt={"id": prompt, "variables": {"type": "input_file", "file_id": "file-1"}})
    assert made["status"] == "completed"
