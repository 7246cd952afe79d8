"""HTTP: the protocol, the guards in front of the handlers, and what handlers share."""
