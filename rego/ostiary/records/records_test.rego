package ostiary.records_test

import data.ostiary.conditions
import data.ostiary.records

alice := {"id": "alice", "issuer": "https://a.example", "attributes": {"teams": ["ml", "infra", "ml"], "roles": []}}

bare := {"id": "bob", "issuer": "", "attributes": {}}

lists(principal, type) := {"principal": principal, "action": "read", "type": type}

# Principals that the server never sends: no fact may be undefined for them.
oddities := {
	"absent": {"action": "read", "type": "prompt"},
	"text": lists("alice", "prompt"),
	"a number": lists(7, "prompt"),
	"true": lists(true, "prompt"),
	"false": lists(false, "prompt"),
	"without an id": lists({"issuer": "https://a.example", "attributes": {}}, "prompt"),
	"without an issuer": lists({"id": "alice", "attributes": {}}, "prompt"),
	"without attributes": lists({"id": "alice", "issuer": ""}, "prompt"),
	"attributes that are text": lists({"id": "alice", "issuer": "", "attributes": "teams"}, "prompt"),
	"an attribute that is text": lists({"id": "alice", "issuer": "", "attributes": {"teams": "ml"}}, "prompt"),
	"nothing at all": {},
}

test_a_name_is_for_the_record_to_tell if {
	records.name_is("a'b") == {"fact": "name_is", "holds": true, "name": "a'b"}
}

test_a_beginning_under_either_name_of_a_table[prefix] if {
	question := object.union(
		lists(alice, "sql_record::openai_files"),
		{"types": ["sql_record::openai_files", "sql_record::my_files"]},
	)
	some prefix, said in {
		"sql_record::my_": true,
		"sql_record::my_files::": true,
		"sql_record::openai_files::": true,
		"sql_record::my_files::a": {"fact": "name_starts_with", "holds": true, "prefix": "a"},
		"sql_record::openai_files::a": {"fact": "name_starts_with", "holds": true, "prefix": "a"},
		"sql_record::others::": false,
	}
	records.subject_starts_with(prefix) == said with input as question
}

test_a_beginning_that_every_subject_has[name] if {
	some name, case in {
		"nothing": {"prefix": "", "type": "prompt"},
		"the type": {"prefix": "prompt::", "type": "prompt"},
		"a part of the type": {"prefix": "pro", "type": "prompt"},
		"every record": {"prefix": "sql_record::", "type": "sql_record::openai_files"},
		"the table": {"prefix": "sql_record::openai_files::", "type": "sql_record::openai_files"},
		"a part of the table": {"prefix": "sql_record::open", "type": "sql_record::openai_files"},
		"a vector store": {"prefix": "vector_store::", "type": "vector_store"},
		"a vector store by its other spelling": {"prefix": "vector_db::", "type": "vector_store"},
		"what both spellings have": {"prefix": "vector_", "type": "vector_store"},
	}
	records.subject_starts_with(case.prefix) == true with input as lists(alice, case.type)
}

test_a_text_is_in_the_type_or_for_the_record_to_tell[text] if {
	question := object.union(
		lists(alice, "sql_record::openai_files"),
		{"types": ["sql_record::openai_files", "sql_record::my_files"]},
	)
	some text, said in {
		"enai": true,
		"my_": true,
		"-5-": {"fact": "name_contains", "holds": true, "text": "-5-"},
		"files-": {"fact": "name_contains", "holds": true, "text": "files-"},
	}
	records.fact(["subject_contains", text]) == said with input as question
}

test_a_beginning_that_no_subject_has[name] if {
	some name, case in {
		"another type": {"prefix": "batch::", "type": "prompt"},
		"another type and a name": {"prefix": "batch::a", "type": "prompt"},
		"more than the type": {"prefix": "prompts", "type": "prompt"},
		"another case": {"prefix": "Prompt::", "type": "prompt"},
		"another table": {"prefix": "sql_record::openai_files::", "type": "sql_record::responses"},
		"a table whose name goes on": {"prefix": "sql_record::openai_files::", "type": "sql_record::openai_files2"},
		"the other spelling alone is spelled both ways": {"prefix": "vector_db::", "type": "vector_db2"},
		"no type": {"prefix": "prompt::", "type": null},
	}
	records.subject_starts_with(case.prefix) == false with input as lists(alice, case.type)
}

test_a_beginning_that_the_name_decides[name] if {
	some name, case in {
		"of a prompt": {"prefix": "prompt::a", "type": "prompt", "left": "a"},
		"of a record": {"prefix": "sql_record::responses::resp_", "type": "sql_record::responses", "left": "resp_"},
		"with colons": {"prefix": "prompt::prompt::x", "type": "prompt", "left": "prompt::x"},
		"of a vector store": {"prefix": "vector_store::a", "type": "vector_store", "left": "a"},
		"of a vector store by its other spelling": {"prefix": "vector_db::a", "type": "vector_store", "left": "a"},
	}
	fact := records.subject_starts_with(case.prefix) with input as lists(alice, case.type)
	fact == {"fact": "name_starts_with", "holds": true, "prefix": case.left}
}

test_the_owner_is_looked_up_for_somebody[name] if {
	some name, caller in {"alice": alice, "without attributes": bare}
	fact := records.user_is_owner with input as lists(caller, "prompt")
	fact == {"fact": "owner_is", "holds": true, "id": caller.id, "issuer": caller.issuer}
}

test_nobody_is_owner_of_anything if {
	records.user_is_owner == false with input as lists(null, "prompt")
}

test_shared_values_are_looked_up if {
	fact := records.shares_with_owner("teams") with input as lists(alice, "prompt")
	fact == {"fact": "owner_shares", "holds": true, "attribute": "teams", "values": {"infra", "ml"}}
}

test_no_value_can_be_shared[name] if {
	some name, case in {
		"an empty attribute": {"principal": alice, "attribute": "roles"},
		"an absent attribute": {"principal": alice, "attribute": "projects"},
		"no attributes": {"principal": bare, "attribute": "teams"},
		"anonymous": {"principal": null, "attribute": "teams"},
	}
	records.shares_with_owner(case.attribute) == false with input as lists(case.principal, "prompt")
}

test_what_only_the_record_tells if {
	records.unowned == {"fact": "unowned", "holds": true}
	records.from_config == {"fact": "from_config", "holds": true}
	records.undecided == {"fact": "undecided", "holds": true}
}

test_each_test_of_a_rule_is_a_fact_and_its_opposite[name] if {
	some name in ["user_is_owner", "unowned", "from_config"]
	fact := records.fact([name]) with input as lists(alice, "prompt")
	fact == records[name] with input as lists(alice, "prompt")
	opposite := records.fact(["not", name]) with input as lists(alice, "prompt")
	opposite == object.union(fact, {"holds": false})
}

test_tests_have_operands if {
	records.fact(["name_is", "p-1"]) == records.name_is("p-1")
	records.fact(["undecided"]) == records.undecided
	shared := records.shares_with_owner("teams") with input as lists(alice, "prompt")
	shares := records.fact(["shares_with_owner", "teams"]) with input as lists(alice, "prompt")
	shares == shared
	differs := records.fact(["not", "shares_with_owner", "teams"]) with input as lists(alice, "prompt")
	differs == object.union(shared, {"holds": false})
	begins := records.fact(["subject_starts_with", "prompt::a"]) with input as lists(alice, "prompt")
	begins == records.subject_starts_with("prompt::a") with input as lists(alice, "prompt")
}

test_what_is_no_test_is_no_known_fact[name] if {
	some name, test in {
		"unknown": ["user_is_tall"],
		"the opposite of unknown": ["not", "user_is_tall"],
		"no name": [],
		"a name alone": "user_is_owner",
		"an operand too many": ["user_is_owner", "x"],
		"an operand too few": ["shares_with_owner"],
		"twice turned around": ["not", "not", "unowned"],
		"nothing": null,
	}
	fact := records.fact(test) with input as lists(alice, "prompt")
	fact == {"fact": "unknown", "holds": true}
}

test_negated if {
	records.negated(true) == false
	records.negated(false) == true
	records.negated(records.unowned) == {"fact": "unowned", "holds": false}
}

test_no_fact_is_ever_undefined[name] if {
	some name, question in oddities
	facts := [
		records.user_is_owner,
		records.negated(records.user_is_owner),
		records.shares_with_owner("teams"),
		records.negated(records.shares_with_owner("teams")),
		records.subject_starts_with("prompt::"),
		records.fact(["user_is_owner"]),
		records.fact(["not", "user_is_owner"]),
	] with input as question
	count(facts) == 7
}

test_the_odd_share_nothing_as_for_a_single_record[name] if {
	some name, question in oddities
	not conditions.shares_with_owner("teams") with input as owned_by_alice(question)
	records.shares_with_owner("teams") == false with input as question
}

test_the_odd_own_nothing_as_for_a_single_record[name] if {
	some name, question in object.filter(oddities, ["absent", "text", "a number", "true", "false", "without an id"])
	not conditions.user_is_owner with input as owned_by_alice(question)
	records.user_is_owner == false with input as question
}

owned_by_alice(question) := object.union(
	question,
	{"resource": {"type": "prompt", "names": ["p"], "owner": alice, "origin": "created"}},
)
