"""Configurations of Llama Stack and OGX, translated into ones of this server: keys, providers, storage, authentication.

Policies are carried over as they are, or the translation refuses them; nothing that restricts access is left out.
"""

from server.config.llama_stack.changes import Change, Kind, Translation
from server.config.llama_stack.translation import for_start, imported
from server.config.llama_stack.writing import TooLarge, written

__all__ = ["Change", "Kind", "TooLarge", "Translation", "for_start", "imported", "written"]
