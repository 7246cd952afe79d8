package ostiary.decision_test

import data.ostiary.decision

open_policy := {
	"contract": 1,
	"revision": "r",
	"authentication": "configured",
	"route_policy": "absent",
	"access": [{"rule": "access_policy[0]", "source": "config.yaml:1", "description": null}],
	"routes": [],
}

wanted := {
	"principal": {"id": "ann", "issuer": "", "attributes": {}},
	"route": {"method": "DELETE", "path": "/v1/files/x"},
	"action": "delete",
	"resource": {"type": "model", "names": ["m"], "owner": null, "origin": "config"},
}

test_without_guardrails_the_rules_decide if {
	answer := decision.answer with input as wanted
		with data.ostiary.settings as open_policy
		with data.ostiary.access.permit as {0}
		with data.ostiary.access.forbid as set()
	answer.route.effect == "permit"
	answer.resource.effect == "permit"
}

test_a_guardrail_overrides_every_permit if {
	answer := decision.answer with input as wanted
		with data.ostiary.settings as open_policy
		with data.ostiary.access.permit as {0}
		with data.ostiary.access.forbid as set()
		with data.ostiary.guardrails.deny as {
			"a.rego:3": {{"reason": "frozen"}},
			"a.rego:7": set(),
			"b.rego:5": {{"reason": "audit"}},
		}
	answer.resource == {
		"effect": "deny",
		"rule": "guardrails",
		"source": "a.rego:3, b.rego:5",
		"description": "audit; frozen",
		"reason": "a guardrail forbids it",
		"obligations": [],
	}
	answer.route == answer.resource
}

test_a_guardrail_holds_while_authentication_is_off if {
	answer := decision.answer with input as object.union(wanted, {"principal": null})
		with data.ostiary.settings as object.union(open_policy, {"authentication": "off"})
		with data.ostiary.guardrails.deny as {{"reason": "frozen"}}
	answer.resource.effect == "deny"
}

test_guardrails_that_deny_nothing_leave_the_rules_as_they_are if {
	answer := decision.answer with input as wanted
		with data.ostiary.settings as open_policy
		with data.ostiary.access.permit as {0}
		with data.ostiary.access.forbid as set()
		with data.ostiary.guardrails.deny as {"a.rego:3": set()}
	answer.route.effect == "permit"
	answer.resource.effect == "permit"
}

elements := {
	"in words": "in words",
	["no", "object"]: "the guardrail gives no reason",
	null: "the guardrail gives no reason",
	false: "the guardrail gives no reason",
	{"reason": 7}: "the guardrail gives no reason",
	{"message": "x"}: "the guardrail gives no reason",
}

test_a_guardrail_denies_whatever_its_element_is if {
	every element, reason in elements {
		every deny in [{"a.rego:3": {element}}, {element}] {
			answer := decision.answer with input as wanted
				with data.ostiary.settings as open_policy
				with data.ostiary.access.permit as {0}
				with data.ostiary.access.forbid as set()
				with data.ostiary.guardrails.deny as deny
			answer.route.effect == "deny"
			answer.resource.effect == "deny"
			answer.resource.description == reason
		}
	}
}

test_a_guardrail_without_a_place_denies_too if {
	answer := decision.answer with input as wanted
		with data.ostiary.settings as open_policy
		with data.ostiary.access.permit as {0}
		with data.ostiary.access.forbid as set()
		with data.ostiary.guardrails.deny as {{"reason": "frozen"}}
	answer.resource.source == "guardrails"
	answer.resource.description == "frozen"
}

test_a_guardrail_denies_a_record_of_a_table_with_two_names if {
	answer := decision.answer with input as object.union(wanted, {"resource": {
		"type": "sql_record::openai_files",
		"types": ["sql_record::openai_files", "sql_record::my_files"],
		"names": ["file-1"],
		"owner": null,
		"origin": "created",
	}})
		with data.ostiary.settings as open_policy
		with data.ostiary.access.permit as {0}
		with data.ostiary.access.forbid as set()
		with data.ostiary.guardrails.deny as {{"reason": "frozen"}}
	answer.resource.effect == "deny"
	answer.resource.description == "frozen"
}
