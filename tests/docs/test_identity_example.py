"""`examples/identity` is what it says it is: it loads, and its issuers and limits are those that it names."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.authn.token_router import TokenRouter
from server.config import read_config
from server.wiring.authenticators import authenticator
from server.wiring.quotas import build_admission

ROOT = Path(__file__).parents[2]
ENVIRON = {"PARTNER_SECRET": "x", "VLLM_URL": "http://localhost:8000", "VALKEY_HOST": "v", "VALKEY_PASSWORD": "y"}


def test_the_example_loads_without_a_finding_and_asks_both_issuers() -> None:
    document = parse_document((ROOT / "examples/identity/config.yaml").read_text(), "config.yaml")
    findings = Findings()
    config, policies = read_config(document, ENVIRON, findings), read_policies(document, ENVIRON, findings)
    assert findings.diagnostics == []
    assert config is not None
    assert policies is not None
    router = authenticator(config.server.auth)
    assert isinstance(router, TokenRouter)
    asyncio.run(router.close())
    assert len(policies.limits) == 2
    quota = build_admission(config).quota
    assert quota is not None
    assert quota.counts_tokens


def test_every_number_on_the_page_of_identity_is_the_one_in_force() -> None:
    from server.api.chat.cost import ATTACHMENT_TOKENS, COMPLETION_TOKENS
    from server.authn.attributes import MAX_VALUE_LENGTH, MAX_VALUES
    from server.authn.jwks import QUIET_SECONDS, REREAD_SECONDS, REREADINGS
    from server.authn.keys import ALGORITHMS, MIN_RSA_BITS
    from server.authn.limits import (
        AHEAD_SECONDS,
        CHECKS,
        KNOWN,
        KNOWN_KEYS,
        MAX_REMEMBERED,
        MAX_REMEMBERED_BYTES,
        REFUSAL_SECONDS,
        UNKNOWN,
        UNKNOWN_KEYS,
        WARNINGS,
    )
    from server.authn.token_rules import MAX_SUBJECT_LENGTH
    from server.authn.verify import MAX_TOKEN_LENGTH
    from server.inference.answers.usage import MOST_TOKENS
    from server.net.http_client import MAX_BYTES, MAX_CONNECTIONS, TIMEOUT_SECONDS

    page = " ".join(
        word for name in ("identity", "quotas") for word in (ROOT / f"docs/operate/{name}.md").read_text().split()
    )
    for sentence in (
        f"too long ({MAX_TOKEN_LENGTH // 1024} KB)",
        f"slow ({TIMEOUT_SECONDS:.0f} s)",
        f"answers over {MAX_BYTES // 1024} KB",
        f"a text of 1 to {MAX_SUBJECT_LENGTH} characters",
        f"over {MAX_VALUE_LENGTH} characters",
        f"more than {MAX_VALUES:,} values in all",
        f"of RSA keys at least {MIN_RSA_BITS:,} bits",
        f"remembered for {REFUSAL_SECONDS:.0f} seconds",
        f"In the last {AHEAD_SECONDS:.0f} seconds of that period",
        f"begins {AHEAD_SECONDS:.0f} seconds before it is due",
        f"{MAX_CONNECTIONS} are put at a time: {KNOWN.capacity} of them about tokens that were accepted before, "
        f"of which one principal has {KNOWN.each}, and {UNKNOWN.capacity} about others, of which one address (/64 of "
        f"IPv6) has {UNKNOWN.each}",
        f"at most {UNKNOWN.waiting:,} of each kind, {KNOWN.waiting_each} of one principal and {UNKNOWN.waiting_each} "
        f"of one address, for {UNKNOWN.seconds:.0f} seconds",
        f"{KNOWN_KEYS.capacity} and {UNKNOWN_KEYS.capacity} at a time, {UNKNOWN_KEYS.each} of one",
        f"{CHECKS.capacity} in one turn of the event loop, {CHECKS.each} of one address",
        f"{MAX_REMEMBERED:,} accepted and {MAX_REMEMBERED:,} refused ones of each service, "
        f"and {MAX_REMEMBERED_BYTES // 1024**2} MB of names",
        f"{ATTACHMENT_TOKENS:,} for each image",
        f"without them {COMPLETION_TOKENS:,}",
        f"from 1 to {MOST_TOKENS:,}",
    ):
        assert sentence in page, sentence
    assert (REREADINGS, REREAD_SECONDS, QUIET_SECONDS, WARNINGS) == (5, 10, 60, 10), "the page has them in words"
    accepted = page.partition("| algorithm of the signature |")[2].partition("; of RSA keys")[0]
    assert set(re.findall(r"[RE]S\d{3}", accepted)) == ALGORITHMS
