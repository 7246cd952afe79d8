# METADATA
# title: The decision
# description: How rules combine. The first applicable rule decides; where none applies, the answer is deny.
# schemas:
#   - input: schema.input
package ostiary.decision

import data.ostiary.access
import data.ostiary.conditions
import data.ostiary.routes
import data.ostiary.settings

# METADATA
# title: The answer to one question
# description: >-
#   Holds `route` if a route was asked about, `resource` if a resource was. A malformed question gets neither,
#   and the server refuses an answer to anything but what it asked.
# entrypoint: true
answer := object.union({"contract": settings.contract, "revision": settings.revision}, decisions)

decisions["route"] := route if {
	is_string(input.route.method)
	is_string(input.route.path)
}

decisions["resource"] := resource if {
	input.action in {"create", "read", "update", "delete"}
	is_string(input.resource.type)
	count(input.resource.names) > 0
}

# METADATA
# title: The answers to many questions, in their order
# description: >-
#   Each question is judged alone, exactly as `answer` judges it. A principal that several of them name may stand once,
#   in `principals`; then a question has its place there. A place that isn't there leaves its question without answer.
# entrypoint: true
answers := [reply | some question in input.questions; reply := answer with input as question] if {
	not input.principals
} else := [reply | some question in input.questions; reply := answer with input as in_full(question)]

# METADATA
# title: The question as it is asked alone
in_full(question) := object.union(question, {
	"principal": named(question.principal),
	"resource": {"owner": named(question.resource.owner)},
}) if {
	question.resource
} else := object.union(question, {"principal": named(question.principal)}) if {
	not question.resource
}

# METADATA
# title: The principal at a place, or the one that stands in the question itself
named(principal) := input.principals[principal] if {
	is_number(principal)
} else := principal if {
	not is_number(principal)
}

# METADATA
# title: May this route be used?
route := vetoed(route_vetoes) if {
	count(route_vetoes) > 0
} else := denied("a valid token is required") if {
	token_required
} else := object.union(permitted("no route policy is configured"), {"obligations": limits}) if {
	settings.route_policy == "absent"
} else := object.union(
	settings.routes[first],
	{"effect": "permit", "reason": "the rule permits it", "obligations": array.concat(
		limits,
		object.get(settings.routes[first], "obligations", []),
	)},
) if {
	first := min(routes.permit | routes.forbid)
	first in routes.permit
} else := object.union(settings.routes[first], forbidden) if {
	first := min(routes.permit | routes.forbid)
} else := denied("no rule applies")

# METADATA
# title: May this action be done to this resource?
resource := vetoed(resource_vetoes) if {
	count(resource_vetoes) > 0
} else := permitted("authentication is not configured") if {
	conditions.authentication_off
} else := object.union(
	settings.access[first],
	{"effect": "permit", "reason": "the rule permits it", "obligations": array.concat(
		obligations,
		object.get(settings.access[first], "obligations", []),
	)},
) if {
	first := min(access.permit | access.forbid)
	first in access.permit
} else := object.union(settings.access[first], forbidden) if {
	first := min(access.permit | access.forbid)
} else := denied("no rule applies")

# METADATA
# title: Routes that answer without a token, unless the route policy closes them
public_paths := {"/v1/health", "/v1/version"}

# METADATA
# title: The caller must present a token first
token_required if {
	not conditions.authenticated
	not conditions.authentication_off
	not public_route
}

public_route if {
	input.route.method in {"GET", "HEAD"}
	input.route.path in public_paths
}

# METADATA
# title: The quota's limit that the server must keep
# description: The first of `server.quota.limits` that applies, by its place in the list; none where none applies.
default limits := []

limits := [{"id": "use_limit", "limit": min(data.ostiary.limits.permit)}] if {
	count(data.ostiary.limits.permit) > 0
}

# METADATA
# title: The obligations of a permitted create
# description: Those of a rule, which is to use shields, stand in its settings.
default obligations := []

obligations := [{"id": "stamp_owner", "owner": input.principal}] if {
	input.action == "create"
	conditions.authenticated
}

# METADATA
# title: An answer determined by a forbid
# description: >-
#   It goes with the settings of the rule: its name, source and description. For a permit the same stands in the rules
#   above, since a call of a function costs as much there as the whole choice of a rule.
forbidden := {"effect": "deny", "reason": "the rule forbids it", "obligations": []}

permitted(reason) := object.union(undetermined, {"effect": "permit", "reason": reason})

denied(reason) := object.union(undetermined, {"effect": "deny", "reason": reason})

# METADATA
# title: Denials by a security team's own Rego, which override every permit
# description: >-
#   A guardrail is `deny contains {"reason": "…"} if {…}` in the package `ostiary.guardrails`. In the bundle its head
#   states its place: `deny["frozen.rego:8"] contains …`. Any element denies, an object or not.
vetoes := elements(data.ostiary.guardrails.deny)

# METADATA
# title: Each denial with its place
elements(deny) := {[place, element] |
	some place, denied in deny
	some element in denied
} if {
	is_object(deny)
} else := {["guardrails", element] | some element in deny}

# METADATA
# title: The denials of the route
# description: >-
#   A route is judged as if it were asked about alone: a denial of the resource must not show in the answer about the
#   route.
route_vetoes := found if {
	found := vetoes with input as object.remove(input, {"action", "resource"})
}

# METADATA
# title: The denials of the resource
# description: >-
#   A table of records may have two names. It is judged under each of them, so that a guardrail may know it by either.
resource_vetoes := vetoes | {veto |
	some type in input.resource.types
	some veto in vetoes with input as object.union(input, {"resource": {"type": type}})
}

vetoed(found) := {
	"effect": "deny",
	"rule": "guardrails",
	"source": concat(", ", sort({place | some [place, _] in found})),
	"description": concat("; ", sort({told(element) | some [_, element] in found})),
	"reason": "a guardrail forbids it",
	"obligations": [],
}

told(element) := element if {
	is_string(element)
} else := element.reason if {
	is_string(element.reason)
} else := "the guardrail gives no reason"

undetermined := {"rule": null, "source": null, "description": null, "obligations": []}
