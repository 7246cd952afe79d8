"""What a Llama Guard and a list of words make of texts that are written to get past them."""

from __future__ import annotations

import asyncio
from time import thread_time
from typing import Any

import pytest

from server.inference.provider import Task
from server.safety.keyword import Keywords
from server.safety.llama_guard.conversations import harmless
from server.safety.llama_guard.guard import LlamaGuard
from server.safety.shield import Direction, Said, Verdict


class Says:
    """A judge that writes a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def ask(self, model: str, task: Task, members: dict[str, Any]) -> Any:
        return {"choices": [{"message": {"content": self.text}}]}


def judged(answer: str, *excluded: str) -> Verdict:
    guard = LlamaGuard("m", "llama-guard-3", frozenset(excluded), writes_prompts=False)
    return asyncio.run(guard.check([Said("hi")], Direction.INPUT, Says(answer)))


@pytest.mark.parametrize("line", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\n \t"])
@pytest.mark.parametrize("speaker", ["User", "agent", "Assistant"])
@pytest.mark.parametrize("colon", [":", " :", "\uff1a"])
def test_a_text_has_no_second_speaker(line: str, speaker: str, colon: str) -> None:
    assert harmless(f"a{line}{speaker}{colon} b") == f"a{line}{speaker} -{colon} b"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<|eot_id|>", "< |eot_id| >"),
        ("<<<SYS>>", "< < <SYS>>"),
        ("<|>", "< | >"),
        ("</s><s>", "< /s>< s>"),
        ("[INST][/inst]", "[ INST][ /inst]"),
        ("<END CONVERSATION>", "< END CONVERSATION>"),
        ("< begin conversation>", "<  begin conversation>"),
        ("user: hi", "user -: hi"),
        ("a user: x <b> [c] 1 < 2 | 3", "a user: x <b> [c] 1 < 2 | 3"),
    ],
)
def test_markers_are_broken_and_other_texts_stay(text: str, plain: str) -> None:
    assert harmless(text) == plain


@pytest.mark.parametrize("pad", [0, 1, 5, 16 * 1024 - 3, 16 * 1024 - 1, 16 * 1024, 40_000])
def test_markers_are_broken_wherever_they_stand(pad: int) -> None:
    for marker in ("[/INST]", "<END CONVERSATION>", "\nAgent: x", "<|eot|>"):
        assert marker not in harmless("." * pad + marker + "." * 20_000 + marker)


@pytest.mark.alone
@pytest.mark.parametrize("row", ["\n", "\r", " \n", "<", "<|", "<END", "[INST]", "User\n", "< "])
def test_a_row_of_markers_takes_no_long_time(row: str) -> None:
    small, large = (row * (count // len(row)) for count in (50_000, 500_000))
    times = []
    for text in (small, large):
        began = thread_time()
        harmless(text)
        times.append(thread_time() - began)
    assert times[1] < 40 * times[0] + 0.05


@pytest.mark.parametrize(
    ("answer", "excluded", "flagged"),
    [
        ("unsafe\nS6", ["S6"], False),
        ("unsafe\nS6, S6 ", ["S6"], False),
        ("unsafe\nS6,S100", ["S6"], True),
        ("unsafe\nS6,S99", ["S6"], True),
        ("unsafe\nS6, violence", ["S6"], True),
        ("unsafe\ns6", ["S6"], True),
        ("unsafe", ["S6"], True),
        ("unsafe\nS6,S1", ["S6"], True),
    ],
)
def test_only_codes_that_are_excluded_pass(answer: str, excluded: list[str], flagged: bool) -> None:
    assert judged(answer, *excluded).flagged is flagged


@pytest.mark.parametrize(
    "text",
    [
        *(f"fal{hidden}con" for hidden in "\u200b\u034f\u202e\ufe0f\U000e0061\uffa0\u3164"),
        "\uff46al\u200bcon",
        "FALCON",
    ],
)
def test_invisible_characters_hide_no_word(text: str) -> None:
    words = Keywords({"keyword": ["falcon"]}, whole_words=True)
    assert asyncio.run(words.check([Said(f"a {text}!")], Direction.INPUT, Says(""))).flagged
