"""Reading what `/metrics` says, by prometheus-client's own parsers."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.support.serving import Address, Answer


class Measured:
    """One answer of `/metrics`."""

    def __init__(self, answer: Answer) -> None:
        assert answer.status == 200, answer
        text = answer.body.decode()
        is_openmetrics = answer.headers["content-type"].startswith("application/openmetrics-text")
        self.families: list[Metric] = list((read_openmetrics if is_openmetrics else read_text)(text))

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name that have these labels."""
        found = [sample for family in self.families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in found if labels.items() <= sample.labels.items())

    def labels(self, name: str) -> list[dict[str, str]]:
        """The labels of every sample of that name."""
        return [sample.labels for family in self.families for sample in family.samples if sample.name == name]


def measured(address: Address, *headers: str) -> Measured:
    """What `/metrics` says now."""
    return Measured(address.get("/metrics", *headers))
