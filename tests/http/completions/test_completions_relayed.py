"""Completions of a provider, whole and streamed: the same path and the same members, under our names."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps
from typing import Any

import pytest

from tests.support.relay_server import DONE, JSON_HEAD, Relaying, event, relaying, streamed, whole
from tests.support.serving import Answer
from tests.support.stream_client import events

PATH = "/v1/completions"
HEAD = {"id": "cmpl-far", "object": "text_completion", "created": 1, "model": "far-m"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
MODELS = "- {model_id: v, provider_id: p, provider_model_id: far-v, model_type: embedding}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    with relaying(tmp_path_factory.mktemp("completions"), models=MODELS) as running:
        yield running


def choice(index: Any, text: Any = "yes", reason: Any = "stop", **more: Any) -> dict[str, Any]:
    place = {} if index is None else {"index": index}
    return {"text": text, **place, "logprobs": None, "finish_reason": reason, **more}


def answering(*choices: Any, **more: Any) -> bytes:
    return whole({**HEAD, "choices": [*choices], "usage": USAGE, **more})


def streaming(*chunks: Any, end: bytes = DONE) -> bytes:
    return streamed(*(event({**HEAD, "choices": [*each]}) for each in chunks), end)


def complete(server: Relaying, prompt: Any = "hi", model: str = "p/m", **more: Any) -> Answer:
    body = {"model": model, **({} if prompt is ... else {"prompt": prompt}), **more}
    return server.address.post(PATH, body, "Authorization: Bearer alice")


MEMBERS: dict[str, Any] = {
    "echo": True,
    "suffix": " end",
    "logprobs": 2,
    "max_tokens": 5,
    "temperature": 0.5,
    "top_p": 0.5,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "stop": ["a"],
    "logit_bias": {"50256": -100},
    "seed": 7,
    "best_of": 1,
    "n": 1,
}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("prompt", ["hi", "", ["hi"], [1, 2], [[1, 2]], None, ...])
def test_a_stream_goes_the_same_way_as_a_whole_answer(server: Relaying, prompt: Any, is_stream: bool) -> None:
    server.answers(streaming([choice(0)]) if is_stream else answering(choice(0)))
    more = {**MEMBERS, **({"stream": True} if is_stream else {})}
    assert complete(server, prompt, **more).status == 200
    assert server.head.startswith("POST /v1/completions HTTP/1.1")
    asked = {"model": "far-m", **({} if prompt is ... else {"prompt": prompt}), **more}
    # What a stream has cost is asked for, whether or not the caller asks.
    assert server.body == asked | ({"stream_options": {"include_usage": True}} if is_stream else {})


def test_a_whole_answer_has_our_names(server: Relaying) -> None:
    known = {"tokens": ["yes"], "token_logprobs": [-0.5], "top_logprobs": [{"yes": -0.5}], "text_offset": [0]}
    server.answers(answering(choice(0, logprobs=known), system_fingerprint="f"))
    answer = complete(server, logprobs=1)
    assert answer.json == {
        **HEAD,
        "model": "p/far-m",
        "choices": [choice(0, logprobs=known)],
        "usage": USAGE,
        "system_fingerprint": "f",
    }


def test_each_chunk_has_our_names(server: Relaying) -> None:
    odd = {"id": "", "object": "text_completion.chunk", "model": "", "created": 0}
    chunks = [
        event({**HEAD, "choices": [choice(0, "a", None)]}),
        event({**HEAD, **odd, "choices": [choice(0, "b", "")]}),
        event({**HEAD, "choices": [choice(None, None, "stop")]}),
        event({**HEAD, "choices": [], "usage": USAGE}),
    ]
    server.answers(streamed(*chunks, DONE))
    answer = complete(server, stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *found, last = events(answer.body)
    assert last is None
    assert {(each["id"], each["object"], each["model"], each["created"]) for each in found} == {
        ("cmpl-far", "text_completion", "p/far-m", 1)
    }
    assert [each["choices"] for each in found] == [
        [choice(0, "a", None)],
        [choice(0, "b", None)],
        [choice(0, "", "stop")],
        [],
    ]
    assert found[-1]["usage"] == USAGE


def test_many_prompts_have_a_choice_each_for_every_copy(server: Relaying) -> None:
    given = [choice(index, str(index)) for index in (2, 0, 3, 1)]
    server.answers(answering(*given))
    answer = complete(server, ["a", "b"], n=2)
    assert [(each["index"], each["text"]) for each in answer.json["choices"]] == [(n, str(n)) for n in range(4)]
    assert server.body == {"model": "far-m", "prompt": ["a", "b"], "n": 2}
    server.answers(answering(*(choice(None, str(number)) for number in range(4))))
    answer = complete(server, [[1], [2]], n=2)
    assert [(each["index"], each["text"]) for each in answer.json["choices"]] == [(n, str(n)) for n in range(4)]
    server.answers(streaming(*([each] for each in given)))
    found = events(complete(server, ["a", "b"], n=2, stream=True).body)[:-1]
    assert [each["choices"][0]["index"] for each in found] == [2, 0, 3, 1]


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ([choice(0)], "1 choices in place of 2"),
        ([], "0 choices in place of 2"),
        ([choice(0), choice(1), choice(2)], "3 choices in place of 2"),
        ([choice(0), choice(0)], "indices"),
        ([choice(1), choice(2)], "indices"),
        ([choice(4), choice(5)], "indices"),
        ([choice(0), choice(None)], "indices"),
        ([choice("0"), choice("1")], "indices"),
        ([choice(0), choice(1, 5)], "other than a completion"),
        ([choice(0), "b"], "other than a completion"),
        (None, "other than a completion"),
    ],
)
def test_choices_that_are_not_those_of_the_prompts_are_502(server: Relaying, choices: Any, sentence: str) -> None:
    server.answers(whole({**HEAD, "choices": choices}))
    answer = complete(server, ["a", "b"])
    assert answer.status == 502
    assert sentence in answer.error["message"]


@pytest.mark.parametrize("wrong", [choice(2), choice(-1), choice(None), choice("0"), choice(0, 5), "x"])
def test_a_chunk_of_no_prompt_ends_the_stream_with_an_error(server: Relaying, wrong: Any) -> None:
    server.answers(streaming([choice(0, "a", None)], [wrong]))
    *_, last = events(complete(server, ["a", "b"], stream=True).body)
    assert last is not None
    assert last["error"]["code"] == "server_error"


def test_a_whole_answer_becomes_a_stream_where_one_was_asked_for(server: Relaying) -> None:
    server.answers(answering(choice(0, "a"), choice(1, "b")))
    answer = complete(server, ["a", "b"], stream=True, stream_options={"include_usage": True})
    *found, last = events(answer.body)
    assert last is None
    assert [each["choices"] for each in found] == [[choice(0, "a")], [choice(1, "b")], []]
    assert {each["object"] for each in found} == {"text_completion"}
    assert found[-1]["usage"] == USAGE


def test_a_large_answer_has_our_names_too(server: Relaying) -> None:
    server.answers(answering(choice(0, "x" * 3_000_000)))
    answer = complete(server)
    assert (answer.json["model"], len(answer.json["choices"][0]["text"])) == ("p/far-m", 3_000_000)


def test_refusals_are_those_of_a_chat(server: Relaying) -> None:
    head = JSON_HEAD.replace(b"200 OK", b"400 No")
    server.answers(whole({"error": {"message": "maximum context length is 10 tokens"}}, head))
    answer = complete(server)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    server.answers(streamed(event({"error": {"message": "slow down", "code": "rate_limit_exceeded"}})))
    assert complete(server, stream=True).status == 429
    server.answers(streamed(event({**HEAD, "choices": [choice(0, "a", None)]}), event({"error": {"message": "no"}})))
    *_, last = events(complete(server, stream=True).body)
    assert last is not None
    assert "error" in last
    server.answers(streamed(event({**HEAD, "choices": [choice(0, "a", None)]})))
    *_, last = events(complete(server, stream=True).body)
    assert last is not None
    assert last["error"]["message"] == "the provider `p` ended its answer in the middle"
    server.answers(whole({"detail": "Not Found"}, JSON_HEAD.replace(b"200 OK", b"404 No")))
    answer = complete(server)
    assert (answer.status, answer.error["param"]) == (400, "model")
    assert answer.error["message"] == "the provider `p` does not complete texts"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [2**31]}, "prompt"),
        ({"prompt": [1.5]}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [["a"]]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": ["a"] * 2049}, "prompt"),
        ({"prompt": ["a", "b"], "n": 2, "best_of": 1}, "best_of"),
        ({"n": 2, "best_of": 1}, "best_of"),
        ({"best_of": 0}, "best_of"),
        ({"best_of": "3"}, "best_of"),
        ({"best_of": True}, "best_of"),
        ({"best_of": 3, "stream": True}, "best_of"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"n": 2049}, "n"),
        ({"prompt": ["a"] * 2048, "n": 2}, "n"),
        ({"best_of": 2049}, "n"),
        ({"stream": 1}, "stream"),
        ({"stream_options": 1}, "stream_options"),
        ({"Prompt": "a"}, "Prompt"),
        ({"fallbacks": ["other"]}, "fallbacks"),
        ({"input": "a"}, "input"),
        ({"messages": [{"role": "user", "content": "a"}]}, "messages"),
        ({"tools": []}, "tools"),
    ],
    ids=lambda given: dumps(given)[:30],
)
def test_what_is_wrong_is_refused_before_the_provider_is_asked(
    server: Relaying, more: dict[str, Any], param: str
) -> None:
    server.answers(answering(choice(0)))
    answer = complete(server, **more)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert server.far.asked == []


def test_a_best_of_that_leaves_nothing_open_is_streamed(server: Relaying) -> None:
    server.answers(streaming([choice(0)]))
    assert complete(server, best_of=1, stream=True).status == 200
    server.answers(answering(choice(0), choice(1)))
    assert complete(server, n=2, best_of=3).status == 200


def test_an_embedding_model_completes_nothing(server: Relaying) -> None:
    answer = complete(server, model="p/v")
    assert (answer.status, answer.error["param"]) == (400, "model")
    assert answer.error["message"] == "the model `p/v` does not complete texts; it makes embeddings"


def test_a_user_is_a_pseudonym(server: Relaying) -> None:
    server.answers(answering(choice(0)))
    assert complete(server, user="me").status == 200
    assert server.body["user"].startswith("name-")
