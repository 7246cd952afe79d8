# METADATA
# title: Conditions
# description: The meaning of each condition of a rule. Generated rules call these and never repeat them.
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
#   The bundle says so, and the principal is null. A request without a token while authentication is configured never
#   gets this far.
authentication_off if {
	data.ostiary.settings.authentication == "off"
	is_null(input.principal)
}

# METADATA
# title: The resource's owner in a condition
# description: For a create, the owner is the caller.
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
shares_with_owner(attribute) if shared[attribute]

# METADATA
# title: The attributes of which the caller has a value that the owner has too
# description: >-
#   By sets, and as a complete rule, which OPA works out once for all rules that ask: hundreds of values on either side,
#   or hundreds of rules, don't multiply.
shared := {attribute |
	some attribute, owned in owner.attributes
	held := values[attribute]
	some value in owned
	held[value]
}

# METADATA
# title: The caller's values of an attribute, as a set
values[attribute] := {value | some value in listed} if some attribute, listed in input.principal.attributes

# METADATA
# title: resource is unowned
unowned if not owner

# METADATA
# title: resource is from config
from_config if input.resource.origin == "config"
