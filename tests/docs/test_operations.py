"""`docs/operate/operations.md` names every metric and every reason that there is, and its examples can be used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.authz.contract.errors import Failure
from server.config import read_config
from server.inference.breaker import Breaker
from server.storage.usage.tally import Spent
from server.telemetry.dependencies import Dependency
from server.telemetry.gauges import GaugeSample
from server.telemetry.metrics import Metrics

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs/operate/operations.md").read_text()
BLOCK = re.compile(r"<!-- (?P<kind>[^>]*) -->\n```yaml\n(?P<text>.*?)```", re.DOTALL)
BLOCKS = {found["kind"]: found["text"] for found in BLOCK.finditer(TEXT)}

CONFIG = """\
version: 2
apis: [inference]
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
"""
AUTH = """\
    provider_config:
      type: oauth2_token
      audience: ostiary
      issuer: https://issuer.example
      jwks: {uri: "https://issuer.example/keys"}
      claims_mapping: {roles: roles}
"""


def rows(heading: str) -> Iterator[list[str]]:
    """The rows of the table whose first column has that heading."""
    lines = iter(TEXT.splitlines())
    for line in lines:
        if line.startswith(f"| {heading} |"):
            break
    next(lines)
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def exposed() -> dict[str, set[str]]:
    """Every metric, with its labels."""
    metrics = Metrics("1.2.3")
    metrics.watch(lambda: GaugeSample(False, 0, "r1", "r1", 0, 0))
    metrics.claims.expect("https://issuer.example", ["roles"])
    database = Dependency("database")
    database.worked()
    provider = Dependency("provider:p", provider_id="p")
    provider.breaker = Breaker("p")
    metrics.watch_dependencies([database, provider])
    metrics.watch_provider("p")
    metrics.shields.checked("s", "input", "passed")
    metrics.served("/v1/models", "GET", 200, 0.1)
    metrics.watch_usage({("p", "p/m"): Spent()})
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    return found


def test_every_metric_is_named_with_its_labels() -> None:
    documented: dict[str, set[str]] = {}
    for names, labels, _ in rows("metric"):
        for name in re.findall(r"`([^`]+)`", names):
            documented[name] = set(re.findall(r"`([^`]+)`", labels))
    assert documented == exposed()


def test_every_reason_is_explained() -> None:
    assert [cells[0] for cells in rows("reason")] == [f"`{cell}`" for cell in _order()]
    assert set(_order()) == set(Failure)


def _order() -> list[str]:
    return [cells[0].strip("`") for cells in rows("reason")]


def test_every_code_of_a_503_is_explained() -> None:
    texts = "".join(path.read_text() for path in (ROOT / "server").rglob("*.py"))
    named = r'(?:SERVICE_UNAVAILABLE|\b503),(?:\s*"([a-z_]+)"|.{0,120}?code="([a-z_]+)")'
    used = [row or argument for row, argument in re.findall(named, texts, re.DOTALL)]
    assert {"policy_unavailable", "server_ending"} <= set(used)
    assert {cells[0] for cells in rows("code")} == {f"`{code}`" for code in used} | {"none"}


def test_alerts_and_scrapes_ask_for_what_there_is() -> None:
    alerts: dict[str, Any] = yaml.safe_load(BLOCKS["alerts"])
    expressions = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    used = {name for expression in expressions for name in re.findall(r"ostiary_[a-z_]+", expression)}
    assert {name.removesuffix("_bucket") for name in used} <= exposed().keys()
    (job,) = yaml.safe_load(BLOCKS["prometheus"])["scrape_configs"]
    assert job["authorization"].keys() == {"credentials_file"}
    assert f'up{{job="{job["job_name"]}"}} == 0' in expressions


@pytest.mark.parametrize("kind", [kind for kind in BLOCKS if kind.startswith("config: ")])
def test_an_example_configuration_has_no_errors(kind: str) -> None:
    text = CONFIG + BLOCKS[kind].replace("  auth:\n", f"  auth:\n{AUTH}")
    findings = Findings()
    document = parse_document(text, "config.yaml")
    read_policies(document, {}, findings)
    assert read_config(document, {}, findings) is not None, findings.diagnostics
    assert findings.diagnostics == []


def test_no_example_goes_untested() -> None:
    assert BLOCKS.keys() == {"config: route_policy", "config: metrics", "config: tracing", "prometheus", "alerts"}
    assert TEXT.count("```yaml") == len(BLOCKS)


def test_every_dependency_is_named() -> None:
    sources = [path.read_text() for path in (ROOT / "server").rglob("*.py")]
    made = {name for text in sources for name in re.findall(r'Dependency\(f?"([a-z_]+)', text)}
    documented = {name for cells in rows("dependency") for name in re.findall(r"`([a-z_]+)[:`]", cells[0])}
    assert documented == made
