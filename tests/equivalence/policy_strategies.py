"""Random policies and questions for them, drawn from small pools so that rules overlap and questions meet them."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import strategies as st

IDS = ["ann", "ben", 'o"brien', "système", "back\\slash", "`", "user:with:colons"]
ISSUERS = ["", "https://a.example", "https://b.example"]
ATTRIBUTES = ["roles", "teams", "cost-größe"]
VALUES = ["admin", "dev", "machine learning", "é", "e\u0301", "*", "not", "in", 'a"b', "42", "${x}"]
TYPES = ["model", "vector_store", "prompt", "tool", "sql_record::openai_files", "sql_record::responses"]
SPELLINGS = [*TYPES, "vector_db"]
NAMES = ["a", "b", "a*", "llama-3", "vllm/llama-3", "ünï", 'q"uote`', "x::y", "a\nb", "A"]
RESOURCE_REGEXES = [
    "model::.*",
    "model::llama",
    "model::(a|b)$",
    "^model::(?:vllm/)?llama-[0-9]+$",
    r"(?i)model::a$",
    ".*::a",
    "[^:]+::a$",
    "vector_db::.*",
    "vector_store::a$",
    r"vector_\w+::[a-z]+$",
    "(?:model|tool)::[a-z]+$",
    "(model|vector_db)::a|tool::b",
    "prompt",
    "sql_record::",
    "sql_record::openai_files::a",
    r"sql_record::\w+::[ab]$",
    "(?!model)",
    'model::q"uote`',
]
PATHS = [
    "/",
    "/v1",
    "/v1/files",
    "/v1/files/a",
    "/v1/filesystem",
    "/v1/models/vllm/llama-3",
    "/v1/health",
    "/v1/version",
]
PATHS += ["/v1/health/ready", "/v1/ünï", '/v1/q"uote`', "/v1/a*b", "/v1/files/"]
PATH_PATTERNS = ["*", "/*", "/v1*", "/v1/files*", "/v1/files/*", "/v1/health*", "/v1/a*", *PATHS]
PATH_REGEXES = [
    "/v1/files",
    "^/v1/files$",
    "^/v1/(files|models)(/.*)?$",
    "/v1/health|/v1/version$",
    ".*a$",
    "/v1/(?!files)",
    r"/v1/\w+$",
    "/v1/[^/]*$",
]
METHODS = ["GET", "POST", "DELETE", "HEAD", "OPTIONS"]
ACTIONS = ["create", "read", "update", "delete"]
DESCRIPTIONS = ["plain", 'quotes " and `', "two\nlines", "# METADATA\n# title: x", "é 🔑"]

values = st.lists(st.sampled_from(VALUES[:4]) | st.sampled_from(VALUES), max_size=3)
attributes = st.fixed_dictionaries({"roles": values, "teams": values}) | st.dictionaries(
    st.sampled_from(ATTRIBUTES), values, max_size=2
)
principals = st.fixed_dictionaries(
    {"id": st.sampled_from(IDS), "issuer": st.sampled_from(ISSUERS), "attributes": attributes}
)


mostly = st.sampled_from([True, True, True, False])


def some(values: list[str], most: int = 3) -> st.SearchStrategy[Any]:
    """One of the values, or a list of several different ones."""
    one = st.sampled_from(values)
    return one | st.lists(one, min_size=1, max_size=most, unique=True)


@st.composite
def has_value(draw: st.DrawFn) -> str:
    """`user with V in A`, with V in quotes where it needs them and sometimes where it doesn't."""
    value = draw(st.sampled_from(VALUES))
    quoted = " " in value or value == "not" or ('"' not in value and draw(st.booleans()))
    word = draw(st.sampled_from(["in", "not in"]))
    spelled = f'"{value}"' if quoted else value
    return f"user with {spelled} {word} {draw(st.sampled_from(ATTRIBUTES))}"


about_the_caller = has_value() | st.just("user is authenticated")
shared = st.builds(
    "user {} {} {}".format,
    st.sampled_from(["in", "not in"]),
    st.sampled_from(["owner", "owners"]),
    st.sampled_from(ATTRIBUTES),
)
fixed = st.sampled_from(["user is owner", "user is not owner", "resource is unowned", "resource is from config"])
about_the_resource = about_the_caller | shared | fixed


@st.composite
def rules(draw: st.DrawFn, scope: st.SearchStrategy[Any], condition: st.SearchStrategy[str]) -> dict[str, Any]:
    """A rule of either effect with `when`, `unless` or neither."""
    rule = {draw(st.sampled_from(["permit", "permit", "forbid"])): draw(scope)}
    clause = draw(st.sampled_from(["when", "unless", None]))
    if clause:
        rule[clause] = draw(condition | st.lists(condition, min_size=1, max_size=3))
    if draw(st.booleans()):
        rule["description"] = draw(st.sampled_from(DESCRIPTIONS))
    return rule


names_in_patterns = st.sampled_from([name for name in NAMES if "\n" not in name])
resource_patterns = st.one_of(
    st.builds("{}::{}".format, st.sampled_from(SPELLINGS), names_in_patterns | st.sampled_from(["*", ""])),
    st.builds("{}::*".format, st.sampled_from(SPELLINGS)),
    st.sampled_from(["*", "sql_record::*", "sql_record::openai_files"]),
    st.sampled_from(RESOURCE_REGEXES).map("regex:{}".format),
)


@st.composite
def access_scopes(draw: st.DrawFn) -> dict[str, Any]:
    """Some actions, often of some resources, seldom of one principal."""
    scope: dict[str, Any] = {"actions": draw(some(ACTIONS, most=4))}
    if draw(mostly):
        scope["resource"] = draw(resource_patterns)
    if not draw(mostly):
        scope["principal"] = draw(st.sampled_from(IDS))
    return scope


route_scopes = st.fixed_dictionaries(
    {"paths": some(PATH_PATTERNS + [f"regex:{regex}" for regex in PATH_REGEXES])}, optional={"methods": some(METHODS)}
)
access_policies = st.lists(rules(access_scopes(), about_the_resource), min_size=1, max_size=12)
route_policies = st.lists(rules(route_scopes, about_the_caller), min_size=1, max_size=8)


@st.composite
def configurations(draw: st.DrawFn) -> str:
    """A whole configuration as the text of a YAML file; most have both policies and authentication."""
    auth: dict[str, Any] = {}
    if draw(mostly):
        auth["provider_config"] = {"type": "oauth2_token", "jwks": {"uri": "https://issuer.example/jwks"}}
    if draw(mostly):
        auth["route_policy"] = draw(route_policies)
    if draw(mostly):
        auth["access_policy"] = draw(access_policies)
    return yaml.safe_dump({"version": 2, "server": {"auth": auth}}, sort_keys=False, allow_unicode=True)


routes = st.fixed_dictionaries({"method": st.sampled_from([*METHODS, "get"]), "path": st.sampled_from(PATHS)})
public_routes = st.fixed_dictionaries(
    {"method": st.sampled_from(["GET", "GET", "HEAD", "POST"]), "path": st.sampled_from(["/v1/health", "/v1/version"])}
)


@st.composite
def questions(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One question about a route and a resource, asked by somebody and by nobody, as the engine is asked."""
    principal = draw(principals)
    resource = {
        "type": draw(st.sampled_from(TYPES)),
        "names": draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)),
        "owner": draw(st.one_of(st.none(), principals, principals, st.just(principal))),
        "origin": draw(st.sampled_from(["created", "config"])),
    }
    access = {"action": draw(st.sampled_from(ACTIONS)), "resource": resource}
    return [
        {"principal": principal, "route": draw(routes), **access},
        {"principal": None, "route": draw(routes | public_routes), **access},
    ]


rounds = st.lists(questions(), min_size=15, max_size=15).map(lambda pairs: [one for pair in pairs for one in pair])
"""Thirty questions for one policy."""
