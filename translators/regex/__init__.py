"""The regex dialect: Python's regular expressions as exact tests for OPA's engine (RE2), or a refusal.

A pattern is read (`reader`) into a tree (`tree`) whose character classes are plain sets (`classes`). Look-ahead at a
fixed offset and look-behind at the end become tests of their own (`lookaround`); Unicode's word boundaries go, where it
is known what stands around them (`boundaries`). What depends on the rest of the pattern is settled (`endings`, with
`tails` for `$`), and the tree is written out (`writer`, `spelling`). For lists of records, `starts` says how the
matching subjects begin.
"""

from __future__ import annotations

from translators.regex.refusal import Untranslatable
from translators.regex.starts import Start
from translators.regex.translation import Translation, translate

__all__ = ["Start", "Translation", "Untranslatable", "translate"]
