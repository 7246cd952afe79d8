"""Benchmarks: the cost of a request, measured in one run beside a minimal server without a policy engine.

`python -m bench` is `make bench`, `python -m bench.profile` is `make profile`. Nothing of the product imports this.
"""
