"""Work that runs beside requests, and the report of its faults."""
