"""The command `ostiary`: its subcommands, and the banner of a start."""
