"""The sentences about an address that can't be listened on."""

from __future__ import annotations

import pytest

from server.process.startup import PortInUse, listen


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "fe80::1"])
def test_a_host_of_another_machine(host: str) -> None:
    with pytest.raises(PortInUse) as failed:
        listen(host, 0)
    assert str(failed.value) == f"`{host}` is no address of this machine; correct `server.host`"


def test_the_listener_of_metrics_has_a_host_of_its_own() -> None:
    with pytest.raises(PortInUse, match=r"correct `server\.metrics\.host`"):
        listen("192.0.2.1", 0, "server.metrics.port")
