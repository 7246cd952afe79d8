"""Providers of models: the connection and the capabilities that each implements, and the failures that it raises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from server.inference.attachments import Attachments
from server.inference.members import MemberRules
from server.inference.own_models import OwnModels

DONE: Final = b"data: [DONE]\n\n"
"""The last event of a stream."""

Pieces = Sequence[bytes | memoryview]
"""A text that may be large, cut where that saved a copy."""


class Fault(StrEnum):
    """The party at fault, which tells the caller to mend the request, to wait, or to do neither.

    A provider that is `PAUSED` is not asked for a while, because it kept failing.
    """

    REQUEST = "request"
    BUSY = "busy"
    PROVIDER = "provider"
    PAUSED = "paused"


class Kind(StrEnum):
    """The kind of a failure, for the log and the metrics."""

    REFUSED = "refused"
    BUSY = "busy"
    STATUS = "status"
    TOLD = "error in an answer"
    UNREACHABLE = "unreachable"
    SILENT = "silent"
    BROKEN = "broken answer"
    PAUSED = "paused"


class ProviderFailed(Exception):
    """A provider did not answer as it should.

    The message is one sentence of ours, safe to show: never a word of the provider's own. `code` and `param` are
    OpenAI's names for what is wrong, where the provider gave one that is known; `retry_after` is in seconds. `spent`
    if it may have worked before it failed, `unsent` if no byte of the request has reached it, `hopeless` if the same
    request would fail again. `status` is the one that it
    answered with, and `said` its own words on one line, for the log of an operator who wants them.
    """

    def __init__(
        self,
        fault: Fault,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        spent: bool = False,
        unsent: bool = False,
        kind: Kind = Kind.REFUSED,
        status: int | None = None,
        hopeless: bool = False,
        said: str = "",
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.spent = spent
        self.unsent = unsent
        self.kind = kind
        self.status = status
        self.hopeless = hopeless
        self.said = said


class Task(StrEnum):
    """The kinds of work that a model is asked for, named after OpenTelemetry's operations."""

    CHAT = "chat"
    TEXT = "text_completion"
    EMBEDDING = "embeddings"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Requirements of an answer: `count` is the number of its embeddings, or of its choices.

    Embeddings have `dimensions` numbers, where the caller gave one, and are in base64 if `base64`. `full` is the number
    that the model's own embeddings have, where the configuration says so.
    """

    count: int
    base64: bool = False
    dimensions: int | None = None
    full: int | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request to a model, most often a chat.

    `payload` is the caller's body to the byte, but for the name of the model, which is the provider's own, and for what
    the `MemberRules` of the provider change. It is JSON with a single meaning: an object with a list of `messages`.
    `model_id` is the canonical name that answers carry, and `answer_id` their id; None leaves that to the provider.
    `with_usage` is true if a stream is to report usage. Where this server alone wants that, `unasked` returns the
    payload that doesn't ask for it. `request_id` is that of the caller's request, for the log. With another `task` the
    payload has the members of that one, and the answer its form; `wanted` says more about it. Where files go with the
    request, the payload has marks in the places of their bytes, which are `attached`.
    """

    model_id: str
    payload: bytes
    answer_id: str | None = None
    with_usage: bool = False
    unasked: Callable[[], bytes] | None = None
    request_id: str = ""
    task: Task = Task.CHAT
    wanted: Wanted | None = None
    attached: Attachments | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that an answer has cost, as its provider reports them.

    `total` is what budgets charge. `cached` are those of the prompt that the provider had read before. A part that is
    not reported is 0.
    """

    total: int
    prompt: int = 0
    completion: int = 0
    cached: int = 0


class Counted(list[bytes | memoryview]):
    """The pieces of an answer whose cost in `tokens` is known, or known to be untold (None)."""

    def __init__(self, pieces: Iterable[bytes | memoryview], tokens: Tokens | None) -> None:
        super().__init__(pieces)
        self.tokens = tokens


class ChatStream(Protocol):
    """An answer under way: whole server-sent events, in the pieces in which they come; the last piece ends with `DONE`.

    Iterating raises ProviderFailed if the provider breaks off. `aclose` ends the provider's work at once if there is
    any left; it must be called, and may be called twice.
    """

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces; can be iterated once."""
        ...

    async def aclose(self) -> None:
        """Give up what is not yet read."""
        ...


class HealthStatus(StrEnum):
    """The two states of a provider, as clients read them."""

    OK = "OK"
    ERROR = "Error"


HEALTH_SECONDS: Final = 1.0
"""Limit of the age of a finding about a provider's health."""


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """A provider's status; `message` says in one sentence what is wrong, and is empty where nothing is.

    `breaker` is the state of its circuit breaker, where it has one. `is_away` is true if it was not reached, was silent
    or answered with 500 or more; a service that refuses to tell is there.
    """

    status: HealthStatus
    message: str = ""
    breaker: str | None = None
    is_away: bool = False


class Connection(Protocol):
    """Reaches the service that runs models; started once in the event loop that will use it."""

    async def start(self) -> None:
        """Make ready; contacts nothing."""
        ...

    async def close(self) -> None:
        """Close everything that is open."""
        ...

    async def health(self) -> ProviderHealth:
        """Return whether the service answers, known to within a few seconds; never raises."""
        ...


class ChatModel(Protocol):
    """The capability to answer chats, and other tasks. A wrapper wraps each of these calls, and nothing else."""

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer, a `chat.completion` as JSON; raises ProviderFailed, and NotSent for files that can't
        be had. Cancelling it ends the work.
        """
        ...

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return when the provider has accepted the request; raises ProviderFailed if it does not, and NotSent."""
        ...


class TokenCounter(Protocol):
    """The capability to count the tokens of a prompt as the model reads it, without an answer."""

    async def count(self, request: ChatRequest) -> int:
        """Return the tokens of a chat's prompt; raises ProviderFailed."""
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    """A connection to a service that runs models, and its capabilities, which use that connection.

    `members` are the rules for bodies that reach it. `chat` is asked for the `tasks` alone, and for the models in
    `allowed`, by the provider's own names, where these are not None. `own` tells which models it has, if it can.
    `tokenizer` returns the file, as the package `tokenizers` writes it, by which its embedding models divide texts;
    None where the server has none. `files` returns those that its embedding models consist of; none where they run on
    another machine. `kind` is the type of the provider. `counter` counts the tokens of its chats; None where an
    estimate has to do. The messages of its models have their earlier reasoning in the member `thoughts`; it takes none
    back if that is empty.
    """

    connection: Connection
    chat: ChatModel
    members: MemberRules = field(default_factory=MemberRules)
    tasks: frozenset[Task] = frozenset({Task.CHAT})
    allowed: frozenset[str] | None = None
    own: OwnModels | None = None
    tokenizer: Callable[[], Path | None] = lambda: None
    files: Callable[[], Sequence[Path]] = tuple
    kind: str = ""
    counter: TokenCounter | None = None
    thoughts: str = ""

    def allows(self, model: str) -> bool:
        """Return whether it may be asked for a model of this name."""
        return self.allowed is None or model in self.allowed


class ByTask:
    """Models that each do one kind of work, as one model."""

    def __init__(self, models: Mapping[Task, ChatModel]) -> None:
        self._models = models

    @property
    def tasks(self) -> frozenset[Task]:
        """The kinds of work that can be asked for."""
        return frozenset(self._models)

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer."""
        return await self._models[request.task].complete(request)

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the answer as a stream."""
        return await self._models[request.task].stream(request)
