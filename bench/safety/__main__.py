"""`python -m bench.safety [--write PAGE]` measures what shields cost beside judges, and fails for a missed goal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.report import written_into
from bench.responses.__main__ import Figure, report
from bench.results import machine
from bench.safety.shielded import chat_seconds, held_up_seconds, llama_guard, window_seconds, words

BEGIN = "<!-- safety: what follows is written by `python -m bench.safety` -->"
END = "<!-- safety: until here -->"


def main() -> None:
    """Parse the command line and run; the status is 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="bench.safety", description="Measure what shields cost beside their judges.")
    parser.add_argument("--report", action="store_true", help="succeed also where a goal is missed")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the marks of this page")
    chosen = parser.parse_args()
    figures = measured()
    text = report(figures, machine())
    sys.stdout.write(text)
    if chosen.write is not None:
        chosen.write.write_text(written_into(chosen.write.read_text(), text, BEGIN, END))
    missed = [figure for figure in figures if figure.is_missed]
    sys.stderr.write("".join(f"missed: {figure.what}\n" for figure in missed))
    sys.exit(bool(missed) and not chosen.report)


def measured() -> list[Figure]:
    """Return the figures."""
    return [
        Figure("a chat through a Llama Guard: processor time", chat_seconds(llama_guard()) * 1e3, 0.4, "ms"),
        Figure("a chat through a list of words: processor time", chat_seconds(words()) * 1e3, 0.4, "ms"),
        Figure("a chat through both: processor time", chat_seconds(llama_guard(), words()) * 1e3, 0.4, "ms"),
        Figure("a window of a stream through a Llama Guard", window_seconds(llama_guard()) * 1e3, 1.0, "ms"),
        Figure("a window of a stream through both", window_seconds(llama_guard(), words()) * 1e3, 1.0, "ms"),
        Figure("a check, later beside another caller's that hang", held_up_seconds() * 1e3, 50.0, "ms"),
    ]


if __name__ == "__main__":
    main()
