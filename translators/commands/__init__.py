"""`ostiary policy …`: what an author of policies does at the terminal.

Exit codes: 0 all is well; 1 warnings under `--strict`, or a compiled directory that isn't current; 2 the file can't be
used, or OPA can't be asked.
"""

from translators.commands.app import app

__all__ = ["app"]
