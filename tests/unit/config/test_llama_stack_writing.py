"""The file that an import writes is read back as what was meant, whatever is wrong with the original."""

from __future__ import annotations

import random

import pytest

from policy.source.diagnostics import Findings, InvalidDocument
from policy.source.document import Entry, Mapping, Node, Scalar, Sequence, parse_document, read_document
from server.config import read_config
from server.config.llama_stack import TooLarge, imported, written
from tests.support.imports import DISTRIBUTIONS, FOLDER, plain


def mutated(node: Node, chance: random.Random, often: float) -> Node:
    """A tree in which some values are of another kind, and some are missing."""
    if chance.random() < often:
        return chance.choice(
            [
                Scalar("", None, False, node.span),
                Scalar("7", 7, False, node.span),
                Sequence((), node.span),
                Mapping({}, node.span),
            ]
        )
    if isinstance(node, Mapping):
        kept = {key: entry for key, entry in node.entries.items() if chance.random() > often}
        return Mapping(
            {key: Entry(entry.key_span, mutated(entry.node, chance, often)) for key, entry in kept.items()}, node.span
        )
    if isinstance(node, Sequence):
        return Sequence(tuple(mutated(item, chance, often) for item in node.items), node.span)
    return node


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_whatever_is_wrong_with_a_file_it_is_translated_or_refused(name: str) -> None:
    chance = random.Random(name)  # noqa: S311 - no secret depends on it
    document = read_document(FOLDER / f"{name}.yaml")
    for often in (0, 0.01, 0.03, 0.1):
        changed = mutated(document, chance, often)
        found = imported(changed if isinstance(changed, Mapping) else document)
        text = written(found.document, ["a\ncomment"])
        try:
            assert plain(parse_document(text, name)) == plain(found.document)
        except InvalidDocument:
            assert not found.document.entries
        findings = Findings()
        assert (read_config(found.document, {}, findings) is None) == findings.has_errors


@pytest.mark.parametrize(
    "text",
    [
        "",
        " a",
        "a: b",
        "a #b",
        "yes",
        "1e3",
        "~",
        "null",
        "- a",
        "2026-01-01",
        "a\nb\n",
        "\t",
        'q"\\',
        "é\U0001f600\u200b",
        "=",
        "a:",
        "{a}",
    ],
)
def test_every_text_is_read_back(text: str) -> None:
    span = parse_document("a: b", "a").span
    document = Mapping(
        {"k": Entry(span, Scalar(text, text, True, span)), text or "x": Entry(span, Sequence((), span))}, span
    )
    assert plain(parse_document(written(document, []), "a")) == {"k": text, text or "x": []}


def test_no_file_is_written_that_could_not_be_read() -> None:
    span = parse_document("a: b", "a").span
    long = Scalar("x" * 5_000_000, "x" * 5_000_000, True, span)
    with pytest.raises(TooLarge):
        written(Mapping({"a": Entry(span, long), "b": Entry(span, long)}, span), [])
