package system.authz_test

import data.system.authz

tokens := {"server": "s000000000000000000000000000000000", "operator": "o000000000000000000000000000000000"}

asked(identity, method, path, params) := {
	"identity": identity,
	"method": method,
	"path": path,
	"params": params,
}

answer_path := ["v1", "data", "ostiary", "decision", "answer"]

allowed := {
	"the server asks for a decision": asked(tokens.server, "POST", answer_path, {"strict-builtin-errors": ["true"]}),
	"the server asks for many": asked(tokens.server, "POST", ["v1", "data", "ostiary", "decision", "answers"], {}),
	"the server asks for a filter": asked(tokens.server, "POST", ["v1", "data", "ostiary", "filters", "answer"], {}),
	"anyone asks for health": asked("", "GET", ["health"], {"bundles": [""]}),
	"the operator reads metrics": asked(tokens.operator, "GET", ["metrics"], {}),
	"the server reads the status": asked(tokens.server, "GET", ["v1", "status"], {}),
}

refused := {
	"no token": asked("", "POST", answer_path, {}),
	"another token": asked("x000000000000000000000000000000000", "POST", answer_path, {}),
	"the operator decides": asked(tokens.operator, "POST", answer_path, {}),
	"a full explanation": asked(tokens.server, "POST", answer_path, {"explain": ["full"]}),
	"all data": asked(tokens.server, "GET", ["v1", "data"], {}),
	"another rule": asked(tokens.server, "POST", ["v1", "data", "ostiary", "settings"], {}),
	"a query of one's own": asked(tokens.server, "POST", ["v1", "query"], {}),
	"a new policy": asked(tokens.server, "PUT", ["v1", "policies", "x"], {}),
	"new data": asked(tokens.server, "PUT", ["v1", "data", "ostiary"], {}),
	"metrics without a token": asked("", "GET", ["metrics"], {}),
	"a health report by another method": asked("", "POST", ["health"], {}),
}

test_allowed[name] if {
	some name, question in allowed
	authz.allow with input as question with data.ostiary_tokens as tokens
}

test_refused[name] if {
	some name, question in refused
	not authz.allow with input as question with data.ostiary_tokens as tokens
}

test_a_short_token_is_no_token if {
	not authz.allow with input as asked("short", "GET", ["metrics"], {}) with data.ostiary_tokens as {"server": "short"}
}

test_without_tokens_nothing_but_health_is_allowed if {
	not authz.allow with input as allowed["the server asks for a decision"]
	authz.allow with input as allowed["anyone asks for health"]
}
