"""A YAML file becomes a tree with places, or a diagnostic."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from policy.source.diagnostics import InvalidDocument, Span
from policy.source.document import DEPTH_LIMIT, NODE_LIMIT, Mapping, Scalar, Sequence, parse_document, read_document
from policy.source.text import SIZE_LIMIT


def refusal(text: str) -> tuple[str, int, int]:
    with pytest.raises(InvalidDocument) as caught:
        parse_document(text, "c.yaml")
    first = caught.value.diagnostics[0]
    assert first.span.file == "c.yaml"
    return first.code, first.span.line, first.span.column


def scalar(text: str) -> Scalar:
    node = parse_document(f"key: {text}\n", "c.yaml").entries["key"].node
    assert isinstance(node, Scalar)
    return node


def test_nodes_know_where_they_stand() -> None:
    root = parse_document("server:\n  ports: [80, 443]\n  host: 'a'\n", "c.yaml")
    server = root.entries["server"]
    assert server.key_span == Span("c.yaml", 1, 1)
    assert isinstance(server.node, Mapping)
    assert server.node.span == Span("c.yaml", 2, 3)
    ports = server.node.entries["ports"].node
    assert isinstance(ports, Sequence)
    assert ports.span == Span("c.yaml", 2, 10)
    assert ports.items == (
        Scalar("80", 80, False, Span("c.yaml", 2, 11)),
        Scalar("443", 443, False, Span("c.yaml", 2, 15)),
    )
    assert server.node.entries["host"].node == Scalar("a", "a", True, Span("c.yaml", 3, 9))


def test_columns_count_characters_and_not_bytes() -> None:
    root = parse_document("{日本: 1, b: 2}\n", "c.yaml")
    assert root.entries["b"].key_span == Span("c.yaml", 1, 9)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", False), ("on", True), ("True", True), ("~", None), ("", None), ("null", None),
        ("12", 12), ("0x1f", 31), ("0o17", "0o17"), ("017", 15), ("1_000", 1000), ("1:30", 90), ("-1", -1),
        ("1.5", 1.5), (".inf", float("inf")), ("1e5", "1e5"), ("1.0e+5", 100000.0),
        ("2024-01-01", "2024-01-01"), ("=", "="), ("0b_", "0b_"), ("model::a", "model::a"), ("9" * 65, "9" * 65),
    ],
)  # fmt: skip
def test_plain_scalars_are_resolved_as_yaml_1_1_does(text: str, value: object) -> None:
    found = scalar(text)
    assert (found.text, found.value, found.quoted) == (text, value, False)
    assert type(found.value) is type(value)


@pytest.mark.parametrize("text", ["'no'", '"12"', "|\n  null", ">-\n  true"])
def test_quoted_scalars_and_blocks_are_text(text: str) -> None:
    found = scalar(text)
    assert found.quoted
    assert found.value == found.text


def test_a_byte_order_mark_is_ignored_and_shifts_nothing() -> None:
    assert parse_document("\ufeffserver: 1\n", "c.yaml").entries["server"].key_span == Span("c.yaml", 1, 1)


def test_windows_line_ends_are_fine() -> None:
    assert parse_document("a: 1\r\nb: 2\r\n", "c.yaml").entries["b"].key_span == Span("c.yaml", 2, 1)


def test_an_alias_stands_for_its_anchor() -> None:
    root = parse_document("a: &a [x]\nb: *a\nc: [*a, *a]\n", "c.yaml")
    assert root.entries["b"].node is root.entries["a"].node


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2\n", ("duplicate-key", 2, 1)),
        ("a: {b: 1, b: 2}\n", ("duplicate-key", 1, 11)),
        ("\"a\": 1\n'a': 2\n", ("duplicate-key", 2, 1)),
        ("on: 1\n", ("non-text-key", 1, 1)),
        ("1: 1\n", ("non-text-key", 1, 1)),
        ("? [a]\n: 1\n", ("non-text-key", 1, 3)),
        ("a: &a {b: 1}\nc: {<<: *a}\n", ("merge-key", 2, 5)),
        ("a: !!python/object/apply:os.system [ls]\n", ("tag", 1, 4)),
        ("a: !secret x\n", ("tag", 1, 4)),
        ("a: 1\n---\nb: 1\n", ("several-documents", 2, 1)),
        ("a: 1\n...\n---\n", ("several-documents", 3, 1)),
        ("- a\n", ("not-a-mapping", 1, 1)),
        ("text\n", ("not-a-mapping", 1, 1)),
        ("", ("not-a-mapping", 1, 1)),
        ("a:\n\tb: 1\n", ("tab", 2, 1)),
        ("a:\n  \tb: 1\n", ("tab", 2, 3)),
        ("a: \x00\n", ("control-character", 1, 4)),
        ("a: x\x85y\n", ("control-character", 1, 5)),
        ("a: x\u2029y\n", ("control-character", 1, 5)),
        ("a: x\ry: 1\n", ("control-character", 1, 5)),
        ("a: \ud800\n", ("control-character", 1, 4)),
        ("a: *b\n", ("unknown-alias", 1, 4)),
        ("a: &a [*a]\n", ("recursive-alias", 1, 8)),
        ("a: [1\n", ("invalid-yaml", 1, 4)),
        ("a: 1\nb\nc: 2\n", ("invalid-yaml", 2, 1)),
        ("0:\n0", ("invalid-yaml", 2, 1)),
        ('a: "\\ud800"\n', ("invalid-yaml", 1, 7)),
        ("a: 'x\n", ("invalid-yaml", 1, 4)),
        ("%YAML 3.0\n---\na: 1\n", ("invalid-yaml", 1, 1)),
    ],
)
def test_what_is_wrong_is_refused_at_its_place(text: str, expected: tuple[str, int, int]) -> None:
    assert refusal(text) == expected


def test_tabs_may_stand_between_values() -> None:
    assert set(parse_document("a:\t1\t# one\nb: [1,\t2]\n", "c.yaml").entries) == {"a", "b"}


def test_structural_mistakes_are_reported_together() -> None:
    with pytest.raises(InvalidDocument) as caught:
        parse_document("a: 1\na: 2\non: 1\nb: !x 1\n", "c.yaml")
    assert [found.code for found in caught.value.diagnostics] == ["duplicate-key", "non-text-key", "tag"]


def test_yaml_objects_are_never_constructed(tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert refusal(f"a: !!python/object/apply:pathlib.Path.touch [{made}]\n")[0] == "tag"
    assert not made.exists()


def test_the_depth_limit_is_exact() -> None:
    def nested(depth: int) -> str:
        return "a: " + "[" * depth + "]" * depth

    parse_document(nested(DEPTH_LIMIT - 1), "c.yaml")
    assert refusal(nested(DEPTH_LIMIT))[0] == "too-deep"


def test_aliases_do_not_nest_deeper_than_lists_may() -> None:
    def chain(links: int) -> str:
        return "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, links))

    parse_document(chain(DEPTH_LIMIT - 2), "c.yaml")
    assert refusal(chain(DEPTH_LIMIT - 1)) == ("too-deep", DEPTH_LIMIT - 1, 12)


def test_the_node_limit_counts_what_aliases_repeat() -> None:
    ten = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
    most = NODE_LIMIT // 10 - 10
    parse_document(ten + "b: [" + "*a, " * most + "]\n", "c.yaml")
    assert refusal(ten + "b: [" + "*a, " * (most + 20) + "]\n")[0] == "too-many-values"


def bomb() -> str:
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))
    return "a0: &a0 [x, x, x, x]\n" + levels


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: "x" * (SIZE_LIMIT + 1), "too-large"),
        (bomb, "too-many-values"),
        (lambda: "a: " + "[" * 8_000_000, "too-deep"),
        (lambda: "{" * 8_000_000, "too-deep"),
        (lambda: "- " * 4_000_000, "too-deep"),
        (lambda: "? " * 4_000_000, "too-deep"),
        (lambda: "a: [" + "1," * 4_000_000, "too-many-values"),
        (lambda: "a: 1\n" * 1_600_000, "duplicate-key"),
        (lambda: "1: 1\n" * 1_600_000, "non-text-key"),
        (lambda: "a: 'x" + "\n" * 8_000_000, "invalid-yaml"),
        (lambda: "---\n" * 2_000_000, "several-documents"),
        (lambda: " " * 8_000_000 + "\ta: 1", "tab"),
        (lambda: (" " * 200 + "\n") * 40_000 + "\ta: 1", "tab"),
        (lambda: "a: 1 # " + "x" * 8_000_000 + "\x07", "control-character"),
    ],
)
def test_bombs_are_refused_at_once(make: Callable[[], str], code: str) -> None:
    text = make()
    start = time.process_time()
    assert refusal(text)[0] == code
    assert time.process_time() - start < 2.0  # within a second where nothing else runs


def test_a_file_of_50_megabytes_is_refused_within_a_second(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(50 * 2**20)
    start = time.process_time()
    with pytest.raises(InvalidDocument, match=r"huge\.yaml:1:1: error: the file is larger than 8 MiB"):
        read_document(path)
    assert time.process_time() - start < 1.0


def test_a_file_is_named_as_given_or_as_wished(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: 1\n")
    assert read_document(path).span.file == str(path)
    assert read_document(path, "config.yaml").span.file == "config.yaml"


@pytest.mark.parametrize("name", ["missing.yaml", ".", "nul\0.yaml"])
def test_a_file_that_cannot_be_read_is_a_diagnostic(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_document(tmp_path / name, "config.yaml")
    assert caught.value.diagnostics[0].code == "unreadable-file"


def test_bytes_that_are_not_utf_8_are_shown_at_their_place(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes("é: 1\nb: ä".encode() + b"\xe4\n")
    with pytest.raises(InvalidDocument, match=r"config\.yaml:2:5: error: the file isn't UTF-8: found the byte 0xe4"):
        read_document(path, "config.yaml")


def test_the_size_limit_counts_text_that_aliases_repeat() -> None:
    text = f"a: &a [{'x' * 1_000_000}]\nb: [{', '.join(['*a'] * 7)}]\n"
    assert parse_document(text, "f.yaml").entries.keys() == {"a", "b"}
    with pytest.raises(InvalidDocument) as caught:
        parse_document(f"{text}c: [*a]\n", "f.yaml")
    [found] = caught.value.diagnostics
    assert (found.code, found.span.line) == ("too-large", 3)
