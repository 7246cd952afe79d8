"""The policy compiler: policies become Rego, and Rego becomes a bundle.

It emits when each rule applies; how rules combine is written by hand in `rego/`. Imports `policy`, never `server`.
"""
