"""The keys of `server.auth` other than the policies: the provider, the handling of invalid patterns, and guardrails."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Environ
from typing import Final

from policy.fields import kind_of
from policy.rules import Guardrails
from policy.source.diagnostics import Findings
from policy.source.document import Mapping, Node, Scalar
from policy.source.environment import Missing, about_empty_conditional, empty_conditionals, substitute

OLD_KEYS: Final = ("provider_type", "config")
"""The keys of `auth` from before there was `provider_config`."""


def about_old_keys(written: Iterable[str]) -> tuple[str, str]:
    """Return the message and the hint for the keys in `written`, which belong to the form before `provider_config`."""
    keys = " and ".join(f"`{key}`" for key in written if key in OLD_KEYS)
    message = f"authentication is written in an old form: {keys} under `auth`"
    return message, "write `provider_config` there, with the `type` of the provider and the settings of `config` in it"


def is_configured(auth: Mapping, environ: Environ[str, str], findings: Findings) -> bool:
    """Return whether an authentication provider is configured.

    False where `provider_config` is absent or null, or where the environment leaves its `type` without a value.
    """
    entry = auth.entries.get("provider_config")
    if entry is None:
        return False
    node = entry.node
    if isinstance(node, Scalar):
        if node.value is None or _substituted(node, "provider_config", environ, findings) is None:
            return False
        findings.error("not-a-mapping", node.span, f"`provider_config` takes a mapping, not {kind_of(node)}")
        return True
    if not isinstance(node, Mapping):
        findings.error("not-a-mapping", node.span, f"`provider_config` takes a mapping, not {kind_of(node)}")
        return True
    kind = node.entries.get("type")
    if kind is None:
        findings.error("missing-key", entry.key_span, "`provider_config` has no `type`", "write `type: oauth2_token`")
        return True
    return _names_a_provider(kind.node, environ, findings)


def lenient_patterns(auth: Mapping, environ: Environ[str, str], findings: Findings) -> bool:
    """Return whether an invalid regular expression in a `forbid` is only a warning; the default is False."""
    entry = auth.entries.get("lenient_patterns")
    if entry is None:
        return False
    node = entry.node
    if isinstance(node, Scalar):
        value = node.value
        if isinstance(value, str):
            value = {"true": True, "false": False, None: False}.get(
                _substituted(node, "lenient_patterns", environ, findings), value
            )
        if isinstance(value, bool):
            return value
    findings.error("not-a-boolean", node.span, "`lenient_patterns` takes `true` or `false`")
    return False


def guardrails(auth: Mapping, findings: Findings) -> Guardrails | None:
    """Return the configured directory of hand-written Rego; None if there is none."""
    entry = auth.entries.get("guardrails")
    if entry is None:
        return None
    node = entry.node
    if isinstance(node, Scalar) and isinstance(node.value, str) and node.value.strip():
        return Guardrails(node.value, node.span)
    findings.error("not-a-text", node.span, "`guardrails` takes the path of a directory with Rego files")
    return None


def _names_a_provider(node: Node, environ: Environ[str, str], findings: Findings) -> bool:
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        message = f"the `type` of `provider_config` takes a text, not {kind_of(node)}"
        hint = "remove `provider_config` to go without authentication"
        findings.error("not-a-text", node.span, message, hint)
        return True
    for name in empty_conditionals(node.text):
        if environ.get(name):
            findings.warning("empty-conditional", node.span, *about_empty_conditional(name))
    return _substituted(node, "type", environ, findings) is not None


def _substituted(node: Scalar, key: str, environ: Environ[str, str], findings: Findings) -> str | None:
    """Return `node`'s text after environment substitution; report a failed substitution and return the text
    unchanged.
    """
    try:
        value = substitute(node.text, environ)
    except ValueError as error:
        findings.error("invalid-expression", node.span, str(error))
        return node.text
    if isinstance(value, Missing):
        names = ", ".join(f"`{name}`" for name in value.names)
        findings.error("missing-variable", node.span, f"`{key}` needs {names}, which the environment lacks")
        return node.text
    return value
