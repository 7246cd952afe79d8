# METADATA
# title: Guardrails
# description: What nobody may do, whatever the rules in config.yaml permit.
# schemas:
#   - input: schema.input
package ostiary.guardrails

# METADATA
# title: Frozen models answer nobody
deny contains {"reason": "this model is frozen while it is examined"} if {
	input.resource.type == "model"
	some name in input.resource.names
	contains(name, "frozen-")
}

# METADATA
# title: Contractors delete nothing
deny contains {"reason": "contractors delete nothing"} if {
	input.action == "delete"
	"contractor" in input.principal.attributes.roles
}
