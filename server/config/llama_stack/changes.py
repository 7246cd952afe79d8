"""The changes that turn a configuration of Llama Stack into one of this server, each with its place and its reason."""

from __future__ import annotations

from collections.abc import Mapping as Environ
from dataclasses import dataclass, field
from enum import StrEnum

from policy.source.diagnostics import Diagnostic, Findings, Severity, Span, quoted, visible
from policy.source.document import Mapping, Node, Scalar, Sequence
from policy.source.environment import DISABLED, has_expression, substitute
from server.config.api_names import APIS, Standing, about_missing
from server.config.llama_stack.nodes import below, is_nothing


class Kind(StrEnum):
    """The kinds of changes."""

    KEPT = "kept"
    MOVED = "moved"
    IGNORED = "ignored (harmless)"
    REPLACED = "replaced"
    NOT_YET = "not served yet"
    NOT_SERVED = "not served"


@dataclass(frozen=True, slots=True)
class Change:
    """One change: `sentence` says what became of the place, `advice` what to do; it may be empty.

    Neither holds a value of the file other than ids and types.
    """

    kind: Kind
    span: Span
    sentence: str
    advice: str = ""

    def __str__(self) -> str:
        tail = f"; {self.advice}" if self.advice else ""
        return visible(f"{self.span.file}:{self.span.line}: {self.kind}: {self.sentence}{tail}")

    def as_json(self) -> dict[str, str | int]:
        """Return the change as a flat JSON object."""
        return {
            "kind": self.kind.value,
            "file": self.span.file,
            "line": self.span.line,
            "column": self.span.column,
            "message": self.sentence,
            "hint": self.advice,
        }


@dataclass(frozen=True, slots=True)
class Translation:
    """A configuration of this server: its document, whose places are those of the original, and the changes.

    `foreign` says that the original is one of Llama Stack. `findings` holds what can't be translated.
    """

    document: Mapping
    foreign: bool = False
    changes: tuple[Change, ...] = ()
    findings: Findings = field(default_factory=Findings)

    def warnings(self) -> list[Diagnostic]:
        """Return a warning for each change, for a start with the original."""
        told = [change for change in self.changes if change.kind is not Kind.KEPT]
        return [
            Diagnostic(Severity.WARNING, "llama-stack", f"{change.kind}: {change.sentence}", change.span, change.advice)
            for change in told
        ]


@dataclass(slots=True)
class Journal:
    """Collects changes and what can't be translated.

    `environ` is the environment of a start, None for an import. At a start nothing may be left out that isn't served:
    each such part is an error, unless a variable switches it off. `reported` holds the APIs that parts were reported
    for.
    """

    environ: Environ[str, str] | None = None
    reported: set[str] = field(default_factory=set)
    changes: list[Change] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    @property
    def for_start(self) -> bool:
        """Return whether the document is about to be served."""
        return self.environ is not None

    def is_off(self, node: Node) -> bool:
        """Return whether the environment of a start switches off this entry of a list."""
        ids = [below(node, key) for key in ("provider_id", "shield_id")] if self.environ is not None else []
        return any(_gives_nothing(written.text, self.environ or {}) for written in ids if isinstance(written, Scalar))

    def is_empty(self, node: Node) -> bool:
        """Return whether nothing is in a part, or only what the environment of a start switches off."""
        return is_nothing(node) or (isinstance(node, Sequence) and all(map(self.is_off, node.items)))

    def is_unset(self, node: Node) -> bool:
        """Return whether nothing is in a value, or a variable that gives nothing; in an import, by its default."""
        if is_nothing(node):
            return True
        if not isinstance(node, Scalar) or not has_expression(node.text):
            return False
        return node.text.endswith(":=}") if self.environ is None else _gives_nothing(node.text, self.environ)

    def add(self, kind: Kind, span: Span, sentence: str, advice: str = "") -> None:
        """Add a change."""
        if self.for_start and kind in (Kind.NOT_YET, Kind.NOT_SERVED):
            self.findings.error("not-available", span, sentence, advice)
        else:
            self.changes.append(Change(kind, span, sentence, advice))

    def lacks(self, span: Span, what: str, advice: str) -> None:
        """Add that `what`, a part of the configuration, isn't served."""
        self.add(Kind.NOT_SERVED, span, f"{what} is not served" if self.for_start else what, advice)

    def follow(self, kind: Kind, span: Span, sentence: str, advice: str = "") -> None:
        """Add a change that follows from another one, which is an error already where nothing may be left out."""
        if not self.for_start:
            self.add(kind, span, sentence, advice)

    def missing(self, api: str, span: Span, what: str) -> None:
        """Add that `what`, a part of the configuration, needs an API that isn't served; a start reports an API once."""
        if self.for_start and api in self.reported:
            return
        self.reported.add(api)
        kind = Kind.NOT_YET if APIS[api].standing is Standing.LATER else Kind.NOT_SERVED
        self.add(kind, span, about_missing(api, what) if self.for_start else what, APIS[api].advice)

    def without_effect(self, api: str, span: Span, what: str) -> None:
        """Add that `what`, a setting of an API that isn't served, has no effect; a start may ignore it."""
        if self.for_start:
            self.add(Kind.IGNORED, span, f"{what} has no effect while {quoted(api)} is not served")
        else:
            self.missing(api, span, what)

    def refuse(self, span: Span, sentence: str, advice: str = "") -> None:
        """Add an error: a part that can't be translated without a change of its meaning."""
        self.findings.error("not-translatable", span, sentence, advice)


def _gives_nothing(text: str, environ: Environ[str, str]) -> bool:
    """Return whether a text is a variable that gives nothing, or switches the entry off whose id it is."""
    if not has_expression(text):
        return False
    try:
        return substitute(text, environ) in (None, DISABLED)
    except ValueError:
        return False  # the parser reports it
