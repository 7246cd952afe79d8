# METADATA
# title: Access to OPA's API over TCP
# description: >-
#   Loaded from local disk, never from the bundle, so that write access to the bundle doesn't give access to OPA's API.
#   On the private Unix socket of `ostiary run` the file system restricts access, and this isn't loaded. The
#   tokens come from a local data file: `{"ostiary_tokens": {"server": "…", "operator": "…"}}`.
package system.authz

# METADATA
# title: Deny every request by default
default allow := false

# METADATA
# title: The server asks for decisions, by fixed paths and with strict errors
allow if {
	caller == "server"
	input.method == "POST"
	input.path in entrypoints
	object.keys(input.params) - {"strict-builtin-errors"} == set()
}

entrypoints := {
	["v1", "data", "ostiary", "decision", "answer"],
	["v1", "data", "ostiary", "decision", "answers"],
	["v1", "data", "ostiary", "filters", "answer"],
}

# METADATA
# title: Health, for every client
allow if {
	input.method == "GET"
	input.path == ["health"]
}

# METADATA
# title: Metrics and the state of the bundle, for server and operator
allow if {
	caller in {"server", "operator"}
	input.method == "GET"
	input.path in {["metrics"], ["v1", "status"]}
}

caller := name if {
	some name, token in data.ostiary_tokens
	count(token) >= 32
	input.identity == token
}
