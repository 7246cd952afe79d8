"""Ids of what a provider keeps for all callers reach no provider, wherever a chat has them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from server.inference.account_ids import ACCOUNT_IDS, ids_of
from tests.support.relay_server import MESSAGES, Relaying, relaying


def _content(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, *parts]}]}


def _message(**members: Any) -> dict[str, Any]:
    return {"messages": [*MESSAGES, {"role": "assistant", "content": "yes", **members}]}


def _picture(url: Any, **more: Any) -> dict[str, Any]:
    return _content({"type": "image_url", "image_url": {"url": url}, **more})


NAMING: list[tuple[str, dict[str, Any]]] = [
    ("audio.id", _message(audio={"id": "audio_of_another"})),
    ("audio.id", _message(audio={"id": "audio_of_another", "transcript": "x", "data": "eA==", "expires_at": 1})),
    ("audio.id", _message(Audio={"ID": "audio_of_another"})),
    ("audio.id", _message(audio_id="audio_of_another")),
    ("audio.id", _message(audio=[{"id": "audio_of_another"}])),
    ("audio.id", _content({"type": "audio", "audio": {"id": "audio_of_another"}})),
    ("audio.id", _content({"type": "output_audio", "output_audio": {"id": "audio_of_another"}})),
    ("audio.id", _content({"type": "input_audio", "input_audio": {"audioId": "audio_of_another"}})),
    ("audio.id", {"messages": [*MESSAGES, {"role": "assistant", "content": {"audio": {"id": "x"}}}]}),
    ("audio.id", {"prediction": {"type": "content", "content": [{"audio": {"id": "x"}}]}}),
    ("voice.id", {"modalities": ["audio"], "audio": {"format": "wav", "voice": {"id": "voice_of_another"}}}),
    ("voice.id", {"audio": {"format": "wav", "voice_id": "voice_of_another"}}),
    ("file_id", {"reasoning": {"inner": [{"file_ids": ["file-1"]}]}}),
    ("uuid", _picture("data:image/png;base64,aGk=", uuid="picture-of-another")),
    ("uuid", _content({"type": "image_url", "image_url": None, "uuid": "picture-of-another"})),
    ("uuid", _content({"type": "video_url", "video_url": {"url": "https://x.example/v", "UUID": "v"}})),
    ("uuid", {"uuid": "x"}),
    ("file_uri", _content({"type": "file", "file_data": {"fileUri": "https://x.example/v1beta/files/of-another"}})),
    ("file_uri", _content({"type": "image", "source": {"s3Location": {"bucketOwner": "1"}}})),
    ("container", {"container": "container_of_another"}),
    ("container", _content({"type": "container_upload", "container_id": "c"})),
    ("cached_content", {"cached_content": "cachedContents/of-another"}),
    ("cached_content", _message(extra={"google": {"cachedContent": "c"}})),
    ("response_id", _message(previous_response_id="resp_of_another")),
    ("vector_store_id", _content({"type": "text", "text": "x", "tools": [{"vector_store_ids": ["vs"]}]})),
    *(
        ("content.url", _picture(url))
        for url in (
            "gs://bucket/of-another.png",
            "s3://bucket/of-another.png",
            "file:///etc/passwd",
            "FILE:/etc/passwd",
            " gs://bucket/x",
            "\tgs://bucket/x",
            "\u0001file:///x",
            "azureml://x",
            "/srv/pictures/of-another.png",
            "../of-another.jpeg",
            "bucket.internal/x",
            "C:\\x",
            "https://generativelanguage.googleapis.com/v1beta/files/of-another",
            " HTTPS://GenerativeLanguage.googleapis.com:443/v1beta/files/of-another",
            "https://user@generativelanguage.googleapis.com/v1beta/files/of-another",
        )
    ),
    ("content.url", _content({"type": "image_url", "image_url": "gs://bucket/x"})),
    ("content.url", _content({"type": "video_url", "video_url": {"url": "file:///x"}})),
    ("content.url", _content({"type": "input_image", "ImageUrl": "gs://bucket/x"})),
    ("content.url", _content({"type": "file", "file": {"file_data": "gs://bucket/x"}})),
    ("content.url", _content({"type": "image_url", "image_url": {"urls": ["https://x.example/a", "gs://b"]}})),
    ("content.url", _content({"type": "tool_result", "content": [{"image_url": {"url": "gs://b"}}]})),
]

PASSING: list[dict[str, Any]] = [
    _message(audio=None),
    _message(audio={"id": None}),
    _message(annotations=[{"type": "url_citation", "url_citation": {"url": "ftp://x.example", "title": "t"}}]),
    _message(tool_calls=[{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": {"uuid": "u"}}}]),
    _content({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}),
    _picture("https://x.example/picture.png"),
    _picture("HTTP://x.example/picture"),
    _picture("data:image/png;base64,aGk="),
    _picture("/9j/4AAQSkZJRgABAQEASABIAAD="),
    _picture("data:image/png;base64,aGk=", uuid=None),
    {"audio": {"format": "wav", "voice": "alloy"}, "modalities": ["text", "audio"]},
    {"metadata": {"uuid": "a note", "container": "a note"}},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"uuid": {}}}}}]},
]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    folder = tmp_path_factory.mktemp("ids")
    with relaying(folder, "provider_type: remote::openai, config: {base_url: URL}") as running:
        yield running


@pytest.mark.parametrize(("name", "members"), NAMING)
def test_an_id_of_the_account_reaches_no_provider(strict: Relaying, name: str, members: dict[str, Any]) -> None:
    strict.far.asked.clear()
    for more in ({}, {"stream": True}, {"store": True}):
        answer = strict.chat(**members, **more)
        assert (answer.status, answer.error["param"]) == (400, name)
        assert (answer.error["code"], answer.error["message"]) == ("unsupported_parameter", ACCOUNT_IDS[name])
    assert strict.far.asked == []


@pytest.mark.parametrize("number", range(len(PASSING)))
def test_what_names_nothing_there_passes_as_it_came(strict: Relaying, number: int) -> None:
    assert strict.chat(**PASSING[number]).status == 200
    assert {name: strict.body[name] for name in PASSING[number]} == PASSING[number]


def test_an_id_in_a_large_body_is_found_too(strict: Relaying) -> None:
    strict.far.asked.clear()
    pad = {"role": "user", "content": "ö" * 60_000}
    messages = [pad, {"role": "assistant", "content": None, "audio": {"id": "x"}}]
    assert strict.chat(messages=messages).error["param"] == "audio.id"
    assert strict.far.asked == []


def test_a_response_names_nothing_there_either(strict: Relaying) -> None:
    strict.far.asked.clear()
    for part in (
        {"type": "input_image", "image_url": "gs://bucket/of-another.png"},
        {"type": "input_file", "file_data": "file:///etc/passwd", "filename": "x"},
    ):
        body = {"model": "p/m", "input": [{"role": "user", "content": [part]}], "store": False}
        answer = strict.address.post("/v1/responses", body, "Authorization: Bearer alice")
        assert (answer.status, answer.error["param"], strict.far.asked) == (400, "content.url", [])


@pytest.mark.parametrize("name", ["audio.id", "content.url"])
def test_an_operator_lets_one_name_through_alone(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    config = f"provider_type: remote::openai, config: {{base_url: URL, allow_members: [{name}]}}"
    with relaying(tmp_path_factory.mktemp("own"), config) as own:
        for told, members in NAMING:
            assert own.chat(**members).status == (200 if told == name else 400), members


def test_a_long_name_of_many_values_is_looked_at_once() -> None:
    began = time.process_time()
    assert list(ids_of("x" * 4_000_000, [[]] * 100_000)) == []
    assert time.process_time() - began < 1
