"""What of a client's trace headers goes on to OPA and to providers: what is well-formed, and nothing else."""

from __future__ import annotations

import pytest

from server.net.trace_context import MAX_MEMBERS, MAX_STATE, TraceContext, read_trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def read(*headers: tuple[str, str]) -> TraceContext | None:
    return read_trace([(name.encode(), value.encode("latin-1")) for name, value in headers], "req_1")


def test_a_well_formed_trace_goes_on_as_it_came() -> None:
    trace = read(("traceparent", GOOD), ("tracestate", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"))
    assert trace is not None
    assert trace.traceparent == GOOD
    assert trace.headers == {
        "traceparent": GOOD,
        "tracestate": "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
        "x-request-id": "req_1",
    }
    assert trace.line == f"traceparent: {GOOD}\r\n".encode()


def test_without_a_trace_nothing_goes_on() -> None:
    assert read() is None
    assert read(("tracestate", "congo=t61rcWkgMzE")) is None


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_known_flags_are_kept(flags: str) -> None:
    trace = read(("traceparent", f"00-{TRACE}-{SPAN}-{flags}"))
    assert trace is not None and trace.traceparent.endswith(f"-{flags}")


@pytest.mark.parametrize("parent", [f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-the-future-brings"])
def test_a_later_version_is_read_as_far_as_it_is_known(parent: str) -> None:
    trace = read(("traceparent", parent))
    assert trace is not None and trace.traceparent == GOOD


BAD = {
    "empty": "",
    "version ff": f"ff-{TRACE}-{SPAN}-01",
    "more than version 00 has": f"{GOOD}-more",
    "a dash at the end": f"{GOOD}-",
    "upper case": GOOD.upper(),
    "a trace of zeros": f"00-{'0' * 32}-{SPAN}-01",
    "a span of zeros": f"00-{TRACE}-{'0' * 16}-01",
    "a short trace": f"00-{TRACE[1:]}-{SPAN}-01",
    "a long span": f"00-{TRACE}-{SPAN}0-01",
    "no hexadecimal digit": f"00-{TRACE[:-1]}g-{SPAN}-01",
    "flags of one digit": f"00-{TRACE}-{SPAN}-1",
    "a blank before": f" {GOOD}",
    "a line end after": f"{GOOD}\n",
    "another header in it": f"{GOOD}\r\nAuthorization: Bearer x",
    "a later version without a dash": f"cc-{TRACE}-{SPAN}-01more",
    "two in one": f"{GOOD},{GOOD}",
    "a NUL": f"{GOOD}\0",
    "digits of another script": f"00-{TRACE[:-1]}\u00b2-{SPAN}-01",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_malformed_trace_goes_nowhere(bad: str) -> None:
    assert read(("traceparent", BAD[bad]), ("tracestate", "congo=t61rcWkgMzE")) is None


def test_a_trace_that_is_named_twice_goes_nowhere() -> None:
    assert read(("traceparent", GOOD), ("traceparent", GOOD)) is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (["a=1"], "a=1"),
        (["a=1", "b=2"], "a=1,b=2"),
        (["a=1 , b=2,,"], "a=1,b=2"),
        (["t@v=x y", "0t@v=!"], "t@v=x y,0t@v=!"),
        ([",".join(f"k{number}=v" for number in range(MAX_MEMBERS))], None),
    ],
)
def test_a_well_formed_state_is_kept(sent: list[str], kept: str | None) -> None:
    trace = read(("traceparent", GOOD), *(("tracestate", value) for value in sent))
    assert trace is not None
    assert trace.state == (sent[0] if kept is None else kept)


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "a",
        "a=",
        "=1",
        "A=1",
        "a=1,a=2",
        "a=b=c",
        "a=1\r\nx: y",
        "a=\x01",
        "a=\xe9",
        f"a={'x' * MAX_STATE}",
        ",".join(f"k{number}=v" for number in range(MAX_MEMBERS + 1)),
    ],
)
def test_a_malformed_state_is_dropped_and_its_trace_kept(sent: str) -> None:
    trace = read(("traceparent", GOOD), ("tracestate", sent))
    assert trace is not None
    assert trace.traceparent == GOOD
    assert trace.state == ""
