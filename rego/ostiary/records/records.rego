# METADATA
# title: Facts about a record that isn't known yet
# description: >-
#   For lists. What `conditions` asks about one record, this says about any record of a type: true or false where the
#   question decides it, else a fact that the store looks up in each record. Nothing here is ever undefined, since a
#   forbid with an undefined fact would be lost.
# schemas:
#   - input: schema.input
package ostiary.records

import data.ostiary.conditions

# METADATA
# title: The result of a rule's test for the record
# description: Rules for lists write their tests by name. The server refuses a fact of no known form.
default fact(_) := {"fact": "unknown", "holds": true}

fact(["user_is_owner"]) := user_is_owner

fact(["shares_with_owner", attribute]) := shares_with_owner(attribute)

fact(["unowned"]) := unowned

fact(["from_config"]) := from_config

fact(["name_is", name]) := name_is(name)

fact(["subject_starts_with", prefix]) := subject_starts_with(prefix)

fact(["subject_contains", text]) := subject_contains(text)

fact(["undecided"]) := undecided

fact(["not", "user_is_owner"]) := negated(user_is_owner)

fact(["not", "shares_with_owner", attribute]) := negated(shares_with_owner(attribute))

fact(["not", "unowned"]) := negated(unowned)

fact(["not", "from_config"]) := negated(from_config)

# METADATA
# title: The record's name
name_is(name) := {"fact": "name_is", "holds": true, "name": name}

# METADATA
# title: The beginning of the record's subject
# description: Under one of the spellings of its type, as for a single record.
subject_starts_with(prefix) if {
	some spelling in spellings
	startswith(spelling, prefix)
} else := {"fact": "name_starts_with", "holds": true, "prefix": trim_prefix(prefix, spelling)} if {
	some spelling in spellings
	startswith(prefix, spelling)
} else := false

spellings contains concat("", [input.type, "::"])

spellings contains concat("", [type, "::"]) if some type in input.types

spellings contains "vector_db::" if input.type == "vector_store"

# METADATA
# title: A text in the record's subject
# description: The text has no colon, so that all of it is in the type or all of it in the name.
subject_contains(text) if {
	some spelling in spellings
	contains(spelling, text)
} else := {"fact": "name_contains", "holds": true, "text": text}

# METADATA
# title: A fact that only a question about the record itself decides
# description: A regular expression on its name, which databases spell in ways of their own.
undecided := {"fact": "undecided", "holds": true}

# METADATA
# title: user is owner
default user_is_owner := false

user_is_owner := {
	"fact": "owner_is",
	"holds": true,
	"id": input.principal.id,
	"issuer": input.principal.issuer,
} if {
	conditions.authenticated
}

# METADATA
# title: user in owners ATTRIBUTE
shares_with_owner(attribute) := fact if {
	values := conditions.values[attribute]
	count(values) > 0
	fact := {"fact": "owner_shares", "holds": true, "attribute": attribute, "values": values}
} else := false

# METADATA
# title: resource is unowned
unowned := {"fact": "unowned", "holds": true}

# METADATA
# title: resource is from config
from_config := {"fact": "from_config", "holds": true}

# METADATA
# title: The opposite of a fact
negated(fact) := object.union(fact, {"holds": false}) if {
	is_object(fact)
} else := fact == false
