# METADATA
# title: Record filters
# description: >-
#   Which records of a type may the caller read, update or delete? One answer for a whole list: clauses that the store
#   compares with each record, of which the first applicable one decides, as among rules; where none applies, deny.
# schemas:
#   - input: schema.input
package ostiary.filters

import data.ostiary.access
import data.ostiary.conditions
import data.ostiary.records
import data.ostiary.settings

# METADATA
# title: The answer to one question
# description: Holds `clauses`, in their order. A malformed question gets none, and neither does a bundle with holes.
# entrypoint: true
answer := object.union({"contract": settings.contract, "revision": settings.revision}, decided)

decided["clauses"] := array.concat(guards, clauses) if {
	well_formed
	every written in access.permit_where | access.forbid_where { settings.access[written[0]].rule }
}

# METADATA
# title: A principal, or an explicit null, asks about records of a stored type
# description: A record that is about to be created isn't stored.
well_formed if {
	input.action in {"read", "update", "delete"}
	is_string(input.type)
	listed
	caller
}

listed if startswith(input.type, "sql_record::")

listed if input.type in settings.listed_types

caller if {
	is_string(input.principal.id)
	is_string(input.principal.issuer)
	is_object(input.principal.attributes)
}

caller if is_null(input.principal)

# METADATA
# title: Guardrails judge each record separately
guards := [] if {
	settings.guardrails == "absent"
} else := [{"rule": "guardrails", "effect": "forbid", "where": [records.undecided]}]

# METADATA
# title: The clauses of all rules, in the order of the rules
clauses := [{"rule": null, "effect": "permit", "where": []}] if {
	conditions.authentication_off
} else := [{"rule": settings.access[index].rule, "effect": effect, "where": where} |
	some [index, effect, where] in sort(permits | forbids)
]

permits := {[index, "permit", left(tests)] | some [index, tests] in access.permit_where}

forbids := {[index, "forbid", left(tests)] | some [index, tests] in access.forbid_where}

# METADATA
# title: The facts about the record that the question doesn't decide
# description: Undefined if one of the tests can't hold, so that the rule doesn't apply.
left(tests) := [fact | some fact in facts; is_object(fact)] if {
	facts := [records.fact(test) | some test in tests]
	not impossible(facts)
}

impossible(facts) if false in facts
