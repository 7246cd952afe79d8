"""The time that tests grant to what must happen, be the machine ever so busy."""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 29.0
"""Seconds. A wait ends with what it waits for, so only a test that fails takes them.

Less than the 30 seconds after which the server itself cuts off what stands still: no wait may end because of that.
"""

START: Final = 4 * PATIENCE
"""Seconds for a server to start: its processes load more modules than a busy machine gives them in half a minute."""
