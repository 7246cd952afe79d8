"""Images: shields that read them judge them, and any other one refuses a request that has some."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types import Moderation

from tests.support.safety_server import POLICY, Guarded, guarded, said
from tests.support.serving import Answer

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
RULES = POLICY.replace('[create], resource: "shield::*"', "[create]")


def url(words: bytes = b"a flower", head: bytes = PNG, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{b64encode(head + words).decode()}"


def image(words: bytes = b"a flower", **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url(words), **more}}


def shown(*parts: Any, text: str = "what is it?") -> dict[str, Any]:
    return said([{"type": "text", "text": text}, *parts])


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(opa_binary, tmp_path_factory.mktemp("images"), policy=RULES) as server:
        yield server


def chat(server: Guarded, message: dict[str, Any], *shields: str, **more: Any) -> Answer:
    return server.post(
        "/v1/chat/completions", {"model": "gpt", "messages": [message], "guardrails": [*shields], **more}
    )


def stopped(answer: Answer) -> bool:
    assert answer.status == 200, answer.body
    return b"content_filter" in answer.body or b'"stop_reason":"refusal"' in answer.body


@pytest.mark.parametrize("shields", [("guard-4",), ("aws",), ("guard-4", "aws")])
@pytest.mark.parametrize("stream", [False, True])
def test_a_shield_that_reads_images_judges_them(server: Guarded, shields: tuple[str, ...], stream: bool) -> None:
    for message in (
        shown(image(b"a bomb")),
        shown(image(), image(b"a bomb")),
        shown(image(), text="a bomb"),
        said([image(b"a bomb")]),
        shown({"type": "image_url", "image_url": {"url": url(b"a bomb", JPEG, "jpeg"), "detail": "low"}}),
    ):
        assert stopped(chat(server, message, *shields, stream=stream)), message
    assert server.judge.chats == []
    assert not stopped(chat(server, shown(image(), image()), *shields, stream=stream))
    assert server.judge.chats[-1]["messages"] == [shown(image(), image())]
    assert not stopped(chat(server, said([image()]), *shields, stream=stream))


@pytest.mark.parametrize(
    "shields", [("guard",), ("words",), ("raw",), ("small",), ("guard-4", "words"), ("guard", "aws"), ("aws", "words")]
)
def test_a_shield_that_reads_texts_alone_refuses_them(server: Guarded, shields: tuple[str, ...]) -> None:
    answer = chat(server, shown(image()), *shields)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (
        400,
        "not_checked",
        "messages[0].content[1]",
    )
    assert (server.judge.chats, server.judge.asked, server.stub.asked) == ([], [], [])


@pytest.mark.parametrize(
    "message",
    [
        shown({"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}),
        shown({"type": "image_url", "image_url": url()}),
        shown({"type": "image_url", "image_url": {"url": url(kind="gif", head=b"GIF89a")}}),
        shown({"type": "image_url", "image_url": {"url": url(head=JPEG)}}),
        shown({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo"}}),
        shown({"type": "image_url", "image_url": {"url": url() + "!"}}),
        shown(image() | {"video_url": {"url": "x"}}),
        shown(image(other="falcon")),
        shown(image(detail="a falcon")),
        shown(image(detail={"a": "falcon"})),
        shown(*[image()] * 9),
        {**shown(image()), "role": "assistant"},
        {**shown(image()), "role": "tool", "tool_call_id": "c"},
        {**said("hi"), "more": {"part": image()}},
        {**shown(image()), "images": [url()]},
    ],
)
@pytest.mark.parametrize("shield", ["guard-4", "aws"])
def test_what_is_not_certainly_an_image_of_the_user_is_refused(
    server: Guarded, message: dict[str, Any], shield: str
) -> None:
    answer = chat(server, message, shield)
    assert (answer.status, answer.error["code"], server.judge.chats) == (400, "not_checked", [])


def test_a_guardrail_that_does_not_look_at_images_is_no_verdict(server: Guarded) -> None:
    server.stub.sees_images = False
    answer = chat(server, shown(image()), "aws")
    assert (answer.status, answer.error["code"], server.judge.chats) == (503, "shield_unavailable", [])


def test_texts_beside_an_image_are_masked_and_the_image_stays(server: Guarded) -> None:
    message = shown(image(), text="I am ann@example.org")
    assert not stopped(chat(server, {**message, "name": "ann@example.org"}, "aws"))
    [sent] = server.judge.chats[-1]["messages"]
    assert sent == {**shown(image(), text="I am {EMAIL}"), "name": "{EMAIL}"}


def test_results_tell_of_images(server: Guarded) -> None:
    def told(shield: str, words: bytes) -> Any:
        body = {"model": "gpt", "messages": [shown(image(words))], "moderation": {"model": shield}}
        return server.post("/v1/chat/completions", body).json["moderation"]["input"]

    assert told("guard-4", b"a bomb")["results"][0]["flagged"] is True
    assert told("guard-4", b"a flower")["results"][0]["flagged"] is False
    assert told("words", b"a flower")["code"] == "not_checked"


def test_other_routes_judge_them_too(server: Guarded) -> None:
    for words, is_stopped in ((b"a bomb", True), (b"a flower", False)):
        part = {"type": "input_image", "image_url": url(words)}
        answer = server.post("/v1/responses", {"model": "gpt", "input": [said([part])], "guardrails": ["guard-4"]})
        assert stopped(answer) is is_stopped
        source = {"type": "base64", "media_type": "image/png", "data": url(words).partition(",")[2]}
        message = said([{"type": "image", "source": source}])
        body = {"model": "gpt", "max_tokens": 9, "messages": [message], "guardrails": ["guard-4"]}
        assert stopped(server.post("/v1/messages", body)) is is_stopped
    assert server.judge.chats


def test_the_judge_of_an_image_sees_what_was_said_with_it(server: Guarded) -> None:
    chat(server, shown(image(), text="mine"), "guard-4")
    with_image = [body["messages"] for body in server.judge.asked if "image_url" in str(body)]
    assert with_image == [[said([image(), {"type": "text", "text": "mine"}])]]


@pytest.mark.parametrize("shield", ["guard-4", "aws"])
def test_checks_by_name_judge_them(server: Guarded, shield: str) -> None:
    for words, is_flagged in ((b"a bomb", True), (b"a flower", False)):
        for parts in ([image(words)], [{"type": "text", "text": "what is it?"}, image(words)]):
            answer = server.post("/v1/moderations", {"input": parts, "model": shield})
            result = Moderation.model_validate(answer.json["results"][0])
            assert result.flagged is is_flagged
            told = answer.json["results"][0]["category_applied_input_types"]
            expected = {"illicit/violent": ["text"]} if shield == "guard-4" else {"violence": ["text", "image"]}
            assert {name: types for name, types in told.items() if types} == (expected if is_flagged else {})
            assert bool(server.violation(shield, said(parts))) is is_flagged
            assert bool(server.violation(shield, said(parts), said("fine", "assistant"))) is is_flagged
    assert server.violation(shield, shown(image()), said("a bomb", "assistant"))


@pytest.mark.parametrize("shield", ["guard", "words"])
def test_checks_by_name_refuse_what_the_shield_does_not_read(server: Guarded, shield: str) -> None:
    answer = server.post("/v1/moderations", {"input": [image()], "model": shield})
    assert (answer.status, answer.error["param"]) == (400, "input[0]")
    answer = server.run(shield, shown(image()))
    assert (answer.status, answer.error["param"]) == (400, "messages[0].content[1]")
    for message in ({**shown(image()), "role": "tool"}, shown(*[image()] * 9), shown(image(other=1))):
        assert server.run("guard-4", message).status == 400
    assert (server.judge.asked, server.stub.asked) == ([], [])
