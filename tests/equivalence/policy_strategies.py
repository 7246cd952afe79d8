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
def auth_sections(draw: st.DrawFn) -> dict[str, Any]:
    """The section `server.auth`; most have both policies and authentication."""
    auth: dict[str, Any] = {}
    if draw(mostly):
        auth["provider_config"] = {"type": "oauth2_token", "jwks": {"uri": "https://issuer.example/jwks"}}
    if draw(mostly):
        auth["route_policy"] = draw(route_policies)
    if draw(mostly):
        auth["access_policy"] = draw(access_policies)
    return auth


def scope_of(rule: dict[str, Any]) -> dict[str, Any]:
    """What stands below `permit` or `forbid`."""
    scope: dict[str, Any] = rule["permit"] if "permit" in rule else rule["forbid"]
    return scope


def one_of(value: Any) -> st.SearchStrategy[Any]:
    """One of the values of a field that takes one or a list."""
    return st.sampled_from(value if isinstance(value, list) else [value])


@st.composite
def aimed_access(draw: st.DrawFn, policy: list[dict[str, Any]]) -> dict[str, Any]:
    """An action on a resource that one of the rules may be about."""
    scope = scope_of(draw(st.sampled_from(policy)))
    pattern = scope.get("resource", "*")
    kinds = [kind for kind in TYPES if kind in pattern.replace("vector_db", "vector_store")]
    name = pattern.rpartition("::")[2]
    names = [name, *NAMES] if name in NAMES else NAMES
    return {
        "action": draw(one_of(scope["actions"])),
        "type": draw(st.sampled_from(kinds or TYPES)),
        "names": draw(
            st.lists(st.sampled_from(names[:4]) | st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
        ),
    }


anything = st.fixed_dictionaries(
    {
        "action": st.sampled_from(ACTIONS),
        "type": st.sampled_from(TYPES),
        "names": st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
    }
)
anywhere = st.fixed_dictionaries({"method": st.sampled_from([*METHODS, "get"]), "path": st.sampled_from(PATHS)})
public = st.fixed_dictionaries(
    {"method": st.sampled_from(METHODS), "path": st.sampled_from(["/v1/health", "/v1/version"])}
)


@st.composite
def aimed_route(draw: st.DrawFn, policy: list[dict[str, Any]]) -> dict[str, str]:
    """A route that one of the rules may be about."""
    scope = scope_of(draw(st.sampled_from(policy)))
    pattern = draw(one_of(scope["paths"]))
    path = draw(st.sampled_from(PATHS))
    if pattern.startswith("/"):
        path = pattern[:-1] + draw(st.sampled_from(["", "a", "/x"])) if pattern.endswith("*") else pattern
    return {"method": draw(one_of(scope.get("methods", METHODS))), "path": path or "/"}


@st.composite
def questions(draw: st.DrawFn, auth: dict[str, Any]) -> list[dict[str, Any]]:
    """One question about a route and a resource, asked by somebody and by nobody, as the engine is asked."""
    principal = draw(principals)
    access = draw(aimed_access(auth["access_policy"]) | anything if "access_policy" in auth else anything)
    route = aimed_route(auth["route_policy"]) | anywhere if "route_policy" in auth else anywhere
    resource = {
        "type": access["type"],
        "names": access["names"],
        "owner": draw(st.one_of(st.none(), principals, principals, st.just(principal))),
        "origin": draw(st.sampled_from(["created", "config"])),
    }
    asked = {"action": access["action"], "resource": resource}
    return [
        {"principal": principal, "route": draw(route), **asked},
        {"principal": None, "route": draw(route | public), **asked},
    ]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    """A whole configuration as the text of a YAML file, and thirty questions for it."""
    auth = draw(auth_sections())
    pairs = [draw(questions(auth)) for _ in range(15)]
    text = yaml.safe_dump({"version": 2, "server": {"auth": auth}}, sort_keys=False, allow_unicode=True)
    return text, [question for pair in pairs for question in pair]
