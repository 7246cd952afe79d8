# METADATA
# title: The fields that OPA's own decision log leaves out
# description: >-
#   Attributes say more about people than a log of decisions needs. The server's own decision log, which is the
#   authoritative one, doesn't hold them either. `input` is the log event; the question is `input.input`.
package system.log

# METADATA
# title: The caller's and the owner's attributes
mask contains "/input/principal/attributes"

mask contains "/input/resource/owner/attributes"

# METADATA
# title: The owner to be stamped, which repeats the caller's attributes
mask contains "/result/resource/obligations"

# METADATA
# title: The attributes in questions that are asked together
mask contains sprintf("/input/questions/%d/principal/attributes", [place]) if some place, _ in input.input.questions

mask contains sprintf("/input/questions/%d/resource/owner/attributes", [place]) if {
	some place, _ in input.input.questions
}

mask contains sprintf("/input/principals/%d/attributes", [place]) if some place, _ in input.input.principals

mask contains sprintf("/result/%d/resource/obligations", [place]) if some place, _ in input.input.questions

# METADATA
# title: The values that clauses of a list compare, which repeat the caller's attributes
mask contains sprintf("/result/clauses/%d/where/%d/values", [place, fact]) if {
	some place, clause in input.result.clauses
	some fact, compared in clause.where
	compared.values
}
