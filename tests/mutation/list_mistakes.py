"""Deliberate mistakes in what lists and patterns become, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake
from tests.mutation.mistakes import BODIES, CONDITIONS, MODULES

FILTERS = "rego/ostiary/filters/filters.rego"
RECORDS = "rego/ostiary/records/records.rego"
LISTINGS = "translators/codegen/listings.py"
CLAUSES = "server/authz/contract/record_filter.py"
SQL = "server/storage/records/sql_filter.py"
STARTS = "translators/regex/starts.py"
ENDINGS = "translators/regex/endings.py"
TAILS = "translators/regex/tails.py"
WRITER = "translators/regex/writer.py"
READER = "translators/regex/reader.py"

LIST_MISTAKES = (
    Mistake(
        "a list forgets that a condition is negated",
        CONDITIONS,
        'fact = ("not", *self.fact) if self.negated else self.fact',
        "fact = self.fact",
    ),
    Mistake("a list forgets the name", BODIES, '(("name_is", name),)', "()"),
    Mistake("a list forgets how names begin", BODIES, '(("subject_starts_with", start.text),)', "()"),
    Mistake("a list takes a beginning for a match", BODIES, "else _unfinished(start, translation)", "else ()"),
    Mistake(
        "a list takes a text in a name for a match",
        BODIES,
        'return (("subject_contains", required), ("undecided",))',
        'return (("subject_contains", required),)',
    ),
    Mistake(
        "a list looks in names for a text that begins in the type",
        BODIES,
        ' or ":" in required',
        "",
    ),
    Mistake("a list looks in names for NUL", BODIES, ' or "\\0" in required', ""),
    Mistake(
        "a list looks in names for a text of the type",
        "rego/ostiary/records/records.rego",
        "	contains(spelling, text)",
        "	contains(spelling, text)\n	false",
    ),
    Mistake(
        "a list looks for names without a text",
        "server/storage/records/sql_filter.py",
        "else parameters.dialect.holds.format(",
        'else "NOT " + parameters.dialect.holds.format(',
    ),
    Mistake(
        "a list looks for a text across two names",
        "server/storage/records/sql_filter.py",
        'return "1 = 0" if NAME_END in text else self.dialect.holds.format("facet", self.text(text))',
        'return self.dialect.holds.format("facet", self.text(text))',
    ),
    Mistake(
        "an empty text is in every name",
        "server/authz/contract/record_filter.py",
        'case "name_contains", {"text": str(text), **rest} if not rest and text:',
        'case "name_contains", {"text": str(text), **rest} if not rest:',
    ),
    Mistake("a list permits what its rule forbids", MODULES, 'return f"{self.effect}_where', 'return f"permit_where'),
    Mistake("a list is one rule behind", MODULES, "_where contains [{self.index}", "_where contains [{self.index + 1}"),
    Mistake(
        "a list knows the first of several ways alone",
        LISTINGS,
        "dict.fromkeys(map(_joined, ways))",
        "map(_joined, ways[:1])",
    ),
    Mistake("a list asks for the caller alone", LISTINGS, "tuple(dict.fromkeys(facts))", "()"),
    Mistake("forbids are left out of lists", FILTERS, "sort(permits | forbids)", "sort(permits)"),
    Mistake(
        "clauses come in any order", FILTERS, "in sort(permits | forbids)", "in array.reverse(sort(permits | forbids))"
    ),
    Mistake("what can't hold is left out", FILTERS, "\tnot impossible(facts)\n", ""),
    Mistake(
        "guardrails are left out of lists",
        FILTERS,
        '"guardrails", "effect": "forbid"',
        '"guardrails", "effect": "permit"',
    ),
    Mistake("a negated fact holds", RECORDS, '{"holds": false}', '{"holds": true}'),
    Mistake("the opposite of what is decided", RECORDS, "} else := fact == false", "} else := fact == true"),
    Mistake(
        "vector_db is another type in lists",
        RECORDS,
        'spellings contains "vector_db::" if',
        'spellings contains "vector_x::" if',
    ),
    Mistake("half an owner is an owner in SQL", SQL, 'return f"({principal} AND {', 'return f"({principal} OR {'),
    Mistake("nobody shares values in SQL", SQL, 'f"(owner_principal IS NOT NULL AND {shared})"', 'f"({shared})"'),
    Mistake("SQL forgets negations", SQL, 'test if holds else f"NOT {test}"', "test"),
    Mistake("SQL joins facts with OR", SQL, 'return " AND ".join(test if', 'return " OR ".join(test if'),
    Mistake(
        "SQL takes a doubt for a permit", SQL, "if decided else RowVerdict.ASK", "if decided else RowVerdict.PERMIT"
    ),
    Mistake(
        "SQL forgets earlier doubts", SQL, "return verdict if doubts <= {verdict} else RowVerdict.ASK", "return verdict"
    ),
    Mistake("SQL stops at the first clause", SQL, "        if not clause.where:\n", "        if clause:\n"),
    Mistake(
        "an index hides rows",
        SQL,
        "    return () if None in facts else tuple(fact for fact",
        "    return tuple(fact for fact",
    ),
    Mistake(
        "the server believes another owner",
        CLAUSES,
        "(principal.id, principal.issuer) != (identity, issuer)",
        "principal.id == ''",
    ),
    Mistake("a start is complete too early", STARTS, "all(map(cannot_fail, left))", "all(map(cannot_fail, left[1:]))"),
    Mistake(
        "a start holds what no database holds",
        STARTS,
        "if point := only(ranges):",
        "if (point := only(ranges)) is not None:",
    ),
    Mistake("`$` is never looked at", TAILS, "return anchor is not Anchor.END", "return True"),
    Mistake("`$` swallows the newline", ENDINGS, "        return Anchor.FINISH\n", "        return Anchor.END\n"),
    Mistake(
        "what stands in front of `$` isn't seen",
        ENDINGS,
        "rest = rest.after(tails.of(item), certain=cannot_fail(item))",
        "rest = NO_MORE",
    ),
    Mistake("a final newline is the end", WRITER, r'Anchor.FINISH: r"\z"', r'Anchor.FINISH: r"\n?\z"'),
    Mistake("a dot matches a newline", READER, "EVERYTHING if flags & _DOTALL else _NOT_NEWLINE", "EVERYTHING"),
    Mistake("case is never ignored", READER, "flags & (_IGNORECASE | _ASCII)", "flags & _ASCII"),
    Mistake("a word's characters are ASCII", READER, "ascii_only=bool(flags & _ASCII)", "ascii_only=True"),
    Mistake(
        "the filter of one caller is known for another",
        "server/authz/contract/record_filter.py",
        "self._known.get((asked, body))",
        "next((known for (_, told), known in self._known.items() if told == body), None)",
    ),
    Mistake(
        "any number of filters is known",
        "server/authz/contract/record_filter.py",
        "            if len(self._known) >= MOST_KNOWN:\n                del self._known[next(iter(self._known))]\n",
        "",
    ),
)
