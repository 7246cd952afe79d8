"""Deliberate mistakes in messages and in the credentials for them, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

CREDENTIALS = "server/http/credentials.py"
BLOCKS = "server/api/messages/blocks.py"
COURSE = "server/api/messages/course.py"
ROUTES = "server/api/messages/routes.py"

MESSAGE_MISTAKES = (
    Mistake("a request has two credentials", CREDENTIALS, "if len(names) > 1:", "if len(names) > 2:"),
    Mistake(
        "a key is taken on every route",
        CREDENTIALS,
        'return api_key(scope["headers"]) if token is None and is_anthropics(scope) else token',
        'return api_key(scope["headers"]) if token is None else token',
    ),
    Mistake(
        "of several keys the first counts",
        "server/authn/bearer.py",
        "if len(keys) > 1 or matched is None:",
        "if matched is None:",
    ),
    Mistake(
        "errors of messages are OpenAI's",
        "server/http/error_shapes.py",
        "if not is_anthropics(scope):",
        "if is_anthropics(scope):",
    ),
    Mistake(
        "a key is a credential of every request for models",
        "server/http/error_shapes.py",
        'scope["method"] in _READING and any(name == _VERSION for name, _ in scope["headers"])',
        'bool(scope["method"])',
    ),
    Mistake(
        "pages of models go one way for Anthropic's clients",
        "server/api/models/anthropic_form.py",
        "from_end=before is not None and after is None",
        "from_end=False",
    ),
    Mistake(
        "results of tools come behind what the user says",
        BLOCKS,
        'self.messages.append({"role": "tool", "tool_call_id": identity, "content": "\\n".join(texts)})',
        'self.messages.insert(-1, {"role": "tool", "tool_call_id": identity, "content": "\\n".join(texts)})',
    ),
    Mistake("a tool that has failed looks well", BLOCKS, '[FAILED] if block.get("is_error") else []', "[]"),
    Mistake("blank blocks go to the model", BLOCKS, "if text.strip() else []", "if text is not None else []"),
    Mistake(
        "tools that nothing runs are offered",
        "server/api/messages/tools.py",
        'if kind not in (None, "custom"):',
        'if kind == "":',
    ),
    Mistake(
        "broken arguments are told as whole",
        COURSE,
        'if self._reason != "length" and not all(block.is_whole for block in self._open):',
        "if self._open is None:",
    ),
    Mistake("tokens of a cache are counted twice", COURSE, "- read - written),", "),"),
    Mistake("thoughts are shown unasked", COURSE, "if self._shows_thoughts else []", "if text else []"),
    Mistake(
        "pieces of calls are mixed",
        COURSE,
        "if each.source == called.place), None)",
        "if each.source is not None), None)",
    ),
    Mistake(
        "a comment hides the event behind it",
        "server/api/messages/answering.py",
        "                    yield _PING\n",
        "                    yield _PING\n                    continue\n",
    ),
    Mistake(
        "a count asks about no file",
        ROUTES,
        "model, Task.CHAT, attach=attach)",
        "model, Task.CHAT)",
    ),
)
