package ostiary.filters_test

import data.ostiary.filters

alice := {"id": "alice", "issuer": "https://a.example", "attributes": {"roles": ["developer"]}}

settings := {
	"contract": 1,
	"revision": "r1",
	"authentication": "configured",
	"guardrails": "absent",
	"listed_types": ["batch", "prompt"],
	"access": [{"rule": sprintf("access_policy[%d]", [i])} | some i in numbers.range(0, 11)],
}

authentication_off := object.union(settings, {"authentication": "off"})

lists(principal) := {"principal": principal, "action": "read", "type": "sql_record::openai_files"}

asks_owner := ["user_is_owner"]

asks_unowned := ["unowned"]

asks_true := ["subject_starts_with", "sql_record::"]

asks_false := ["subject_starts_with", "prompt::"]

mine := {"fact": "owner_is", "holds": true, "id": "alice", "issuer": "https://a.example"}

unowned := {"fact": "unowned", "holds": true}

permit_where(written) := {"permit": set(), "forbid": set(), "permit_where": written, "forbid_where": set()}

forbid_where(written) := {"permit": set(), "forbid": set(), "permit_where": set(), "forbid_where": written}

clause(index, effect, where) := {"rule": sprintf("access_policy[%d]", [index]), "effect": effect, "where": where}

guardrail := {"rule": "guardrails", "effect": "forbid", "where": [{"fact": "undecided", "holds": true}]}

everything := {"rule": null, "effect": "permit", "where": []}

test_clauses_come_in_the_order_of_the_rules if {
	answer := filters.answer with input as lists(alice)
		with data.ostiary.settings as settings
		with data.ostiary.access.permit_where as {[10, [asks_unowned]], [0, [asks_owner]]}
		with data.ostiary.access.forbid_where as {[9, []], [2, [asks_unowned]], [2, [asks_owner]]}
	answer == {"contract": 1, "revision": "r1", "clauses": [
		clause(0, "permit", [mine]),
		clause(2, "forbid", [mine]),
		clause(2, "forbid", [unowned]),
		clause(9, "forbid", []),
		clause(10, "permit", [unowned]),
	]}
}

test_what_the_question_decides_is_left_out[name] if {
	some name, case in {
		"true": {"where": [asks_true], "left": [clause(1, "permit", [])]},
		"true and a fact": {"where": [asks_true, asks_owner, asks_true], "left": [clause(1, "permit", [mine])]},
		"false": {"where": [asks_false], "left": []},
		"false and a fact": {"where": [asks_owner, asks_false], "left": []},
		"false and true": {"where": [asks_true, asks_false], "left": []},
		"facts": {"where": [asks_unowned, asks_owner], "left": [clause(1, "permit", [unowned, mine])]},
		"nothing": {"where": [], "left": [clause(1, "permit", [])]},
	}
	answer := filters.answer with input as lists(alice)
		with data.ostiary.settings as settings
		with data.ostiary.access as permit_where({[1, case.where]})
	answer.clauses == case.left
}

test_no_rule_no_clause[name] if {
	some name, principal in {"somebody": alice, "nobody": null}
	answer := filters.answer with input as lists(principal)
		with data.ostiary.settings as settings
		with data.ostiary.access as permit_where(set())
	answer == {"contract": 1, "revision": "r1", "clauses": []}
}

test_everything_is_permitted_to_nobody_while_authentication_is_off[action] if {
	some action in ["read", "update", "delete"]
	answer := filters.answer with input as object.union(lists(null), {"action": action})
		with data.ostiary.settings as authentication_off
		with data.ostiary.access as forbid_where({[0, []]})
	answer.clauses == [everything]
}

test_a_named_caller_meets_the_rules_even_while_authentication_is_off if {
	answer := filters.answer with input as lists(alice)
		with data.ostiary.settings as authentication_off
		with data.ostiary.access as forbid_where({[0, []]})
	answer.clauses == [clause(0, "forbid", [])]
}

test_nobody_meets_the_rules_while_authentication_is_configured if {
	answer := filters.answer with input as lists(null)
		with data.ostiary.settings as settings
		with data.ostiary.access as permit_where({[0, [asks_unowned]]})
	answer.clauses == [clause(0, "permit", [unowned])]
}

test_guardrails_leave_every_record_to_its_own_question[name] if {
	some name, case in {
		"present": {"settings": object.union(settings, {"guardrails": "present"}), "principal": alice},
		"not said": {"settings": object.remove(settings, ["guardrails"]), "principal": alice},
		"an unknown word": {"settings": object.union(settings, {"guardrails": "?"}), "principal": alice},
		"nobody": {"settings": object.union(settings, {"guardrails": "present"}), "principal": null},
	}
	answer := filters.answer with input as lists(case.principal)
		with data.ostiary.settings as case.settings
		with data.ostiary.access as permit_where({[0, []]})
	answer.clauses == [guardrail, clause(0, "permit", [])]
}

test_guardrails_hold_while_authentication_is_off if {
	answer := filters.answer with input as lists(null)
		with data.ostiary.settings as object.union(authentication_off, {"guardrails": "present"})
		with data.ostiary.access as permit_where(set())
	answer.clauses == [guardrail, everything]
}

test_a_malformed_question_gets_no_clauses[name] if {
	some name, question in {
		"empty": {},
		"no principal": {"action": "read", "type": "prompt"},
		"a principal that is text": lists("alice"),
		"a principal that is false": lists(false),
		"a principal without an id": lists(object.remove(alice, ["id"])),
		"an id that is a number": lists(object.union(alice, {"id": 7})),
		"a principal without an issuer": lists(object.remove(alice, ["issuer"])),
		"a principal without attributes": lists(object.remove(alice, ["attributes"])),
		"attributes that are a list": lists(object.union(alice, {"attributes": ["teams"]})),
		"no action": object.remove(lists(alice), ["action"]),
		"an unknown action": object.union(lists(alice), {"action": "list"}),
		"a create, of which no record is stored": object.union(lists(alice), {"action": "create"}),
		"a create by nobody": object.union(lists(null), {"action": "create"}),
		"no type": object.remove(lists(alice), ["type"]),
		"a type that is null": object.union(lists(alice), {"type": null}),
		"a type that is not stored": object.union(lists(alice), {"type": "model"}),
		"a stored type in capitals": object.union(lists(alice), {"type": "Prompt"}),
		"records without a table": object.union(lists(alice), {"type": "sql_record"}),
		"nobody without a type": object.remove(lists(null), ["type"]),
		"a question about one resource": {
			"principal": alice,
			"action": "read",
			"resource": {"type": "prompt", "names": ["p"], "owner": null, "origin": "created"},
		},
	}
	every setting in [settings, authentication_off] {
		answer := filters.answer with input as question
			with data.ostiary.settings as setting
			with data.ostiary.access as permit_where({[0, []]})
		answer == {"contract": 1, "revision": "r1"}
	}
}

test_a_rule_that_the_settings_do_not_list_spoils_the_answer if {
	answer := filters.answer with input as lists(alice)
		with data.ostiary.settings as object.union(settings, {"access": []})
		with data.ostiary.access as forbid_where({[0, []]})
	answer == {"contract": 1, "revision": "r1"}
}

test_two_ways_of_a_rule_that_ask_the_same_are_one_clause if {
	answer := filters.answer with input as lists(alice)
		with data.ostiary.settings as settings
		with data.ostiary.access as forbid_where({[0, [asks_owner]], [0, [asks_true, asks_owner]]})
	answer.clauses == [clause(0, "forbid", [mine])]
}

test_a_test_that_the_law_does_not_know_is_left_for_the_server_to_refuse if {
	answer := filters.answer with input as lists(alice)
		with data.ostiary.settings as settings
		with data.ostiary.access as forbid_where({[0, [["phase_of_the_moon"]]]})
	answer.clauses == [clause(0, "forbid", [{"fact": "unknown", "holds": true}])]
}

test_a_missing_set_of_rules_spoils_the_answer[missing] if {
	some missing in ["permit_where", "forbid_where"]
	answer := filters.answer with input as lists(alice)
		with data.ostiary.settings as settings
		with data.ostiary.access as object.remove(permit_where({[0, []]}), [missing])
	answer == {"contract": 1, "revision": "r1"}
}

test_other_listed_types_are_listed_too[type] if {
	some type in ["batch", "prompt", "sql_record::x"]
	answer := filters.answer with input as object.union(lists(alice), {"type": type})
		with data.ostiary.settings as settings
		with data.ostiary.access as permit_where({[0, []]})
	answer.clauses == [clause(0, "permit", [])]
}

test_no_answer_without_settings if {
	not filters.answer with input as lists(alice) with data.ostiary.settings as {}
}
