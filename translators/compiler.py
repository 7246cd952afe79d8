"""The compiler: a policy set becomes a bundle of the hand-written Rego, the generated rules and their settings."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from policy.quota_limits import NAME as LIMITS
from policy.resource_types import LISTED_TYPES
from policy.rules import AccessRule, PolicySet, Regex, RouteRule
from policy.source.diagnostics import Findings
from policy.vocabulary import CONTRACT
from translators.codegen.bodies import access_bodies, route_bodies
from translators.codegen.conditions import Body, Listing
from translators.codegen.listings import listings
from translators.codegen.modules import CompiledRule, modules
from translators.guardrails.heads import with_places
from translators.regex import Translation, Untranslatable, translate
from translators.rego_folder import REGO

_ROOT = "ostiary"


@dataclass(frozen=True)
class Bundle:
    """The files that OPA loads; `files` maps a path inside the bundle to its bytes, manifest included.

    Equal policies make equal files, byte for byte, on any machine; `revision` is a hash of them. `guardrails` is the
    number of denials that hand-written Rego adds.
    """

    revision: str
    files: Mapping[str, bytes]
    access: tuple[CompiledRule, ...]
    routes: tuple[CompiledRule, ...]
    guardrails: int = 0

    @cached_property
    def archive(self) -> bytes:
        """The bundle as the gzipped tar that OPA reads."""
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
            for path, content in self.files.items():
                member = tarfile.TarInfo(f"/{path}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return buffer.getvalue()


def compile_policies(policies: PolicySet, guardrails: Mapping[str, bytes] | None = None) -> Bundle:
    """Return the bundle for one configuration; `guardrails` are files as `read_guardrails` returns them.

    Raises InvalidDocument with every pattern that can't be translated exactly.
    """
    findings = Findings()
    access = tuple(_access_rule(rule, policies, findings) for rule in policies.access)
    routes = tuple(_route_rule(rule, "route_policy", findings) for rule in policies.routes or ())
    limits = tuple(_route_rule(rule, LIMITS, findings) for rule in policies.limits)
    findings.raise_errors()
    files = {f"{_ROOT}/{path}": text.encode() for path, text in _law()}
    placed, number_of_guardrails = with_places(guardrails or {})
    files.update(placed)
    for package, title, rules in _packages(access, routes, limits):
        for name, text in modules(package, title, rules, filtered=package == "access"):
            files[f"{_ROOT}/{package}/{name}"] = text.encode()
    settings = {
        "contract": CONTRACT,
        "authentication": "configured" if policies.authentication else "off",
        "route_policy": "absent" if policies.routes is None else "present",
        "guardrails": "present" if guardrails else "absent",
        "listed_types": LISTED_TYPES,
        "access": [_settings(rule, written) for rule, written in zip(access, policies.access, strict=True)],
        "routes": [_settings(rule, written) for rule, written in zip(routes, policies.routes or (), strict=True)],
    }
    revision = _revision(files, settings)
    files[f"{_ROOT}/settings/data.json"] = _json({**settings, "revision": revision})
    files[".manifest"] = _json({"revision": revision, "roots": [_ROOT], "rego_version": 1})
    return Bundle(revision, dict(sorted(files.items())), access, routes, number_of_guardrails)


def _packages(
    access: tuple[CompiledRule, ...], routes: tuple[CompiledRule, ...], limits: tuple[CompiledRule, ...]
) -> list[tuple[str, str, tuple[CompiledRule, ...]]]:
    """Return the name, title and rules of each generated package; without limits there is none for them."""
    packages = [("access", "Access rules", access), ("routes", "Route rules", routes)]
    return [*packages, ("limits", "Limits of the quota", limits)] if limits else packages


def _access_rule(rule: AccessRule, policies: PolicySet, findings: Findings) -> CompiledRule:
    bodies = access_bodies(rule, lambda pattern: _translate(pattern, findings), policies.tables)
    return _compiled(rule, policies.access_name, bodies, listings(bodies))


def _route_rule(rule: RouteRule, policy_name: str, findings: Findings) -> CompiledRule:
    bodies = route_bodies(rule, lambda pattern: _translate(pattern, findings))
    return _compiled(rule, policy_name, bodies)


def _compiled(
    rule: AccessRule | RouteRule, policy_name: str, bodies: tuple[Body, ...], filters: tuple[Listing, ...] = ()
) -> CompiledRule:
    name = f"{policy_name}[{rule.index}]"
    return CompiledRule(rule.index, rule.effect, name, rule.span, rule.description or None, bodies, filters)


def _translate(pattern: Regex, findings: Findings) -> Translation | None:
    if not pattern.valid:
        return None
    try:
        return translate(pattern.pattern)
    except Untranslatable as refusal:
        place = "" if refusal.position is None else f" at character {refusal.position + 1} of the pattern"
        findings.error(
            "untranslatable-pattern",
            pattern.span,
            f"the policy engine can't evaluate {refusal.construct}{place} in `regex:{pattern.pattern}`",
            "write the pattern without it",
        )
        return None


def _settings(rule: CompiledRule, written: AccessRule | RouteRule) -> dict[str, object]:
    """Return the settings of a rule: its name, its place and description, and the obligations of what it permits."""
    said: dict[str, object] = {"rule": rule.name, "source": rule.source, "description": rule.description}
    if not written.shields:
        return said
    return {**said, "obligations": [{"id": "use_shields", "shields": [*written.shields]}]}


def _law() -> list[tuple[str, str]]:
    paths = sorted(path for path in (REGO / _ROOT).rglob("*.rego") if not path.name.endswith("_test.rego"))
    return [(path.relative_to(REGO / _ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


def _revision(files: Mapping[str, bytes], settings: Mapping[str, object]) -> str:
    digest = hashlib.sha256(_json(settings))
    for path, content in sorted(files.items()):
        digest.update(f"\0{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
