"""The regex dialect: Python's regular expressions as exact tests for OPA's engine (RE2), or a refusal.

Source: `docs/policy/policy-language.md` §8. A pattern is read (`reader`) into a tree (`tree`) whose character classes
are plain sets (`classes`). Look-ahead at a fixed offset and look-behind at the end become tests of their own
(`lookaround`); Unicode's word boundaries are removed where the characters around them are known (`boundaries`). Parts
that depend on the rest of the pattern are resolved (`endings`, with `tails` for `$`), and the tree is written out
(`writer`, `spelling`). For lists of records, `starts` gives the beginnings of matching subjects.
"""

from __future__ import annotations

from translators.regex.refusal import Untranslatable
from translators.regex.starts import Start
from translators.regex.translation import Translation, translate

__all__ = ["Start", "Translation", "Untranslatable", "translate"]
