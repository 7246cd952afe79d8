"""The changes that turn a configuration of Llama Stack into one of this server, each with its place and its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from policy.source.diagnostics import Diagnostic, Findings, Severity, Span, visible
from policy.source.document import Mapping
from server.config.api_names import APIS, Standing, about_missing


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

    `for_start`: nothing may be left out that isn't served, so that each such part is an error. `reported` holds the
    APIs that parts were reported for.
    """

    for_start: bool = False
    reported: set[str] = field(default_factory=set)
    changes: list[Change] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

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

    def refuse(self, span: Span, sentence: str, advice: str = "") -> None:
        """Add an error: a part that can't be translated without a change of its meaning."""
        self.findings.error("not-translatable", span, sentence, advice)
