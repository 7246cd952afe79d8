"""The group of commands `ostiary`, which knows the place of a command that is looked for at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperGroup

if TYPE_CHECKING:
    import typer

_ELSEWHERE: Final = {name: f"policy {name}" for name in ("check", "compile", "decide", "explain", "matrix", "test")} | {
    "serve": "run",
    "start": "run",
    "version": "--version",
}


class Commands(TyperGroup):
    """The commands, and hints for those of `ostiary policy` and for names that other servers have."""

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Return the command that `args` begin with; raise the usage error of one that is missing."""
        if args and args[0] not in self.commands and args[0] in _ELSEWHERE:
            ctx.fail(f"No such command '{args[0]}'. Did you mean 'ostiary {_ELSEWHERE[args[0]]}'?")
        return super().resolve_command(ctx, args)
