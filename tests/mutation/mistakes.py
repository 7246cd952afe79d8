"""Deliberate mistakes in the compiler and in the law, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

BODIES = "translators/codegen/bodies.py"
CONDITIONS = "translators/codegen/conditions.py"
MODULES = "translators/codegen/modules.py"
COMPILER = "translators/compiler.py"
GUARDS = "translators/codegen/type_guards.py"
TEXT = "translators/codegen/text.py"
DECISION = "rego/ostiary/decision/decision.rego"
CONDITIONS_IN_REGO = "rego/ostiary/conditions/conditions.rego"
SUBJECT = "rego/ostiary/subject/subject.rego"

MISTAKES = (
    Mistake("actions are not tested", BODIES, "if len(rule.actions) < len(Action):", "if not rule.actions:"),
    Mistake("issuers are not tested", BODIES, "if rule.issuer is not None:", "if rule.issuer == '':"),
    Mistake("principals are not tested", BODIES, "if rule.principal is not None:", "if rule.principal == '':"),
    Mistake(
        "an exact name matches its whole type",
        BODIES,
        'lines = (equals_any(_RESOURCE_TYPE, [kind]), f"{literal} in input.resource.names")',
        "lines = (equals_any(_RESOURCE_TYPE, [kind]),)",
    ),
    Mistake(
        "an exact name matches in every type",
        BODIES,
        'lines = (equals_any(_RESOURCE_TYPE, [kind]), f"{literal} in input.resource.names")',
        'lines = (f"{literal} in input.resource.names",)',
    ),
    Mistake("a type pattern matches nothing", BODIES, "line = equals_any(_RESOURCE_TYPE, [kind])", 'line = "false"'),
    Mistake(
        "every record is an exact type",
        BODIES,
        'f"startswith({_RESOURCE_TYPE}, {prefix})"',
        'f"{_RESOURCE_TYPE} == {prefix}"',
    ),
    Mistake("HEAD is not GET", BODIES, '{*rule.methods, "HEAD"}', "{*rule.methods}"),
    Mistake("methods are not tested", BODIES, "    if rule.methods:\n", "    if not rule.methods and rule.methods:\n"),
    Mistake(
        "conditional route rules hold without authentication",
        BODIES,
        "    if rule.conditions is not None:\n        scope.append(Test",
        "    if rule.conditions is None and rule.methods == ():\n        scope.append(Test",
    ),
    Mistake(
        "one wildcard among paths is not enough",
        BODIES,
        "if any(isinstance(path, Everything) for path in paths):",
        "if all(isinstance(path, Everything) for path in paths) and not paths[1:]:",
    ),
    Mistake(
        "only the first exact path counts",
        BODIES,
        'equals_any("input.route.path", exact)',
        'equals_any("input.route.path", exact[:1])',
    ),
    Mistake(
        "only the first prefix counts",
        BODIES,
        '_starts_with_any("input.route.path", prefixes)',
        '_starts_with_any("input.route.path", prefixes[:1])',
    ),
    Mistake(
        "a prefix matches itself alone",
        BODIES,
        'return f"startswith({reference}, {literals[0]})"',
        'return f"{reference} == {literals[0]}"',
    ),
    Mistake(
        "negative look-ahead is forgotten",
        BODIES,
        "for pattern in translation.negatives:",
        "for pattern in translation.negatives[:0]:",
    ),
    Mistake(
        "negative look-ahead loses its not",
        BODIES,
        'yield f"not regex.match(',
        'yield f"regex.match(',
    ),
    Mistake(
        "the second spelling of a type is no guard",
        GUARDS,
        "TYPE_SYNONYMS.get(kind, kind)",
        "kind",
    ),
    Mistake("unless means when", CONDITIONS, "literal.inverted()", "literal"),
    Mistake(
        "unless needs every condition to fail",
        CONDITIONS,
        "return tuple(_guarded([literal.inverted()], effect) for literal in literals)",
        "return (_guarded([literal.inverted() for literal in literals], effect),)",
    ),
    Mistake(
        "when needs one condition alone",
        CONDITIONS,
        "return (_guarded(literals, effect),)",
        "return tuple(_guarded([literal], effect) for literal in literals)",
    ),
    Mistake(
        "when drops its last condition",
        CONDITIONS,
        "return (_guarded(literals, effect),)",
        "return (_guarded(literals[:1], effect),)",
    ),
    Mistake(
        "negations let anonymous callers in",
        CONDITIONS,
        "if effect is Effect.PERMIT and any(",
        "if effect is None and any(",
    ),
    Mistake(
        "negations in a forbid spare anonymous callers",
        CONDITIONS,
        "if effect is Effect.PERMIT and any(",
        "if effect is not None and any(",
    ),
    Mistake(
        "a negation is forgotten", CONDITIONS, "replace(self, negated=not self.negated)", "replace(self, negated=False)"
    ),
    Mistake(
        "a negation over the question is undefined",
        CONDITIONS,
        'fails = f"not conditions.has_value({string_literal(value)}, {string_literal(attribute)})"',
        'fails = f"not {holds}"',
    ),
    Mistake(
        "value and attribute change places",
        CONDITIONS,
        'holds = f"{string_literal(value)} in input.principal.attributes{member(attribute)}"',
        'holds = f"{string_literal(attribute)} in input.principal.attributes{member(value)}"',
    ),
    Mistake("a string is pasted", TEXT, "literal = _JSON.encode(text)", "literal = f'\"{text}\"'"),
    Mistake("an attribute is always a word", TEXT, "if _IDENTIFIER.match(name) and name not in _KEYWORDS:", "if name:"),
    Mistake(
        "the index is off by one",
        MODULES,
        'head = f"{self.effect} contains {self.index}"',
        'head = f"{self.effect} contains {self.index + 1}"',
    ),
    Mistake(
        "every rule permits",
        MODULES,
        'head = f"{self.effect} contains {self.index}"',
        'head = f"permit contains {self.index}"',
    ),
    Mistake("a set without rules is undefined", MODULES, 'yield f"{effect} := set()\\n"', 'yield ""'),
    Mistake(
        "the last rule of a file is lost",
        MODULES,
        "rules[number : number + RULES_PER_FILE]",
        "rules[number : number + RULES_PER_FILE - 1]",
    ),
    Mistake("authentication is always off", COMPILER, '"configured" if policies.authentication else "off"', '"off"'),
    Mistake(
        "authentication is always configured",
        COMPILER,
        '"configured" if policies.authentication else "off"',
        '"configured"',
    ),
    Mistake("no route policy denies", COMPILER, '"absent" if policies.routes is None else "present"', '"present"'),
    Mistake(
        "the last applicable route rule decides",
        DECISION,
        "first := min(routes.permit | routes.forbid)\n\tfirst in routes.permit",
        "first := max(routes.permit | routes.forbid)\n\tfirst in routes.permit",
    ),
    Mistake(
        "the last applicable rule decides",
        DECISION,
        "first := min(access.permit | access.forbid)\n\tfirst in access.permit",
        "first := max(access.permit | access.forbid)\n\tfirst in access.permit",
    ),
    Mistake(
        "forbids are forgotten",
        DECISION,
        "first := min(access.permit | access.forbid)\n\tfirst in access.permit",
        "first := min(access.permit)\n\tfirst in access.permit",
    ),
    Mistake(
        "route forbids are forgotten",
        DECISION,
        "first := min(routes.permit | routes.forbid)\n\tfirst in routes.permit",
        "first := min(routes.permit)\n\tfirst in routes.permit",
    ),
    Mistake(
        "no rule permits",
        DECISION,
        "first := min(access.permit | access.forbid)\n} else := denied",
        "first := min(access.permit | access.forbid)\n} else := permitted",
    ),
    Mistake(
        "no route rule permits",
        DECISION,
        "first := min(routes.permit | routes.forbid)\n} else := denied",
        "first := min(routes.permit | routes.forbid)\n} else := permitted",
    ),
    Mistake(
        "guardrails don't hold for resources",
        DECISION,
        "resource := vetoed(resource_vetoes) if {\n\tcount(resource_vetoes) > 0",
        "resource := vetoed(resource_vetoes) if {\n\tcount(resource_vetoes) > 99",
    ),
    Mistake(
        "guardrails know a table by its standard name alone",
        DECISION,
        'some veto in vetoes with input as object.union(input, {"resource": {"type": type}})',
        'some veto in vetoes with input as object.union(input, {"resource": {"types": type}})',
    ),
    Mistake(
        "the owner at a place is the caller",
        DECISION,
        '"resource": {"owner": named(question.resource.owner)},',
        '"resource": {"owner": named(question.principal)},',
    ),
    Mistake(
        "an owner whose place isn't there is none",
        DECISION,
        "\tnot question.resource\n",
        "\tnot false\n",
    ),
    Mistake(
        "guardrails don't hold for routes",
        DECISION,
        "found := vetoes with",
        "found := set() with",
    ),
    Mistake("public routes need a token", DECISION, "\tnot public_route\n", ""),
    Mistake("every method of a public route is public", DECISION, '\tinput.route.method in {"GET", "HEAD"}\n', ""),
    Mistake(
        "the list of models is public",
        DECISION,
        '{"/v1/health", "/v1/version"}',
        '{"/v1/health", "/v1/version", "/v1/models"}',
    ),
    Mistake(
        "every permit stamps an owner",
        DECISION,
        '\tinput.action == "create"\n\tconditions.authenticated',
        "\tconditions.authenticated",
    ),
    Mistake(
        "nobody becomes an owner",
        DECISION,
        '\tinput.action == "create"\n\tconditions.authenticated',
        '\tinput.action == "create"',
    ),
    Mistake("a malformed action is judged", DECISION, '\tinput.action in {"create", "read", "update", "delete"}\n', ""),
    Mistake(
        "an owner of another issuer is the owner", CONDITIONS_IN_REGO, "\towner.issuer == input.principal.issuer\n", ""
    ),
    Mistake("everybody of one issuer is the owner", CONDITIONS_IN_REGO, "\towner.id == input.principal.id\n", ""),
    Mistake(
        "the creator is not the owner to be",
        CONDITIONS_IN_REGO,
        '\tinput.action == "create"\n\tis_object(input.principal)',
        '\tinput.action == "made"\n\tis_object(input.principal)',
    ),
    Mistake(
        "sharing needs no common value",
        CONDITIONS_IN_REGO,
        "\theld[value]\n",
        "\tis_string(value)\n",
    ),
    Mistake("what is owned is unowned", CONDITIONS_IN_REGO, "unowned if not owner", "unowned if owner"),
    Mistake(
        "what was created is from the configuration",
        CONDITIONS_IN_REGO,
        'input.resource.origin == "config"',
        'input.resource.origin == "created"',
    ),
    Mistake(
        "authentication that is off excuses a named caller",
        CONDITIONS_IN_REGO,
        '\tdata.ostiary.settings.authentication == "off"\n\tis_null(input.principal)',
        '\tdata.ostiary.settings.authentication == "off"',
    ),
    Mistake(
        "authentication is off for everyone without a token",
        CONDITIONS_IN_REGO,
        '\tdata.ostiary.settings.authentication == "off"\n\tis_null(input.principal)',
        "\tis_null(input.principal)",
    ),
    Mistake("aliases don't count", SUBJECT, "some name in input.resource.names", "name := input.resource.names[0]"),
    Mistake(
        "vector_db is another type",
        SUBJECT,
        'types contains "vector_db" if input.resource.type == "vector_store"',
        'types contains "vector_db" if input.resource.type == "vector_db"',
    ),
    Mistake(
        "parts that need not stand together are looked for as one text",
        "translators/regex/literals.py",
        'runs.append("")',
        'runs[-1] += ""',
    ),
)
