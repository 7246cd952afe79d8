"""`/v1/vector_stores` and `/v1/vector-io`: stores of chunks, the files in them, and searches."""
