"""Providers that may be asked for some of their models alone."""

from __future__ import annotations

from pathlib import Path

from tests.support.callers import ADMIN
from tests.support.registry_server import CONFIG, registry

NARROW = CONFIG.replace("provider_id: inner,", "provider_id: inner, config: {allowed_models: [secret, b-1]},")


def test_no_other_model_is_registered_and_none_that_was_is_served(opa_binary: Path, tmp_path: Path) -> None:
    with registry(opa_binary, tmp_path) as wide:
        assert wide.register("model", "a", ADMIN, provider_id="inner", provider_model_id="a-1").status == 200
        assert wide.chat("a", ADMIN).status == 200
    with registry(opa_binary, tmp_path, text=NARROW, like=wide) as narrow:
        assert narrow.chat("a", ADMIN).status == 404
        refused = narrow.register("model", "b", ADMIN, provider_id="inner", provider_model_id="b-2")
        assert (refused.status, refused.error["param"]) == (400, "provider_model_id")
        assert narrow.register("model", "b", ADMIN, provider_id="inner", provider_model_id="b-1").status == 200
        assert narrow.chat("b", ADMIN).status == narrow.chat("secret", ADMIN).status == 200
        assert narrow.register("model", "c", ADMIN, provider_id="echo", provider_model_id="b-2").status == 200
        # It is still there, and can be removed.
        assert narrow.get("model", "a", ADMIN, "DELETE").status == 200
