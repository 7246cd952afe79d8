"""Random policies: every kind of rule, drawn from small pools so that rules overlap."""

from __future__ import annotations

import copy
import random
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.reference import model
from tests.support.policy_questions import (
    ACTIONS,
    ATTRIBUTES,
    IDS,
    ISSUERS,
    METHODS,
    NAMES,
    PATHS,
    STORAGE,
    TYPES,
    VALUES,
    questions,
)

SPELLINGS = [*TYPES, "vector_db", "sql_record::my_files"]
RESOURCE_REGEXES = [
    "model::.*",
    "model::llama",
    "model::(a|b)$",
    "^model::(?:vllm/)?llama-[0-9]+$",
    r"(?i)model::a$",
    ".*::a",
    "[^:]+::a$",
    "vector_db::.*",
    "vector_db::(a|b)$",
    "vector_db::[^:]*",
    "vector_store::a$",
    r"vector_\w+::[a-z]+$",
    "(?:model|tool)::[a-z]+$",
    "(model|vector_db)::a|tool::b",
    "prompt",
    "sql_record::",
    "sql_record::openai_files::a",
    "sql_record::my_files::(a|b)$",
    "sql_record::my_",
    r"sql_record::\w+::[ab]$",
    "(?!model)",
    "(?!model::a$)model::.*",
    "(?!model::a$)(?:model|prompt)::",
    "(?!sql_record::|model::).*",
    "(?i)(?:MODEL|sql_record)::",
    "(?=sql_record::openai_files)(?!.*::a$).*",
    'model::q"uote`',
]
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

DESCRIPTIONS = ["plain", 'quotes " and `', "two\nlines", "# METADATA\n# title: x", "é 🔑"]

mostly = st.sampled_from([True, True, True, False])


def some(values: list[str], most: int = 3) -> st.SearchStrategy[Any]:
    """One of the values, or a list of several, perhaps of the same one twice."""
    one = st.sampled_from(values)
    return one | st.lists(one, min_size=1, max_size=most)


@st.composite
def has_value(draw: st.DrawFn) -> str:
    """`user with V in A`, with V in quotes where it needs them and sometimes where it doesn't."""
    value = draw(st.sampled_from(VALUES))
    quoted = " " in value or value == "not" or ('"' not in value and draw(st.booleans()))
    word = draw(st.sampled_from(["in", "not in"]))
    spelled = f'"{value}"' if quoted else value
    return f"user with {spelled} {word} {draw(st.sampled_from(ATTRIBUTES))}"


@st.composite
def spaced(draw: st.DrawFn, condition: st.SearchStrategy[str]) -> str:
    """The condition with blanks between its words as nobody writes them."""
    gap = draw(st.sampled_from([" ", " ", " ", "  ", "\u00a0", " \u3000"]))
    words = gap.join(model.WORD.findall(draw(condition)))
    return words + draw(st.sampled_from(["", "", "", " ", "\n"]))


about_the_caller = has_value() | st.just("user is authenticated")
shared = st.builds(
    "user {} {} {}".format,
    st.sampled_from(["in", "not in"]),
    st.sampled_from(["owner", "owners"]),
    st.sampled_from(ATTRIBUTES),
)
owned = st.sampled_from(["user is owner", "user is not owner"])
unowned = st.sampled_from(["resource is unowned", "resource is from config"])
about_the_resource = about_the_caller | shared | owned | unowned


@st.composite
def rules(draw: st.DrawFn, scope: st.SearchStrategy[Any], condition: st.SearchStrategy[str]) -> dict[str, Any]:
    """A rule of either effect with `when`, `unless` or neither."""
    rule = {draw(st.sampled_from(["permit", "permit", "forbid"])): draw(scope)}
    clause = draw(st.sampled_from(["when", "unless", None]))
    if clause:
        one = spaced(condition)
        rule[clause] = draw(one | st.lists(one, min_size=1, max_size=3))
    if draw(st.booleans()):
        rule["description"] = draw(st.sampled_from(DESCRIPTIONS))
    return rule


names_in_patterns = st.sampled_from([name for name in NAMES if "\n" not in name])
resource_patterns = st.one_of(
    st.builds("{}::{}".format, st.sampled_from(SPELLINGS), names_in_patterns | st.sampled_from(["*", ""])),
    st.builds("{}::*".format, st.sampled_from(SPELLINGS)),
    st.sampled_from(["*", "sql_record::*", "sql_record::openai_files", "sql_record::my_files"]),
    st.sampled_from(RESOURCE_REGEXES).map("regex:{}".format),
)


KEYS = {"uri": "https://issuer.example/jwks"}
PROVIDERS: list[tuple[list[str], dict[str, Any] | None]] = [
    ([], {"type": "oauth2_token", "jwks": KEYS}),
    (ISSUERS[1:2], {"type": "oauth2_token", "issuer": ISSUERS[1], "jwks": KEYS}),
    (ISSUERS[1:], {"type": "oauth2_token", "issuers": [{"issuer": name, "jwks": KEYS} for name in ISSUERS[1:]]}),
    ([], None),
]
"""Providers, each with the issuers that it names; those who vouch for callers may be others too."""


def callers(draw: st.DrawFn, issuers: list[str]) -> dict[str, str]:
    """Seldom one principal, with its issuer where there are several, and more seldom an issuer alone."""
    scope = {} if draw(mostly) else {"principal": draw(st.sampled_from(IDS))}
    if issuers and (("principal" in scope and len(issuers) > 1) or not draw(mostly)):
        scope["issuer"] = draw(st.sampled_from(issuers))
    return scope


@st.composite
def access_scopes(draw: st.DrawFn, issuers: list[str]) -> dict[str, Any]:
    """Some actions, often of some resources, seldom of one principal."""
    scope: dict[str, Any] = {"actions": draw(some(ACTIONS, most=4))}
    if draw(mostly):
        scope["resource"] = draw(resource_patterns)
    return scope | callers(draw, issuers)


route_scopes = st.fixed_dictionaries(
    {"paths": some(PATH_PATTERNS + [f"regex:{regex}" for regex in PATH_REGEXES])}, optional={"methods": some(METHODS)}
)


@st.composite
def policies(draw: st.DrawFn, rule: st.SearchStrategy[Any], least: int, most: int) -> list[dict[str, Any]]:
    """Some rules, one of them perhaps written a second time at another place."""
    written = draw(st.lists(rule, min_size=least, max_size=most))
    if not draw(mostly):
        written.insert(draw(st.integers(0, len(written))), copy.deepcopy(draw(st.sampled_from(written))))
    return written


access_policies = [policies(rules(access_scopes(issuers), about_the_resource), 2, 11) for issuers, _ in PROVIDERS]
route_policies = policies(rules(route_scopes, about_the_caller), 1, 7)


@st.composite
def auth_sections(draw: st.DrawFn) -> dict[str, Any]:
    """The section `server.auth`; most have both policies and authentication."""
    auth: dict[str, Any] = {}
    number = draw(st.sampled_from(range(len(PROVIDERS))))
    if PROVIDERS[number][1] is not None:
        auth["provider_config"] = PROVIDERS[number][1]
    if draw(mostly):
        auth["route_policy"] = draw(route_policies)
    if draw(mostly):
        auth["access_policy"] = draw(access_policies[number])
    return auth


@st.composite
def worlds(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    """A whole configuration as the text of a YAML file, and thirty questions for it."""
    auth = draw(auth_sections())
    text = yaml.safe_dump({"storage": STORAGE, "server": {"auth": auth}}, sort_keys=False, allow_unicode=True)
    # Drawn one by one, the questions would cost more time than asking them, and come out more alike.
    chance = random.Random(draw(st.integers(0, 2**63)))  # noqa: S311 - repeatable on purpose
    return text, [question for _ in range(15) for question in questions(chance, auth)]
