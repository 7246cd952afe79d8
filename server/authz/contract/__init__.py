"""The contract with the policy bundle: the question, the answer, the record filter, and the errors."""
