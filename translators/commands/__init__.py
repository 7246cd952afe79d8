"""`ostiary policy …`: what an author of policies does at the terminal.

Exit codes: 0 all is well; 1 warnings under `--strict`, a compiled directory that isn't current, a policy test that
failed; 2 the command, the configuration or another file can't be used, or OPA can't be asked.
"""

from translators.commands.app import app

__all__ = ["app"]
