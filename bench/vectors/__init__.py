"""The cost of searches in vector stores, of filling them and of purging them."""
