"""The cost of one greedy caller to a modest one: `python -m bench.neighbours`."""
