package system.log_test

import data.system.log

test_attributes_of_one_question_are_left_out if {
	log.mask == {
		"/input/principal/attributes",
		"/input/resource/owner/attributes",
		"/result/resource/obligations",
	} with input as {"input": {"principal": {"id": "a"}}}
}

test_attributes_of_every_question_are_left_out if {
	log.mask == {
		"/input/principal/attributes",
		"/input/resource/owner/attributes",
		"/result/resource/obligations",
		"/input/questions/0/principal/attributes",
		"/input/questions/1/principal/attributes",
		"/input/questions/0/resource/owner/attributes",
		"/input/questions/1/resource/owner/attributes",
		"/result/0/resource/obligations",
		"/result/1/resource/obligations",
	} with input as {"input": {"questions": [{"principal": null}, {"principal": null}]}}
}

test_attributes_of_principals_that_stand_once_are_left_out if {
	{"/input/principals/0/attributes", "/input/principals/1/attributes"} & log.mask == {
		"/input/principals/0/attributes",
		"/input/principals/1/attributes",
	} with input as {"input": {"principals": [{"id": "a"}, {"id": "b"}], "questions": [{"principal": 0}]}}
}

test_attributes_in_the_clauses_of_a_list_are_left_out if {
	log.mask == {
		"/input/principal/attributes",
		"/input/resource/owner/attributes",
		"/result/resource/obligations",
		"/result/clauses/1/where/1/values",
	} with input as {
		"input": {"principal": {"id": "a"}, "action": "read", "type": "prompt"},
		"result": {"clauses": [
			{"where": []},
			{"where": [{"fact": "unowned"}, {"fact": "owner_shares", "attribute": "teams", "values": ["ml"]}]},
		]},
	}
}
