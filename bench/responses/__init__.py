"""What responses cost: stored ones, their streams, and each of their events."""
