"""The life of a server process: start, workers, serving, draining."""
