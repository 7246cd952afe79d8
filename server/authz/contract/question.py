"""A question for the policy engine, and its exact form on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Final

from policy.vocabulary import Action, Anonymous, Principal, Resource, Route
from server.authz.contract.errors import Failure, PolicyUnavailable

MALFORMED: Final = (
    b'{"input":{"principal":null,"route":{"method":"GET","path":null},"action":"probe",'
    b'"resource":{"type":"probe","names":["probe"],"owner":null,"origin":"created"}}}'
)
"""A question that must get no decision: its path is no path and its action no action."""

CANARY_ROUTE: Final = Route("GET", "/canary/that/must/not/sing")
"""The route that only readiness asks about."""

NEITHER: Final = b'{"input":{"principal":"neither","route":{"method":"%b","path":"%b"}}}' % (
    CANARY_ROUTE.method.encode(),
    CANARY_ROUTE.path.encode(),
)
"""A question that is denied under every policy, even while authentication is off: its caller is neither a principal
nor anonymous.
"""


@dataclass(frozen=True, slots=True)
class Question:
    """May `principal` use `route`, and may it do `action` to `resource`? At least one of the two is asked.

    `action` and `resource` come together; a question without both parts right raises ValueError when it is made.
    """

    principal: Principal | Anonymous
    route: Route | None = None
    action: Action | None = None
    resource: Resource | None = None

    def __post_init__(self) -> None:
        if (self.action is None) is not (self.resource is None):
            raise ValueError("an action and a resource are asked together")
        if self.route is None and self.resource is None:
            raise ValueError("a question asks for a route, a resource or both")

    @property
    def text_length(self) -> int:
        """The characters that rules compare with patterns: those of the path and of the resource's names."""
        length = 0 if self.route is None else len(self.route.path)
        if self.resource is not None:
            for name in self.resource.names:
                length += len(name)
        return length


@dataclass(slots=True)
class NextQuestion:
    """The question that comes next if the one before it is permitted; it may go to OPA with that one.

    `reply` is what OPA has said to it then, unread; None where it is still to be asked. The reply came at the time `at`
    of `perf_counter`, after so many `seconds`, with an answer of the policy's `revision`.
    """

    question: Question
    reply: bytes | None = None
    at: float = 0.0
    seconds: float = 0.0
    revision: str | None = None

    def asks(self, action: Action, resource: Resource) -> bool:
        """Return whether it asks exactly that."""
        return self.question.action is action and self.question.resource == resource


@dataclass(frozen=True, slots=True)
class ListQuestion:
    """To which stored records of `type` may `principal` do `action`? No record is stored that is to be created.

    `types` holds every name of a type that has several, `type` first.
    """

    principal: Principal | Anonymous
    action: Action
    type: str
    types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.action is Action.CREATE:
            raise ValueError("a list holds no records that are to be created")


def encode(question: Question) -> bytes:
    """Return the body of the request to OPA.

    Every text is checked on the way: one of another type, or one that is no Unicode text (a lone surrogate, which OPA
    would judge as another character than the one it stands for here), raises PolicyUnavailable. Built piece by piece,
    since that takes a fifth of the time of building dictionaries for `json.dumps`.
    """
    try:
        return f'{{"input":{{{_input(question, _principal)}}}}}'.encode()
    except (TypeError, AttributeError, UnicodeEncodeError):
        raise PolicyUnavailable(Failure.QUESTION, "the question holds something that is not text") from None


def encode_many(questions: Sequence[Question], longest: int) -> tuple[bytes, int]:
    """Return the body of one request that asks the first of `questions`, as strict as `encode`, and how many they are.

    They are one, and as many more as fit into `longest` bytes: a list of a caller with very many attributes must not
    go in as many requests as it has questions, each with all of them. Each caller and each owner stands in it once,
    however many of the questions name them.
    """
    try:
        return _first(questions, longest)
    except (TypeError, AttributeError, UnicodeEncodeError):
        raise PolicyUnavailable(Failure.QUESTION, "the question holds something that is not text") from None


def _first(questions: Sequence[Question], longest: int) -> tuple[bytes, int]:
    principals, named, listed, size = _Principals(), 0, list[bytes](), 0
    for question in questions:
        text = f"{{{_input(question, principals.place)}}}".encode()
        if listed:
            size += len(text) + len(b",")
            if size + principals.size > longest:
                break
        else:
            size -= principals.size
        listed.append(text)
        named = len(principals.texts)
    return _MANY % (b",".join(principals.texts[:named]), b",".join(listed)), len(listed)


class _Principals:
    """The principals that the questions of one request name by their places, each of them once."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.size = 0
        self._places: dict[bytes, str] = {}
        # Each is kept with its place, since a number of `id` is used again once its object is gone.
        self._known: dict[int, tuple[Principal, str]] = {}

    def place(self, principal: Principal) -> str:
        """Return the place of the principal, as JSON has it."""
        # Most questions have one caller, which need not be spelled again for each.
        known = self._known.get(id(principal))
        if known is not None:
            return known[1]
        text = _principal(principal).encode()
        place = self._places.get(text)
        if place is None:
            place = self._places[text] = str(len(self.texts))
            self.texts.append(text)
            self.size += len(text) + len(b",")
        self._known[id(principal)] = (principal, place)
        return place


def together(bodies: Sequence[bytes]) -> bytes:
    """Return one body that asks what each of these bodies of `encode` asks."""
    return b'{"input":{"questions":[%b]}}' % b",".join([body[len(b'{"input":') : -1] for body in bodies])


def _input(question: Question, spelled: Callable[[Principal], str]) -> str:
    """Return the members of a question, in which a principal stands as `spelled` says."""
    text = _caller(question.principal, spelled)
    if question.route is not None:
        method, path = encode_basestring(question.route.method), encode_basestring(question.route.path)
        text += f',"route":{{"method":{method},"path":{path}}}'
    if question.action is not None and question.resource is not None:
        text += f',"action":{encode_basestring(question.action)},"resource":{_resource(question.resource, spelled)}'
    return text


def encode_list(question: ListQuestion) -> bytes:
    """Return the body of the request to OPA, as strict as `encode`."""
    try:
        kind, action = encode_basestring(question.type), encode_basestring(question.action)
        types = _types(question.types)
        caller = _caller(question.principal, _principal)
        return f'{{"input":{{{caller},"action":{action},"type":{kind}{types}}}}}'.encode()
    except (TypeError, AttributeError, UnicodeEncodeError):
        raise PolicyUnavailable(Failure.QUESTION, "the question holds something that is not text") from None


def _caller(principal: Principal | Anonymous, spelled: Callable[[Principal], str]) -> str:
    return '"principal":null' if isinstance(principal, Anonymous) else f'"principal":{spelled(principal)}'


def _resource(resource: Resource, spelled: Callable[[Principal], str]) -> str:
    # A record about to be made has no name yet; its subject is then `type::`, and rules on the whole type see it.
    names = _texts(resource.names or ("",))
    owner = "null" if resource.owner is None else spelled(resource.owner)
    kind, origin = encode_basestring(resource.type), encode_basestring(resource.origin)
    return f'{{"type":{kind}{_types(resource.types)},"names":{names},"owner":{owner},"origin":{origin}}}'


def _types(types: tuple[str, ...]) -> str:
    return f',"types":{_texts(types)}' if types else ""


def _principal(principal: Principal) -> str:
    identity, issuer = encode_basestring(principal.id), encode_basestring(principal.issuer)
    return f'{{"id":{identity},"issuer":{issuer},"attributes":{_attributes(principal.attributes)}}}'


def _attributes(attributes: Mapping[str, tuple[str, ...]]) -> str:
    members = ",".join([f"{encode_basestring(name)}:{_texts(values)}" for name, values in attributes.items()])
    return f"{{{members}}}"


def _texts(values: tuple[str, ...]) -> str:
    if type(values) is not tuple:
        # A text is a sequence of texts too: `admin` must not become five roles.
        raise TypeError
    return f"[{','.join(map(encode_basestring, values))}]"


_MANY: Final = b'{"input":{"principals":[%b],"questions":[%b]}}'
