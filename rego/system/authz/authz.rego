# METADATA
# title: Who may ask OPA what, over TCP
# description: >-
#   Loaded from local disk beside the bundle, never from inside it, so that whoever can change the bundle still can't
#   unlock OPA. On the private Unix socket of `ostiary run` the file system is the lock, and this isn't loaded. The
#   tokens come from a local data file: `{"ostiary_tokens": {"server": "…", "operator": "…"}}`.
package system.authz

# METADATA
# title: Nothing that isn't named here
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
# title: Health, for whoever probes
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
