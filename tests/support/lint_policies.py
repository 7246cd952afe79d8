"""Random policies that provoke lints, everything that may be asked of them, and the findings by rule."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from hypothesis import strategies as st

from policy.parser import read_policies
from policy.served_routes import SERVED, ServedRoute
from policy.source.diagnostics import Diagnostic, Findings
from policy.source.document import parse_document
from tests.reference import model
from tests.support.policy_strategies import rules, some

ACTIONS = ["create", "read", "update", "delete"]
RESOURCES = ["*", "model::*", "model::a", "prompt::*", "prompt::a", "vector_db::*", "regex:.*", "regex:.*::[ab]$"]
RESOURCES += ["sql_record::*", "sql_record::openai_files", "sql_record::openai_files::a", "sql_record::responses"]
RESOURCES += [
    "sql_record::chat_completions",
    "regex:sql_record::.*",
    "regex:^sql_record::.*$",
    "regex:(?i)sql_record::",
]
RESOURCES += ["regex:sql_record::openai_files::.+", "regex:(model|prompt)::.*", "regex:(?!sql_record)[a-z_]+::.*"]
RESOURCES += [r"regex:sql_record::\w+::", "regex:sql_record::(responses|openai_files)::[ab]", "regex:vector_db::.*"]
CONDITIONS = ["user with admin in roles", "user with admin not in roles", "user with dev in roles", "user is owner"]
CONDITIONS += ["user is not owner", "resource is unowned", "user is authenticated", "user in owners roles"]
CONDITIONS += [
    "user not in owners roles",
    "resource is from config",
    "user with a in groupz",
    "user with a not in groupz",
]
CONDITIONS += ["user not in owners groupz"]
PATHS = ["*", "/v1*", "/v1/files", "/v1/files*", "/v1/files/*", "/v1/files/a", "/v1/files/a/content", "/v1/files/a/b"]
PATHS += ["/v1/models", "/v1/models/*", "/v1/models/a/b", "/v1/modles*", "/v1/prompts", "/v1/prompts/*", "/v1/prompt"]
PATHS += ["/v1/chat/completions", "/v1/chat", "/v1/conversations/a/items", "/v1/conversations*", "/v1/admin*", "/"]
PATHS += ["/v1/responses", "/v1/health", "/metrics*", "/v1/shields/a/b/c", "/v1/shields/"]
PATHS += ["regex:^/v1/(files|models)(/.*)?$", "regex:^/v1/(modles|filez)(/.*)?$", "regex:/v1/f", "regex:.*/content$"]
PATHS += ["regex:^/v1/files/[ab]$", "regex:(?!/v1).*", "regex:^/v1/models?$", "regex:^/v1/model$", "regex:^/v1/files/$"]
PATHS += ["regex:^/v1/prompts/(?:a|b)/versions", "regex:^/v1/file[^s]", "regex:/v1/(?:chat/)?completions"]
ISSUER = "https://issuer.example"
PROVIDERS = [
    {"type": "oauth2_token", "issuer": ISSUER, "jwks": {"uri": f"{ISSUER}/jwks"}},
    {"type": "custom", "endpoint": ISSUER},
]

access_rules = rules(
    st.fixed_dictionaries(
        {"actions": some(ACTIONS, most=4) | st.just(ACTIONS)},
        optional={
            "resource": st.sampled_from(RESOURCES),
            "principal": st.sampled_from(["ann", "ben"]),
            "issuer": st.just(ISSUER),
        },
    ),
    st.sampled_from(CONDITIONS),
)
route_rules = rules(
    st.fixed_dictionaries({"paths": some(PATHS)}, optional={"methods": some(["GET", "HEAD", "POST", "PUT"])}),
    st.sampled_from([*CONDITIONS[:3], "user is authenticated"]),
)


@dataclass(frozen=True, slots=True)
class World:
    """A configuration and the findings about it; `placed` are the policy and the index of the rule that each names."""

    config: Any
    placed: list[tuple[str, int, Diagnostic]]

    def rule(self, policy: str, index: int) -> Any:
        """One rule as data."""
        return self.config["server"]["auth"][policy][index]

    def changed(self, policy: str, index: int, rule: Any | None) -> Any:
        """The configuration with another rule, or none, in the place of one."""
        auth = self.config["server"]["auth"]
        written = [*auth[policy][:index], *([] if rule is None else [rule]), *auth[policy][index + 1 :]]
        return {"server": {"auth": {**auth, policy: written}}}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Two policies of a few rules each, as a file in which each rule is a line."""
    auth = {
        "provider_config": draw(st.sampled_from(PROVIDERS)),
        "access_policy": draw(st.lists(access_rules, min_size=1, max_size=6)),
        "route_policy": draw(st.lists(route_rules, min_size=1, max_size=6)),
    }
    config = {"server": {"auth": auth}}
    lines = ["server:", " auth:", f"  provider_config: {json.dumps(auth['provider_config'])}"]
    at: dict[int, tuple[str, int]] = {}
    for policy in ("access_policy", "route_policy"):
        lines.append(f"  {policy}:")
        for index, rule in enumerate(auth[policy]):
            lines.append(f"  - {json.dumps(rule, ensure_ascii=False)}")
            at[len(lines)] = policy, index
    findings = Findings()
    assert read_policies(parse_document("\n".join(lines), "config.yaml"), {}, findings) is not None, lines
    placed = [(*at[one.span.line], one) for one in findings.diagnostics if one.span.line in at]
    return World(config, placed)


def words(text: str) -> list[str]:
    """What stands in back-quotes."""
    return re.findall("`([^`]+)`", text)


def caller(name: str, *roles: str, issuer: str = ISSUER, **more: list[str]) -> dict[str, Any]:
    """A principal with roles."""
    return {"id": name, "issuer": issuer, "attributes": ({"roles": list(roles)} if roles else {}) | more}


CALLERS = [caller("ann"), caller("ann", "admin"), caller("ben", "dev"), caller("cleo", "admin", "dev"), caller("dan")]
CALLERS.append(caller("ann", issuer="https://other.example"))
ANY_ATTRIBUTE = [*CALLERS, caller("eve", groupz=["a"])]
STRANGER = caller("stranger", issuer="https://other.example")
OWNERS = [caller("ann", "admin", "dev"), caller("ben"), caller("fay", "dev", groupz=["a"])]
KINDS = ["model", "vector_store", "prompt", "sql_record::openai_files", "sql_record::responses"]
KINDS += ["sql_record::chat_completions", "sql_record::openai_conversations", "sql_record::conversation_items"]


def callers(world: World) -> list[dict[str, Any]]:
    """Who may ask: with any attribute, where the provider lets callers have any."""
    return ANY_ATTRIBUTE if world.config["server"]["auth"]["provider_config"]["type"] == "custom" else CALLERS


def thing(kind: str, name: str, owner: Any) -> dict[str, Any]:
    """A resource; the configuration defines what has no owner."""
    return {"type": kind, "names": [name], "owner": owner, "origin": "created" if owner else "config"}


def access_decisions(config: Any, asking: list[Any]) -> Iterator[str]:
    """The effect of every question about resources."""
    for who, action, kind, name, owner in product([None, *asking], ACTIONS, KINDS[:6], "ab", [None, *OWNERS]):
        yield model.decide_access(config, who, action, thing(kind, name, owner))[0]


def route_decisions(config: Any, asking: list[Any]) -> Iterator[str]:
    """The effect of every question about routes."""
    paths = sorted({path for served in SERVED for path in instances(served)} | {"/", "/v1/none", "/v1/filesystem"})
    for who, method, path in product([None, *asking], ["GET", "POST", "PUT", "DELETE"], paths):
        yield model.decide_route(config, who, method, path)[0]


def instances(served: ServedRoute) -> list[str]:
    """Some paths of a route."""
    found = [served.path]
    for parameter in re.findall(r"\{\w+(?::path)?\}", served.path):
        values = ["a", "b", "file-1", "x.y:z", "content", "versions"] + (
            ["a/b", "a/b/c"] if ":path" in parameter else []
        )
        found = [path.replace(parameter, value) for path in found for value in values]
    return found
