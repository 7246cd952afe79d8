package ostiary.decision_test

import data.ostiary.decision

alice := {"id": "alice", "issuer": "https://a.example", "attributes": {"roles": ["developer"]}}

entry(policy, index) := {
	"rule": sprintf("%s[%d]", [policy, index]),
	"source": sprintf("config.yaml:%d", [40 + index]),
	"description": sprintf("rule %d", [index]),
}

settings := {
	"contract": 1,
	"revision": "r1",
	"authentication": "configured",
	"route_policy": "present",
	"access": [entry("access_policy", i) | some i in numbers.range(0, 11)],
	"routes": [entry("route_policy", i) | some i in numbers.range(0, 11)],
}

authentication_off := object.union(settings, {"authentication": "off"})

no_route_policy := object.union(settings, {"route_policy": "absent"})

asks(principal, parts) := object.union({"principal": principal}, parts)

route(method, path) := {"route": {"method": method, "path": path}}

to(action) := {"action": action, "resource": {"type": "model", "names": ["a"], "owner": null, "origin": "config"}}

permit_by(policy, index, obligations) := object.union(
	entry(policy, index),
	{"effect": "permit", "reason": "the rule permits it", "obligations": obligations},
)

deny_by(policy, index) := object.union(
	entry(policy, index),
	{"effect": "deny", "reason": "the rule forbids it", "obligations": []},
)

without_a_rule(effect, reason) := {
	"effect": effect,
	"rule": null,
	"source": null,
	"description": null,
	"reason": reason,
	"obligations": [],
}

# How the first applicable rule is found, for both policies: `decides` is its index, or null.
combinations := {
	"one permit": {"permit": {3}, "forbid": set(), "effect": "permit", "decides": 3},
	"one forbid": {"permit": set(), "forbid": {3}, "effect": "deny", "decides": 3},
	"permit before forbid": {"permit": {1}, "forbid": {2}, "effect": "permit", "decides": 1},
	"forbid before permit": {"permit": {2}, "forbid": {1}, "effect": "deny", "decides": 1},
	"the first of several": {"permit": {4, 5, 6}, "forbid": {7, 8}, "effect": "permit", "decides": 4},
	"index 0": {"permit": {0, 1}, "forbid": {2}, "effect": "permit", "decides": 0},
	"forbid at index 0": {"permit": {1, 2}, "forbid": {0}, "effect": "deny", "decides": 0},
	"numbers are not ordered as text": {"permit": {10}, "forbid": {9}, "effect": "deny", "decides": 9},
	"9 before 10": {"permit": {9}, "forbid": {10, 11}, "effect": "permit", "decides": 9},
	"no rule applies": {"permit": set(), "forbid": set(), "effect": "deny", "decides": null},
}

expected(_, case, _) := without_a_rule("deny", "no rule applies") if is_null(case.decides)

expected(policy, case, obligations) := permit_by(policy, case.decides, obligations) if {
	not is_null(case.decides)
	case.effect == "permit"
}

expected(policy, case, _) := deny_by(policy, case.decides) if {
	not is_null(case.decides)
	case.effect == "deny"
}

test_first_applicable_access_rule_decides[name] if {
	some name, case in combinations
	answer := decision.answer with input as asks(alice, to("read"))
		with data.ostiary.settings as settings
		with data.ostiary.access.permit as case.permit
		with data.ostiary.access.forbid as case.forbid
	answer == {"contract": 1, "revision": "r1", "resource": expected("access_policy", case, [])}
}

test_first_applicable_route_rule_decides[name] if {
	some name, case in combinations
	answer := decision.answer with input as asks(alice, route("GET", "/v1/files"))
		with data.ostiary.settings as settings
		with data.ostiary.routes.permit as case.permit
		with data.ostiary.routes.forbid as case.forbid
	answer == {"contract": 1, "revision": "r1", "route": expected("route_policy", case, [])}
}

test_one_question_may_ask_both if {
	answer := decision.answer with input as asks(alice, object.union(route("GET", "/v1/models/a"), to("read")))
		with data.ostiary.settings as settings
		with data.ostiary.access.permit as set()
		with data.ostiary.access.forbid as {2}
		with data.ostiary.routes.permit as {1}
		with data.ostiary.routes.forbid as {4}
	answer == {
		"contract": 1,
		"revision": "r1",
		"route": permit_by("route_policy", 1, []),
		"resource": deny_by("access_policy", 2),
	}
}

test_a_permitted_create_stamps_the_caller if {
	answer := decision.answer with input as asks(alice, to("create"))
		with data.ostiary.settings as settings
		with data.ostiary.access.permit as {1}
		with data.ostiary.access.forbid as set()
	answer.resource == permit_by("access_policy", 1, [{"id": "stamp_owner", "owner": alice}])
}

test_nothing_is_stamped[name] if {
	some name, case in {
		"denied create": {"principal": alice, "action": "create", "permit": set(), "forbid": {0}},
		"create without a rule": {"principal": alice, "action": "create", "permit": set(), "forbid": set()},
		"anonymous create": {"principal": null, "action": "create", "permit": {0}, "forbid": set()},
		"read": {"principal": alice, "action": "read", "permit": {0}, "forbid": set()},
		"update": {"principal": alice, "action": "update", "permit": {0}, "forbid": set()},
		"delete": {"principal": alice, "action": "delete", "permit": {0}, "forbid": set()},
	}
	answer := decision.answer with input as asks(case.principal, to(case.action))
		with data.ostiary.settings as settings
		with data.ostiary.access.permit as case.permit
		with data.ostiary.access.forbid as case.forbid
	answer.resource.obligations == []
}

test_anonymous_meets_the_access_rules_where_authentication_is_configured[name] if {
	some name, case in combinations
	answer := decision.answer with input as asks(null, to("read"))
		with data.ostiary.settings as settings
		with data.ostiary.access.permit as case.permit
		with data.ostiary.access.forbid as case.forbid
	answer.resource == expected("access_policy", case, [])
}

test_access_is_permitted_while_authentication_is_off[action] if {
	some action in ["create", "read", "update", "delete"]
	answer := decision.answer with input as asks(null, to(action))
		with data.ostiary.settings as authentication_off
		with data.ostiary.access.permit as set()
		with data.ostiary.access.forbid as {0}
	answer.resource == without_a_rule("permit", "authentication is not configured")
}

test_a_named_caller_meets_the_rules_even_while_authentication_is_off if {
	answer := decision.answer with input as asks(alice, to("create"))
		with data.ostiary.settings as authentication_off
		with data.ostiary.access.permit as {5}
		with data.ostiary.access.forbid as set()
	answer.resource == permit_by("access_policy", 5, [{"id": "stamp_owner", "owner": alice}])
}

test_a_token_is_required[name] if {
	some name, case in {
		"any route": {"method": "GET", "path": "/v1/files"},
		"another method on health": {"method": "POST", "path": "/v1/health"},
		"below health": {"method": "GET", "path": "/v1/health/ready"},
		"health with more": {"method": "GET", "path": "/v1/healthy"},
		"health in capitals": {"method": "GET", "path": "/V1/HEALTH"},
		"a lower-case method": {"method": "get", "path": "/v1/version"},
		"OPTIONS": {"method": "OPTIONS", "path": "/v1/version"},
	}
	answer := decision.answer with input as asks(null, route(case.method, case.path))
		with data.ostiary.settings as settings
		with data.ostiary.routes.permit as {0}
		with data.ostiary.routes.forbid as set()
	answer.route == without_a_rule("deny", "a valid token is required")
}

test_a_token_is_required_without_a_route_policy_too if {
	answer := decision.answer with input as asks(null, route("GET", "/v1/files"))
		with data.ostiary.settings as no_route_policy
		with data.ostiary.routes as {"permit": set(), "forbid": set()}
		with data.ostiary.routes.forbid as set()
	answer.route == without_a_rule("deny", "a valid token is required")
}

test_public_routes_need_no_token[name] if {
	some name, case in {
		"health": {"method": "GET", "path": "/v1/health"},
		"version": {"method": "GET", "path": "/v1/version"},
		"HEAD of health": {"method": "HEAD", "path": "/v1/health"},
		"HEAD of version": {"method": "HEAD", "path": "/v1/version"},
	}
	answer := decision.answer with input as asks(null, route(case.method, case.path))
		with data.ostiary.settings as settings
		with data.ostiary.routes as {"permit": {2}, "forbid": set()}
		with data.ostiary.routes.forbid as set()
	answer.route == permit_by("route_policy", 2, [])
}

test_the_route_policy_can_close_public_routes[path] if {
	some path in ["/v1/health", "/v1/version"]
	answer := decision.answer with input as asks(null, route("GET", path))
		with data.ostiary.settings as settings
		with data.ostiary.routes as {"permit": {2}, "forbid": set()}
		with data.ostiary.routes.forbid as {1}
	answer.route == deny_by("route_policy", 1)
}

test_every_route_is_allowed_without_a_route_policy[name] if {
	some name, case in {
		"somebody": {"principal": alice, "settings": no_route_policy, "path": "/v1/files"},
		"health, nobody": {"principal": null, "settings": no_route_policy, "path": "/v1/health"},
		"authentication off": {
			"principal": null,
			"settings": object.union(no_route_policy, {"authentication": "off"}),
			"path": "/v1/files",
		},
	}
	answer := decision.answer with input as asks(case.principal, route("GET", case.path))
		with data.ostiary.settings as case.settings
		with data.ostiary.routes as {"permit": set(), "forbid": set()}
		with data.ostiary.routes.forbid as set()
	answer.route == without_a_rule("permit", "no route policy is configured")
}

test_route_rules_apply_while_authentication_is_off[name] if {
	some name, case in combinations
	answer := decision.answer with input as asks(null, route("GET", "/v1/files"))
		with data.ostiary.settings as authentication_off
		with data.ostiary.routes.permit as case.permit
		with data.ostiary.routes.forbid as case.forbid
	answer.route == expected("route_policy", case, [])
}

# What readiness asks while authentication is off: nothing but an object is a principal, and nothing but null is nobody.
test_who_is_neither_a_principal_nor_anonymous_gets_nowhere_while_authentication_is_off[name] if {
	some name, caller in {"a text": "neither", "a number": 1, "a list": [alice], "false": false}
	some policy in [authentication_off, object.union(no_route_policy, {"authentication": "off"})]
	answer := decision.answer with input as asks(caller, route("GET", "/v1/files"))
		with data.ostiary.settings as policy
		with data.ostiary.routes.permit as {0}
		with data.ostiary.routes.forbid as set()
	answer.route == without_a_rule("deny", "a valid token is required")
}

test_a_malformed_question_gets_no_decision[name] if {
	some name, question in {
		"empty": {},
		"only a principal": {"principal": alice},
		"an unknown action": asks(alice, object.union(to("read"), {"action": "readx"})),
		"no action": asks(alice, {"resource": to("read").resource}),
		"no resource": asks(alice, {"action": "read"}),
		"no names": asks(alice, {"action": "read", "resource": {"type": "model", "names": []}}),
		"a type that is a number": asks(alice, {"action": "read", "resource": {"type": 1, "names": ["a"]}}),
		"a route without a method": asks(alice, {"route": {"path": "/"}}),
		"a route without a path": asks(alice, {"route": {"method": "GET"}}),
		"a path that is a number": asks(alice, {"route": {"method": "GET", "path": 1}}),
	}
	answer := decision.answer with input as question
		with data.ostiary.settings as settings
		with data.ostiary.access.permit as {0}
		with data.ostiary.access.forbid as set()
		with data.ostiary.routes.permit as {0}
		with data.ostiary.routes.forbid as set()
	answer == {"contract": 1, "revision": "r1"}
}

test_no_answer_without_settings if {
	not decision.answer with input as asks(alice, to("read")) with data.ostiary.settings as {}
}

test_a_rule_that_the_settings_do_not_list_never_permits if {
	answer := decision.answer with input as asks(alice, object.union(route("GET", "/v1/files"), to("read")))
		with data.ostiary.settings as object.union(settings, {"access": [], "routes": []})
		with data.ostiary.access.permit as {0}
		with data.ostiary.access.forbid as set()
		with data.ostiary.routes.permit as {0}
		with data.ostiary.routes.forbid as set()
	answer.resource == without_a_rule("deny", "no rule applies")
	answer.route == without_a_rule("deny", "no rule applies")
}

test_missing_rule_sets_never_permit if {
	answer := decision.answer with input as asks(alice, object.union(route("GET", "/v1/files"), to("read")))
		with data.ostiary.settings as settings
		with data.ostiary.access as {"permit": {0}}
		with data.ostiary.routes as {"permit": {0}}
	answer.resource.effect == "deny"
	answer.route.effect == "deny"
}

test_many_questions_are_answered_in_their_order_each_alone if {
	questions := [
		asks(alice, to("read")),
		asks(alice, {"action": "read"}),
		asks(null, route("GET", "/v1/files")),
		asks(null, object.union(route("GET", "/v1/health"), to("create"))),
		asks(alice, to("create")),
	]
	got := decision.answers with input as {"questions": questions}
		with data.ostiary.settings as settings
		with data.ostiary.access.permit as {3}
		with data.ostiary.access.forbid as set()
		with data.ostiary.routes as {"permit": set(), "forbid": set()}
		with data.ostiary.routes.forbid as {1}
	every answer in got { object.filter(answer, ["contract", "revision"]) == {"contract": 1, "revision": "r1"} }
	[object.remove(answer, ["contract", "revision"]) | some answer in got] == [
		{"resource": permit_by("access_policy", 3, [])},
		{},
		{"route": without_a_rule("deny", "a valid token is required")},
		{"route": deny_by("route_policy", 1), "resource": permit_by("access_policy", 3, [])},
		{"resource": permit_by("access_policy", 3, [{"id": "stamp_owner", "owner": alice}])},
	]
}

test_principals_that_stand_once_are_put_into_each_question[name] if {
	bob := object.union(alice, {"id": "bob"})
	owned := {"action": "read", "resource": object.union(to("read").resource, {"owner": bob})}
	named := {"action": "read", "resource": object.union(to("read").resource, {"owner": 1})}
	some name, pair in {
		"a route": {asks(0, route("GET", "/v1/files")): asks(alice, route("GET", "/v1/files"))},
		"an owned resource": {asks(0, named): asks(alice, owned)},
		"an owner that stands in the question": {asks(0, owned): asks(alice, owned)},
		"a caller that stands in the question": {asks(alice, named): asks(alice, owned)},
		"an unowned resource": {asks(0, to("read")): asks(alice, to("read"))},
		"anonymous": {asks(null, named): asks(null, owned)},
		"everything": {asks(0, object.union(route("GET", "/"), named)): asks(alice, object.union(route("GET", "/"), owned))},
	}
	some short, full in pair
	decision.in_full(short) == full with input as {"principals": [alice, bob]}
}

test_principals_that_stand_once_are_judged_as_in_each_question if {
	principals := [alice, object.union(alice, {"id": "bob"})]
	short := [asks(place, part) | some place in [0, 1, null]; some part in [to("create"), route("GET", "/v1/files")]]
	full := [asks(caller, part) |
		some caller in array.concat(principals, [null])
		some part in [to("create"), route("GET", "/v1/files")]
	]
	one := decision.answers with input as {"principals": principals, "questions": short}
		with data.ostiary.settings as settings
		with data.ostiary.access as {"permit": {3}, "forbid": set()}
		with data.ostiary.routes as {"permit": {3}, "forbid": set()}
	other := decision.answers with input as {"questions": full}
		with data.ostiary.settings as settings
		with data.ostiary.access as {"permit": {3}, "forbid": set()}
		with data.ostiary.routes as {"permit": {3}, "forbid": set()}
	count(one) == 6
	one == other
}

test_a_place_that_is_not_there_gets_no_answer[name] if {
	owned := object.union(to("read").resource, {"owner": 1})
	some name, question in {
		"a caller": asks(1, to("read")),
		"a caller below 0": asks(-1, to("read")),
		"half a place": asks(0.5, to("read")),
		"no caller": to("read"),
		"an owner": asks(0, {"action": "read", "resource": owned}),
		"an owner of a resource with a route": asks(0, object.union(route("GET", "/v1/files"), {"resource": owned})),
		"no owner": asks(0, {"action": "read", "resource": object.remove(owned, ["owner"])}),
	}
	answers := decision.answers with input as {"principals": [alice], "questions": [question, asks(0, to("read"))]}
		with data.ostiary.settings as settings
		with data.ostiary.access as {"permit": {3}, "forbid": set()}
		with data.ostiary.routes as {"permit": {3}, "forbid": set()}
	count(answers) == 1
}

test_no_questions_get_no_answers[name] if {
	some name, question in {
		"an empty list": {"questions": []},
		"not asked": {},
		"a question alone": asks(alice, to("read")),
	}
	decision.answers == [] with input as question with data.ostiary.settings as settings
}

test_the_first_limit_that_applies_is_an_obligation_of_the_route if {
	answer := decision.answer with input as asks(alice, route("GET", "/v1/models"))
		with data.ostiary.settings as no_route_policy
		with data.ostiary.limits.permit as {1, 3}
	answer.route.obligations == [{"id": "use_limit", "limit": 1}]
	answer.route.effect == "permit"
}

test_a_rule_that_permits_the_route_carries_the_limit_too if {
	answer := decision.answer with input as asks(alice, route("GET", "/v1/models"))
		with data.ostiary.settings as settings
		with data.ostiary.routes as {"permit": {2}, "forbid": set()}
		with data.ostiary.limits.permit as {0}
	answer.route == permit_by("route_policy", 2, [{"id": "use_limit", "limit": 0}])
}

test_where_no_limit_applies_there_is_none if {
	every applying in [set(), null] {
		answer := decision.answer with input as asks(alice, route("GET", "/v1/models"))
			with data.ostiary.settings as no_route_policy
			with data.ostiary.limits.permit as applying
		answer.route.obligations == []
	}
}

test_a_refused_route_has_no_limit if {
	answer := decision.answer with input as asks(alice, route("GET", "/v1/models"))
		with data.ostiary.settings as settings
		with data.ostiary.routes as {"permit": set(), "forbid": set()}
		with data.ostiary.limits.permit as {0}
	answer.route.obligations == []
	answer.route.effect == "deny"
}

shielded := [{"id": "use_shields", "shields": ["guard", "words"]}]

with_shields := object.union(settings, {
	"access": [object.union(entry("access_policy", 0), {"obligations": shielded})],
	"routes": [object.union(entry("route_policy", 0), {"obligations": shielded})],
})

test_a_rule_that_requires_shields_carries_them_behind_the_limit if {
	answer := decision.answer with input as asks(alice, object.union(route("POST", "/v1/completions"), to("read")))
		with data.ostiary.settings as with_shields
		with data.ostiary.routes as {"permit": {0}, "forbid": set()}
		with data.ostiary.access as {"permit": {0}, "forbid": set()}
		with data.ostiary.limits.permit as {1}
	answer.route == permit_by("route_policy", 0, array.concat([{"id": "use_limit", "limit": 1}], shielded))
	answer.resource == permit_by("access_policy", 0, shielded)
}

test_a_refusal_requires_no_shield if {
	answer := decision.answer with input as asks(alice, object.union(route("POST", "/v1/completions"), to("read")))
		with data.ostiary.settings as with_shields
		with data.ostiary.routes as {"permit": set(), "forbid": {0}}
		with data.ostiary.access as {"permit": set(), "forbid": {0}}
	answer.route == deny_by("route_policy", 0)
	answer.resource == deny_by("access_policy", 0)
}
