"""The room that callers share for their questions to OPA: small questions and large ones apart, each in turn by caller.

OPA takes its time for a large exchange, which says nothing about whether it is there; and what waits behind one waits
long. So large ones have few places and connections of their own, and one caller has one of these places.
"""

from __future__ import annotations

from typing import Final

from server.fairness.shares import Share

SMALL_BYTES: Final = 4096
"""Bytes of a small exchange."""

SMALL_QUESTIONS: Final = 8
"""Questions of one request in a small exchange."""

SMALL_TEXT: Final = 384
"""Characters of the path and the names in a small question. Regular expressions take OPA a time that grows with them:
200 that begin with `.*` take 15 ms for 1,900 characters, and 1.4 ms for 20."""

SMALL: Final = Share("questions to the policy", capacity=64, each=32, waiting=4096, waiting_each=512, seconds=1.0)
"""Small exchanges in one process."""

LARGE: Final = Share("large questions to the policy", capacity=4, each=1, waiting=1024, waiting_each=128, seconds=10.0)
"""Large exchanges in one process; a list takes a turn for each of its pieces."""

LARGE_SECONDS: Final = 2.0
"""Seconds that OPA has for a large exchange, once it has its turn."""

LARGE_BYTES: Final = 64 * 1024
"""Bytes of a large exchange besides its first question and the principals of that; more goes in several exchanges."""

LARGE_QUESTIONS: Final = 64
"""Questions in a large exchange at most."""

FEWEST_QUESTIONS: Final = 4
"""Questions in a large exchange at least, if there are as many, however long they take."""

GOAL_SECONDS: Final = 0.01
"""Seconds that OPA should take for a large exchange; the questions in the next ones are fewer where it takes more."""

LINGER_SECONDS: Final = 0.02
"""Seconds for which the place of a large exchange stays taken after it was given up: OPA may still be at work on it."""

PROBE_CONNECTIONS: Final = 2
"""Connections for probes, which wait behind no caller."""


class Pace:
    """The number of questions in a large exchange, by the time that OPA took for the last ones.

    What a question costs OPA is up to the rules, of which the server knows nothing: they may be hundreds of regular
    expressions.
    """

    def __init__(self) -> None:
        self.questions = LARGE_QUESTIONS // 4

    def took(self, questions: int, seconds: float) -> None:
        """Learn from an exchange of so many questions."""
        wanted = int(questions * GOAL_SECONDS / max(seconds, 1e-6))
        self.questions = max(FEWEST_QUESTIONS, min(wanted, 2 * self.questions, LARGE_QUESTIONS))
