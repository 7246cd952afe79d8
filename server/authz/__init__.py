"""Asking the policy engine, and holding every caller to its answers.

`pep` is what the rest of the server uses: it yields a `Permit` or raises. `pdp` asks one question over `transport`;
`question` and `answer` are the two sides of the contract with the bundle; `clauses` is the answer about a list of
records. `opa_process` is the life of an embedded OPA, `readiness` says whether the policy that is wanted is the one in
force, `decision_log` writes down every decision.
"""
