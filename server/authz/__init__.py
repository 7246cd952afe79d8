"""Authorization: questions to the policy engine, its decisions, and their log.

Handlers use the gate of `request_authorization`. `pep` turns decisions into refusals or, by `granting`, into permits,
and logs them; `pdp` asks one question over `opa.transport`. `contract` has the question, the answer and the record
filter as the bundle knows them, `opa` the process and the connections of OPA, `decision_log` the lines and the files
of the log. `readiness` tells whether the wanted policy is in force.
"""
