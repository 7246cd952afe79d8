"""The compiler: policies become Rego, and Rego becomes a bundle.

Emits only when each rule applies; how rules combine is written by hand in `rego/`. Imports `policy`, never `server`.
"""
