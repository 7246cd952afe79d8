"""What a request costs: the server beside the leanest thing that could stand in its place, measured in one run.

`python -m bench` is `make bench`, `python -m bench.profile` is `make profile`. Nothing of the product imports this.
"""
