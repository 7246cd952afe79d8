"""A request to a model: its parsed body, the files that go with it, and what asks the model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from starlette.requests import Request

from server.api.models.asked_shields import Asked as AskedShield
from server.api.models.chosen import ChosenChat
from server.api.models.model import Model
from server.api.models.request_body import ModelBody
from server.authz.request_authorization import Gate
from server.http.pagination import missing_reference
from server.inference.attachments import Attachments
from server.inference.file_parts import NamedFile
from server.inference.members import Edit, Found, MemberRules
from server.inference.provider import ChatModel, ChatRequest
from server.json_input.body_parser import BodyParser
from server.safety.checks import Guard

Body = TypeVar("Body", bound=ModelBody)


@dataclass(frozen=True, slots=True)
class Parsers(Generic[Body]):
    """The parsers of one kind of body: `costed` estimates the tokens too, which is done only where they are counted."""

    plain: BodyParser[Body]
    costed: BodyParser[Body]

    def of(self, gate: Gate) -> BodyParser[Body]:
        """Return the parser for the request behind a gate."""
        return self.plain if gate.charge is None or not gate.charge.may_count_tokens else self.costed


@dataclass(frozen=True, slots=True)
class Attached:
    """The files that go with a request, and the edits that put their marks into its body.

    `tokens` are those of their texts, as far as they can be estimated. `foreign` is the first file that it names by an
    id that this server never gives; one provider may have it.
    """

    files: Attachments | None = None
    edits: Sequence[Edit] = ()
    tokens: int = 0
    foreign: NamedFile | None = None

    def check(self, rules: MemberRules) -> None:
        """Raise the 404 of a file that neither this server nor a provider with these rules has for the caller."""
        if self.foreign is not None and not rules.passes_file_ids:
            raise missing_reference(self.foreign.place, self.foreign.id)


NOTHING_ATTACHED: Final = Attached()

GuardOf: TypeAlias = Callable[[Gate, Sequence[AskedShield]], Awaitable[Guard]]
"""Returns the shields of the request behind a gate, which asks for these.

Raises the ApiError for one that the caller may not use.
"""

Attach: TypeAlias = Callable[[Request, Found], Awaitable[Attached]]
"""Returns the files that a body names; raises the ApiError for one that the caller may not read, or that is too large.
"""


async def nothing_attached(_request: Request, _found: Found) -> Attached:
    """Return that no files go with a request, since its kind names none."""
    return NOTHING_ATTACHED


@dataclass(frozen=True, slots=True)
class Asked(Generic[Body]):
    """A request that may be made: `answering` answers for the model, and takes `request`.

    `chosen` is the same, where the model names others that may answer in its place. `attached_tokens` are those of
    the files that go with it, as far as they can be estimated. `guard` has the shields that its texts go through; None
    where the server has none.
    """

    gate: Gate
    body: Body
    model: Model
    answering: ChatModel
    request: ChatRequest
    chosen: ChosenChat | None = None
    attached_tokens: int = 0
    guard: Guard | None = None
