"""Instructor, which reads answers into models of pydantic."""

from __future__ import annotations

import instructor
import openai
from parts import ALICE, CHAT, URL, run
from pydantic import BaseModel


class Report(BaseModel):
    city: str
    degrees: int


EXPECTED = {"city": "Berlin", "degrees": 21}
ASKED = [{"role": "user", "content": "report"}]


def made(mode: instructor.Mode) -> instructor.Instructor:
    return instructor.from_openai(openai.OpenAI(base_url=URL, api_key=ALICE, max_retries=0), mode=mode)


def asked(mode: instructor.Mode) -> dict[str, object]:
    # What comes has members of its own besides.
    return made(mode).create(model=CHAT, messages=ASKED, response_model=Report).model_dump()


def tools() -> None:
    assert asked(instructor.Mode.TOOLS) == EXPECTED


def schema() -> None:
    assert asked(instructor.Mode.JSON_SCHEMA) == EXPECTED


def json() -> None:
    assert asked(instructor.Mode.JSON) == EXPECTED


def partial() -> None:
    running = made(instructor.Mode.TOOLS).create_partial(model=CHAT, messages=ASKED, response_model=Report)
    assert [*running][-1].model_dump() == EXPECTED


run(tools, schema, json, partial)
