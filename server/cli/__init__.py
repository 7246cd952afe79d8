"""`ostiary`: the commands, and the banner of a start."""
