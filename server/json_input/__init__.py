"""Reading JSON that strangers wrote: one parse, one meaning, and nobody else waits for it."""
