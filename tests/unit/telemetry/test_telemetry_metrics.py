"""What is counted is right whatever happens around it: strays in the environment, or two who look at once."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from server.inference.answers.metered import Ending
from server.storage.usage.tally import Spent
from server.telemetry.gauges import GaugeSample
from server.telemetry.metrics import Metrics
from server.telemetry.shared import SHARED_DIRECTORY, forget_process


def value(metrics: Metrics, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(metrics.text().decode())
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def sample(openings: int = 0, failures: int = 0, live: str | None = "r1") -> GaugeSample:
    return GaugeSample(False, openings, "r1", live, 3, failures)


def test_what_is_counted_elsewhere_is_taken_over_once() -> None:
    metrics = Metrics("1.2.3")
    metrics.watch(lambda: sample(openings=2, failures=5))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: metrics.sample(), range(64)))
    assert value(metrics, "ostiary_opa_breaker_openings_total") == 2
    assert value(metrics, "ostiary_decision_log_write_failures_total") == 5
    assert value(metrics, "ostiary_decision_log_lines_waiting") == 3


def test_an_earlier_revision_is_shown_as_gone() -> None:
    metrics, live = Metrics("1.2.3"), ["r0", "r1", None]
    metrics.watch(lambda: sample(live=live[0]))
    assert value(metrics, "ostiary_policy_revision", state="live", revision="r0") == 1
    live.pop(0)
    assert value(metrics, "ostiary_policy_revision", state="live", revision="r1") == 1
    assert value(metrics, "ostiary_policy_revision", state="live", revision="r0") == 0
    live.pop(0)
    assert value(metrics, "ostiary_policy_revision", state="live") == 0
    assert value(metrics, "ostiary_policy_revision", state="wanted", revision="r1") == 1


def test_usage_is_taken_over_once_by_provider_and_model() -> None:
    metrics, used = Metrics("1.2.3"), {("p", "p/m"): Spent(5, 2, 1, 30, 20, 10, 50)}
    metrics.watch_usage(used)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: metrics.sample(), range(64)))
    used["p", "p/m"].add(Ending.ANSWERED, 7, None)
    used["p", "others"] = Spent(1)
    for ending, count in {"answered": 3, "failed": 2, "cancelled": 1}.items():
        assert value(metrics, "ostiary_model_requests_total", model="p/m", ending=ending) == count
    for kind, tokens in {"prompt": 30, "completion": 20, "cached": 10, "total": 57}.items():
        assert value(metrics, "ostiary_model_tokens_total", model="p/m", kind=kind) == tokens
    assert value(metrics, "ostiary_model_requests_total") == 7


def test_an_unknown_method_is_no_label() -> None:
    metrics = Metrics("1.2.3")
    for method in ("CANARY", "CANARY2", "get"):
        metrics.served("/v1/models", method, 405, 0.1)
    assert value(metrics, "ostiary_http_requests_total", method="other") == 3
    assert b"CANARY" not in metrics.text()


def test_a_process_of_its_own_minds_no_stray_variable(tmp_path: Path) -> None:
    code = (
        "from server.telemetry.metrics import Metrics; metrics = Metrics('1.2.3');"
        "metrics.served('/v1/models', 'GET', 200, 0.1); print(metrics.text().decode())"
    )
    for stray in (tmp_path, tmp_path / "nothing"):
        environ = {**os.environ, SHARED_DIRECTORY: str(stray)}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
        assert 'ostiary_http_requests_total{method="GET",route="/v1/models",status="200"} 1.0' in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_process_counted_is_kept_and_what_it_held_is_not(tmp_path: Path) -> None:
    for name in ("counter_7.db", "histogram_7.db", "gauge_livesum_7.db", "gauge_livemax_7.db", "gauge_livesum_17.db"):
        (tmp_path / name).touch()
    forget_process(tmp_path, 7)
    assert {path.name for path in tmp_path.iterdir()} == {"counter_7.db", "histogram_7.db", "gauge_livesum_17.db"}
