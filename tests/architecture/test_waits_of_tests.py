"""Waits of tests: what must happen may take its time, since a busy machine may take seconds to start a server."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
ELSEWHERE = {"node_modules", "clients", "mutation"}
CLIENTS = {"get", "post", "put", "patch", "delete", "head", "options", "request", "stream", "Client", "AsyncClient"}
WAITS = {"wait", "acquire", "result", "get", "settimeout", "create_connection", "HTTPConnection"}
LEAST = 20


def hasty(tree: ast.Module) -> Iterator[int]:
    """Yield the lines that fail where something has not happened within a few seconds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if _is_client(node) or (ast.unparse(node.func) == "asyncio.timeout" and _seconds(node) < LEAST):
                yield node.lineno
        elif isinstance(node, ast.Assert) and not any(isinstance(part, ast.Not) for part in ast.walk(node.test)):
            yield from (call.lineno for call in ast.walk(node.test) if _is_short_wait(call))


def _is_client(call: ast.Call) -> bool:
    """Whether the call makes a client of httpx on a socket that has its default time-out, which is five seconds."""
    assert isinstance(call.func, ast.Attribute)
    given = {keyword.arg for keyword in call.keywords}
    return (
        ast.unparse(call.func.value) == "httpx" and call.func.attr in CLIENTS and not given & {"timeout", "transport"}
    )


def _is_short_wait(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in WAITS
        and _seconds(node) < LEAST
    )


def _seconds(call: ast.Call) -> float:
    """Return the seconds of a wait, as far as they are a number there."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "timeout"] or call.args[:1]
    value = given[0].value if given and isinstance(given[0], ast.Constant) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else float("inf")


def test_no_test_waits_too_short_a_time_for_what_must_happen() -> None:
    modules = [path for path in TESTS.rglob("*.py") if not ELSEWHERE & set(path.parts)]
    assert len(modules) > 100
    found = [f"{path.relative_to(TESTS)}:{line}" for path in modules for line in hasty(ast.parse(path.read_text()))]
    assert found == [], "use PATIENCE of tests/support/patience.py"


def test_a_hasty_wait_is_found() -> None:
    lines = [
        "httpx.get('http://a')",
        "assert left.wait(5)",
        "assert [each.result(timeout=2.5) for each in all]",
        "async def f():\n    async with asyncio.timeout(1): pass",
    ]
    patient = ["httpx.get('http://a', timeout=PATIENCE)", "assert not left.wait(0.1)", "assert left.wait(PATIENCE)"]
    assert all([*hasty(ast.parse(line))] for line in lines)
    assert not any([*hasty(ast.parse(line))] for line in patient)
