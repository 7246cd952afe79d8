"""The command `ostiary token`: a token for development."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from server.config.home import home

_FAILED: Final = 2


def token(
    subject: Annotated[str, typer.Option(help="Who the token is for.")],
    role: Annotated[list[str] | None, typer.Option(help="A role of theirs; may be repeated.")] = None,
    team: Annotated[list[str] | None, typer.Option(help="A team of theirs; may be repeated.")] = None,
    project: Annotated[list[str] | None, typer.Option(help="A project of theirs; may be repeated.")] = None,
    namespace: Annotated[list[str] | None, typer.Option(help="A namespace of theirs; may be repeated.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Who vouches for them; `ostiary-development` by default.")] = None,
    seconds: Annotated[int, typer.Option(help="How long it is valid.")] = 3600,
) -> None:
    """Print a token that is signed with the development key, which is made on first use."""
    from server.authn.development import DEVELOPMENT_ISSUER, DevelopmentKeyUnusable, issue_token

    try:
        made = issue_token(
            home(),
            subject,
            roles=role or (),
            teams=team or (),
            projects=project or (),
            namespaces=namespace or (),
            lifetime_seconds=seconds,
            issuer=DEVELOPMENT_ISSUER if issuer is None else issuer,
        )
    except (DevelopmentKeyUnusable, ValueError) as failure:
        sys.stderr.write(f"error: {failure}\n")
        raise typer.Exit(_FAILED) from None
    sys.stdout.write(f"{made}\n")
