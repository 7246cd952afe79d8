"""Deliberate mistakes about single kinds of providers: their dialects, keys, embeddings, and Amazon Bedrock."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

DIALECTS = "server/inference/providers/dialects.py"
KEYS = "server/inference/providers/keys.py"
VECTORS = "server/inference/providers/vector_answers.py"
CLIENT = "server/inference/providers/bedrock/client.py"
ANSWERS = "server/inference/providers/bedrock/answers.py"
FRAMES = "server/inference/providers/bedrock/frames.py"
GUARDRAIL = "server/inference/providers/bedrock/guardrail.py"
SIGNATURE = "server/inference/providers/bedrock/signature.py"

DIALECT_MISTAKES = (
    Mistake(
        "a key of azure is sent as a bearer token",
        DIALECTS,
        'Dialect(key_header="api-key", key_prefix="")',
        "Dialect()",
    ),
    Mistake(
        "groq gets what it refuses",
        DIALECTS,
        'STORING | {"logit_bias", "logprobs", "top_logprobs"},\n        lacks=_CHATS_ALONE',
        "STORING,\n        lacks=_CHATS_ALONE",
    ),
    Mistake(
        "providers keep what ostiary stores",
        DIALECTS,
        'frozenset({"store", "metadata"})',
        'frozenset({"metadata"})',
    ),
    Mistake("older providers get no limit of tokens", DIALECTS, '{"max_completion_tokens": "max_tokens"}', "{}"),
    Mistake(
        "a version stands in an address twice",
        DIALECTS,
        "url if url.endswith(self.version_path) else",
        "url if not self.version_path else",
    ),
    Mistake("every provider has every task", DIALECTS, "frozenset(Task) - self.lacks", "frozenset(Task)"),
    Mistake("ollama gets many prompts at once", DIALECTS, ", one_prompt=True,", ","),
    Mistake(
        "a file without a key takes the key away",
        KEYS,
        "            self._tell(str(unusable))\n",
        '            self._tell(str(unusable))\n            self._text = ""\n',
    ),
    Mistake("a key that no header carries is used", KEYS, "for_header=True", "for_header=False"),
    Mistake("a key of any length is used", KEYS, "most=MAX_KEY_FILE", "most=4 * MAX_KEY_FILE"),
    Mistake(
        "a file is known by its size and its age",
        KEYS,
        "found.st_ctime_ns, found.st_ino,",
        "0, 0,",
    ),
    Mistake("each request looks at the file of its key", KEYS, "self._until = now + LOOK_SECONDS", "self._until = now"),
    Mistake(
        "each request looks at a disk that hangs",
        KEYS,
        "if now >= self._until and (self._looking is None or self._looking.done()):",
        "if now >= self._until:",
    ),
    Mistake("a request waits for a disk that hangs", KEYS, "timeout=WAIT_SECONDS", "timeout=None"),
    Mistake("each look at a bad key writes a line", KEYS, "if fault != self._told:", "if fault:"),
    Mistake(
        "embeddings of any length are read",
        VECTORS,
        "            if size > MOST_ANSWER:\n                raise",
        "            if size < 0:\n                raise",
    ),
    Mistake(
        "embeddings that say that they are too long are read",
        VECTORS,
        "if length is not None and length > MOST_ANSWER:",
        "if length is not None and length < 0:",
    ),
    Mistake(
        "large embeddings take no room", VECTORS, "if size > FREE and not held:", "if size > MOST_ANSWER and not held:"
    ),
    Mistake(
        "embeddings are as long as their head says",
        VECTORS,
        "known = length is not None and size <= length",
        "known = length is not None",
    ),
    Mistake(
        "room of embeddings that could not be read stays taken",
        VECTORS,
        "            for turn in held:\n                turn.end()\n",
        "            pass\n",
    ),
    Mistake(
        "a thread has its turn until its answer is sent",
        VECTORS,
        "        for turn in turns[1:]:\n            turn.end()\n",
        "",
    ),
    Mistake(
        "a name of a model leads to another path",
        CLIENT,
        "if not _MODEL.fullmatch(model):",
        "if not _MODEL.match(model):",
    ),
    Mistake("a name of a model is several segments of a path", CLIENT, "quote(model, safe='')", "quote(model)"),
    Mistake(
        "a quota that aws tells with status 400 is the caller's fault",
        CLIENT,
        "        if _THROTTLED.search(kind):\n",
        "        if _THROTTLED.search(kind) and response.status == _BUSY:\n",
    ),
    Mistake(
        "a model of the openai endpoint is asked past the guardrail",
        "server/inference/providers/bedrock/plan.py",
        "if not is_text and guard is None and not ChatApi(",
        "if not is_text and not ChatApi(",
    ),
    Mistake(
        "texts are embedded past the guardrail",
        "server/wiring/providers.py",
        "    if guard is None:\n        # No guardrail reads",
        "    if guard is not does:\n        # No guardrail reads",
    ),
    Mistake(
        "a guarded answer may end for any reason",
        ANSWERS,
        "if converse.is_guarded and reason not in _REASONS",
        "if converse.is_text and reason not in _REASONS",
    ),
    Mistake(
        "calls of a blocked answer are told",
        ANSWERS,
        "        if not self._converse.is_guarded:\n            return chunk\n",
        "        if chunk:\n            return chunk\n",
    ),
    Mistake(
        "a stream goes on behind the reason for its end",
        ANSWERS,
        "if self.is_stopped and kind in _OF_MESSAGES:",
        "if self.is_ended and kind in _OF_MESSAGES:",
    ),
    Mistake(
        "a guardrail that is missing is the caller's fault",
        CLIENT,
        "if self._guardrail is not None and _GUARDRAIL.search(told.message):",
        "if self._guardrail is None and _GUARDRAIL.search(told.message):",
    ),
    Mistake(
        "what a guardrail does not read passes it",
        GUARDRAIL,
        "if not self.lets_unread_pass:",
        "if not self.identifier:",
    ),
    Mistake(
        "a guardrail reads a stream once it is sent",
        GUARDRAIL,
        '            config["streamProcessingMode"] = "sync"\n',
        "            pass\n",
    ),
    Mistake(
        "a guardrail does not read system texts",
        GUARDRAIL,
        '        if "system" in request:\n',
        '        if "systems" in request:\n',
    ),
    Mistake(
        "a frame may have any size",
        FRAMES,
        "if not _AROUND <= length <= MAX_FRAME or",
        "if not _AROUND <= length or",
    ),
    Mistake(
        "headers of a frame may be longer than it is",
        FRAMES,
        "min(MAX_FRAME_HEADERS, length - _AROUND)",
        "MAX_FRAME_HEADERS",
    ),
    Mistake(
        "headers of a frame may have any size", FRAMES, "min(MAX_FRAME_HEADERS, length - _AROUND)", "length - _AROUND"
    ),
    Mistake(
        "the checksum of a head is not compared", FRAMES, "checksum != crc32(memoryview(held)[:8])", "checksum < 0"
    ),
    Mistake(
        "the checksum of a frame is not compared",
        FRAMES,
        "checksum != crc32(memoryview(frame)[: -_CRC.size])",
        "checksum < 0",
    ),
    Mistake("a header may be cut", FRAMES, "    if len(part) < size:\n", "    if size < 0:\n"),
    Mistake(
        "an answer of bedrock that breaks off is whole",
        ANSWERS,
        "if self.is_ended or not self.is_stopped:",
        "if self.is_ended:",
    ),
    Mistake(
        "an exception in a stream of bedrock is passed over",
        ANSWERS,
        'if frame.headers.get(":message-type", "event") != "event":',
        'if frame.headers.get(":message-type", "event") == "":',
    ),
    Mistake(
        "a call that the model spoiled is an answer",
        ANSWERS,
        'frozenset({"malformed_model_output", "malformed_tool_use"})',
        'frozenset({"malformed_model_output"})',
    ),
    Mistake(
        "tokens of a cache cost nothing",
        ANSWERS,
        ' + read + _tokens(usage.get("cacheWriteInputTokens"))',
        "",
    ),
    Mistake(
        "results of calls stand in the order of their coming",
        "server/inference/providers/bedrock/turns.py",
        "if call.given == given and call.result is None:",
        "if call.result is None:",
    ),
    Mistake(
        "credentials that may have expired are used",
        SIGNATURE,
        "        elif now >= self._good_until:\n            self._known = None\n",
        "",
    ),
    Mistake(
        "each request looks for credentials that are missing",
        SIGNATURE,
        "self._until = now + (FAILED_SECONDS",
        "self._until = now + 0 * (FAILED_SECONDS",
    ),
)
