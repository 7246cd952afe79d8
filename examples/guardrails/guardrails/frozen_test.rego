package ostiary.guardrails_test

import data.ostiary.guardrails

model(name) := {"type": "model", "names": [name], "owner": null, "origin": "config"}

contractor := {"id": "c", "issuer": "", "attributes": {"roles": ["contractor"]}}

test_a_frozen_model_answers_nobody if {
	count(guardrails.deny) == 1 with input as {"principal": null, "action": "read", "resource": model("echo/frozen-1")}
}

test_other_models_are_left_to_the_rules if {
	count(guardrails.deny) == 0 with input as {"principal": null, "action": "read", "resource": model("echo/assistant")}
}

test_contractors_delete_nothing if {
	question := {"principal": contractor, "action": "delete", "resource": model("echo/assistant")}
	guardrails.deny == {{"reason": "contractors delete nothing"}} with input as question
}
