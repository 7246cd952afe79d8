"""Responses in the background: a queue, the work on each as its caller, stored events, and their readers."""
