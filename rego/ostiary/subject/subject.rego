# METADATA
# title: Subjects
# description: The strings that resource patterns are matched against.
# schemas:
#   - input: schema.input
package ostiary.subject

# METADATA
# title: Every spelling of the resource's type
# description: A table of records that the configuration names has its standard name and that one.
types contains input.resource.type

types contains type if some type in input.resource.types

types contains "vector_db" if input.resource.type == "vector_store"

# METADATA
# title: One subject for each type spelling and each name of the resource
# description: A rule matches when any of them matches, so that no alias dodges a forbid.
subjects contains concat("::", [type, name]) if {
	some type in types
	some name in input.resource.names
}
