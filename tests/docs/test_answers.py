"""`docs/api/answers.md` says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.api.chat import files as chat_files
from server.api.completions import body as completions
from server.api.models import inputs
from server.http import protocol
from server.inference import attachments, file_parts
from server.inference.answers import event_relay, model_name, vectors
from server.inference.providers import http_provider, openai_compatible, vector_answers

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api" / "answers.md").read_text()
MB = 1024 * 1024


@pytest.mark.parametrize(
    "row",
    [
        f"| time to connect to a provider | {http_provider.CONNECT_SECONDS:.0f} s |",
        f"before its answer or in the middle of it | {http_provider.SILENCE_SECONDS:.0f} s |",
        f"| one event of a stream | {event_relay.MAX_EVENT // MB} MB |",
        f"| an answer that is not streamed | {openai_compatible.MAX_ANSWER // MB} MB |",
        f"| an answer with embeddings | {vector_answers.MOST_ANSWER // MB} MB, {vectors.MOST_ENTRY // 1024} KB for",
        f"more than {vector_answers.FREE // MB} MB takes room\n",
        f"until its caller has it: {vector_answers.ROOM.each // MB} MB for one",
        f"1 to {inputs.MOST_INPUTS:,} inputs, none of them\nempty, with ids from 0 to {inputs.LARGEST_ID:,}",
        f"of 1 to {inputs.MOST_INPUTS:,} prompts with ids from 0 to {inputs.LARGEST_ID:,}",
        f"all prompts together have at most {completions.MOST_COMPLETIONS:,} completions made",
        f"| size | {chat_files.MOST_OF_ONE // MB} MB for one file, {chat_files.MOST_OF_ALL // MB} MB for all of a chat",
        f"Files may be named {file_parts.MOST_NAMED} times: 400",
        f"At most {attachments.SENT.each} requests with files are\nsent for one caller at a time, "
        f"and {attachments.SENT.capacity} in one process",
        f"is silent for {http_provider.SILENCE_SECONDS:.0f} s",
        f"after {protocol.STALL_SECONDS:.0f} s the client is cut off",
        f"of more than {model_name.SMALL // 1024} KB",
    ],
)
def test_the_page_names_the_limit(row: str) -> None:
    assert row in PAGE
