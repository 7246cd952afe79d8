# METADATA
# title: Conditions
# description: What the conditions of a rule mean. The compiler calls these; it never spells them out again.
# schemas:
#   - input: schema.input
package ostiary.conditions

# METADATA
# title: user is authenticated
authenticated if is_object(input.principal)

# METADATA
# title: user with VALUE in ATTRIBUTE
# description: >-
#   For negations. OPA evaluates the arguments of a call before `not`, so that `not "x" in input.…` would be undefined
#   for an absent attribute, where the language says that it holds.
has_value(value, attribute) if value in input.principal.attributes[attribute]

# METADATA
# title: Authentication isn't configured
# description: >-
#   The bundle says so, and nobody is named. A request without a token while authentication is configured never
#   takes this path.
authentication_off if {
	data.ostiary.settings.authentication == "off"
	is_null(input.principal)
}

# METADATA
# title: The resource's owner, as a rule sees it
# description: For a create, the owner is the caller to be.
owner := input.principal if {
	input.action == "create"
	is_object(input.principal)
}

owner := input.resource.owner if {
	not input.action == "create"
	is_object(input.resource.owner)
}

# METADATA
# title: user is owner
# description: The same id from another issuer is another principal.
user_is_owner if {
	is_object(input.principal)
	owner.id == input.principal.id
	owner.issuer == input.principal.issuer
}

# METADATA
# title: user in owners ATTRIBUTE
shares_with_owner(attribute) if {
	some value in input.principal.attributes[attribute]
	value in owner.attributes[attribute]
}

# METADATA
# title: resource is unowned
unowned if not owner

# METADATA
# title: resource is from config
from_config if input.resource.origin == "config"
