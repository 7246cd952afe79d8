"""The commands `ostiary policy …` for authors of policies.

Exit codes: 0 success; 1 warnings under `--strict`, a compiled directory that isn't current, a policy test that failed;
2 an error in the command, the configuration or another file, or OPA can't be used.
"""

from translators.commands.app import app

__all__ = ["app"]
