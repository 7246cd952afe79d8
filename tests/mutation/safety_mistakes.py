"""Deliberate mistakes in shields, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

CONVERSATIONS = "server/safety/llama_guard/conversations.py"
VERDICTS = "server/safety/llama_guard/verdicts.py"
BEDROCK = "server/safety/bedrock.py"
SHIELDED = "server/safety/shielded.py"
CHECKS = "server/safety/checks.py"
STREAMS = "server/safety/streams.py"
TEXTS = "server/safety/texts.py"
HIDDEN = "server/safety/hidden.py"
ASKING = "server/api/models/asking.py"
GATE = "server/authz/request_authorization.py"

SAFETY_MISTAKES = (
    Mistake("a judge sees the last turn alone", CONVERSATIONS, "made += _in_windows([earlier])", "pass"),
    Mistake("a text ends the judge's conversation", CONVERSATIONS, "text=harmless(each.text)", "text=each.text"),
    Mistake(
        "a long text is judged to its first window",
        CONVERSATIONS,
        "range(0, max(1, len(last.text) - OVERLAP)",
        "range(0, max(1, 0)",
    ),
    Mistake(
        "what begins as safe is safe",
        VERDICTS,
        'if written.lower() == "safe":',
        'if written.lower().startswith("safe"):',
    ),
    Mistake("an unknown policy of a guardrail is harmless", BEDROCK, "yield _UNTOLD, None", "yield _UNTOLD, _MASKED"),
    Mistake(
        "a guardrail that gives no reason lets pass",
        BEDROCK,
        "outputs if outputs and actions == {_MASKED} else None",
        "outputs if actions <= {_MASKED} else None",
    ),
    Mistake("all texts are input to a guardrail", BEDROCK, 'else "OUTPUT"', 'else "INPUT"'),
    Mistake(
        "a masked text goes to the model as it came",
        CHECKS,
        "return Given(replace(request, payload=texts.written(), unasked=None), texts.said)",
        "return Given(request, texts.said)",
    ),
    Mistake(
        "what can't be read passes",
        CHECKS,
        "        raise NotRead(unread.param) from None\n",
        "        return Texts({}, [], [])\n",
    ),
    Mistake(
        "a stream is read past its shields",
        SHIELDED,
        "stream = ShieldedStream(stream, request, given.said, checks)",
        "pass",
    ),
    Mistake(
        "what is checked is sent at once",
        STREAMS,
        "least = self._checked - tail * max(1, len(self._texts))",
        "least = self._checked",
    ),
    Mistake("windows do not overlap", STREAMS, "text[-most:] for path", "text[:0] for path"),
    Mistake(
        "arguments of calls are no texts",
        TEXTS,
        "elif (kind is dict or kind is list) and id(each) not in without:",
        'elif (kind is dict or kind is list) and key != "tool_calls":',
    ),
    Mistake(
        "texts beside a conversation are not checked",
        TEXTS,
        "texts = _with_hidden(document, _messages(document[name]), beside)",
        "texts = _with_hidden(document, _messages(document[name]), ())",
    ),
    Mistake(
        "escapes hide texts",
        TEXTS,
        "for text, said in plain if text is not None",
        "for text, said in plain if not said",
    ),
    Mistake("escapes hide texts of streams", STREAMS, "if plain is not None]", "if plain is texts]"),
    Mistake(
        "pictures in members pass", HIDDEN, "return name in UNREAD_MEMBERS and", "return name is UNREAD_MEMBERS and"
    ),
    Mistake("tokens of an answer are no texts", HIDDEN, "if text and text != said:", "if text is said:"),
    Mistake(
        "names of members are no texts",
        HIDDEN,
        "for name in holder if name not in KNOWN_NAMES",
        "for name in () if name",
    ),
    Mistake("sounds may be asked for", TEXTS, '        raise Unreadable("modalities")', "        pass"),
    Mistake(
        "a role is a word of the protocol",
        TEXTS,
        "        return value in _ROLES",
        "        return value != ''",
    ),
    Mistake(
        "an unknown code beside excluded ones passes",
        "server/safety/llama_guard/guard.py",
        "if found.codes and not kept and not found.says_more:",
        "if found.codes and not kept:",
    ),
    Mistake(
        "requests go past the shields",
        ASKING,
        "return made if guard is None else",
        "return made if guard or not guard else",
    ),
    Mistake("a model's permit requires no shield", GATE, "        if permit.shields:\n", "        if not permit:\n"),
    Mistake(
        "a route's permit requires no shield",
        GATE,
        "        self.shields.update(dict.fromkeys(permit.shields))\n        if self.charge",
        "        if self.charge",
    ),
    Mistake(
        "a required shield that is gone is left out",
        "server/api/safety/guarding.py",
        "for name in names]",
        "for name in names if name in self._shields.names]",
    ),
    Mistake(
        "shields that a request asks for do not act",
        "server/api/safety/guarding.py",
        "return RequestGuard(shields, gate, found)",
        "return RequestGuard(shields, gate, {})",
    ),
    Mistake(
        "a shield that a request asks for is any shield of the configuration",
        "server/api/safety/guarding.py",
        "        name = shields.default\n    try:\n",
        "        name = shields.default\n    running = shields.configured(name)\n"
        "    if running is not None:\n        return UsableShield(running, shields.judges(gate))\n    try:\n",
    ),
    Mistake(
        "a provider is asked for shields",
        "server/inference/members.py",
        "return name in self.refused | SHIELDS or",
        "return name in self.refused or",
    ),
    Mistake(
        "a summary goes past the shields that a request asks for",
        "server/api/responses/compaction/compacting.py",
        '_ABOUT_CALLER: Final = SHIELDS | {"prompt',
        '_ABOUT_CALLER: Final = SHIELDS & {"prompt',
    ),
    Mistake(
        "the mode of a moderation is ignored",
        "server/api/models/asked_shields.py",
        '    mode = config.get("mode")\n',
        '    mode = "score"\n',
    ),
    Mistake(
        "a score weakens a shield that guardrails name",
        "server/api/safety/guarding.py",
        "only = usable.only_tells & other.only_tells",
        "only = usable.only_tells | other.only_tells",
    ),
    Mistake(
        "a score weakens a shield that a rule requires",
        "server/api/safety/guarding.py",
        "tells=name in tell, required=True) for name",
        "tells=name in tell, only_tells=frozenset(Direction) if name in tell else frozenset()) for name",
    ),
    Mistake(
        "what can't be read passes where one side only tells",
        CHECKS,
        "            if not self.only_tell(Direction.INPUT):\n",
        "            if not self.tells_only(Direction.INPUT):\n",
    ),
    Mistake(
        "a stream is not held back where one side only tells",
        SHIELDED,
        "if not checks.only_tell(Direction.OUTPUT):",
        "if checks.told is None:",
    ),
    Mistake(
        "a provider's results of moderations are told",
        "server/safety/told_stream.py",
        'if chunk.get("moderation") is not None:',
        'if chunk.get("moderation") is chunk:',
    ),
    Mistake(
        "a required shield may let texts pass",
        CHECKS,
        "if shield.required or not shield.running.lets_pass:",
        "if not shield.running.lets_pass:",
    ),
    Mistake(
        "a shield that fails lets texts pass",
        CHECKS,
        "if shield.required or not shield.running.lets_pass:",
        "if shield.required:",
    ),
    Mistake(
        "a check by name takes a failure for a verdict",
        "server/safety/running.py",
        "            raise self._unavailable(direction, failure) from None\n",
        "            if self.lets_pass:\n                return SAFE\n"
        "            raise self._unavailable(direction, failure) from None\n",
    ),
    Mistake(
        "a registered shield opens every model",
        "server/api/safety/shields.py",
        "gate, asks_caller=True)",
        "gate, asks_caller=False)",
    ),
    Mistake(
        "shields stand beside a permit of anything",
        "policy/shields.py",
        "if tuple(actions) != (Action.READ,) or not _is_about_models(resource):",
        "if tuple(actions) != (Action.READ,):",
    ),
    Mistake(
        "a shield that is off may be required",
        "policy/shields.py",
        "(disabled if is_off else served).add(identity)",
        "served.add(identity)",
    ),
    Mistake(
        "an obligation to use no shield is one",
        "server/authz/contract/answer.py",
        "not 0 < len(ids) <= MOST_REQUIRED",
        "len(ids) > MOST_REQUIRED",
    ),
    Mistake(
        "an answer is compared with no sources",
        BEDROCK,
        'if self._grounding and source == "OUTPUT" else []',
        'if not self._grounding and source == "OUTPUT" else []',
    ),
    Mistake(
        "sources of an answer are cut",
        BEDROCK,
        "    if sum(map(len, sources)) > MOST_SOURCES:\n",
        "    if not sources:\n",
    ),
    Mistake(
        "a judge that may no longer be read ends a stream as a fault",
        "server/api/safety/judging.py",
        "            if not self._has_asked:\n",
        "            if self._has_asked or not self._has_asked:\n",
    ),
    Mistake(
        "chunks alike are not read",
        STREAMS,
        "self._add(self._path, loads(b'\"%b\"' % bytes(same[1])))",
        "pass",
    ),
    Mistake(
        "halves of a character hide a word of a stream",
        STREAMS,
        "[whole_characters(self._texts[path]) for path",
        "[self._texts[path] for path",
    ),
    Mistake(
        "a shield that reads texts alone lets images pass",
        CHECKS,
        "if texts.images and not all(",
        "if texts.images and not any(",
    ),
    Mistake("a guardrail that passes over images has a verdict", BEDROCK, "guarded < count:", "guarded < 0:"),
    Mistake(
        "an image without a text is not judged",
        "server/safety/running.py",
        "any(each.text.strip() or each.image is not None for",
        "any(each.text.strip() for",
    ),
    Mistake(
        "a Llama Guard sees no images",
        "server/safety/llama_guard/guard.py",
        "*(self._seen(image, made) for image in images)",
        "*(self._seen(image, made) for image in images[1:])",
    ),
    Mistake(
        "an image in another message is passed over",
        TEXTS,
        'if message.get("role") == "user" and type(part) is dict and image_of',
        "if type(part) is dict and image_of",
    ),
    Mistake(
        "an image has members that nothing reads",
        "server/safety/images.py",
        "or not part.keys() <= _MEMBERS:",
        "or not part.keys() >= _MEMBERS:",
    ),
    Mistake(
        "a check by name passes over images",
        "server/api/safety/routes.py",
        "if images and not shield.running.reads_images:",
        "if not images and not shield.running.reads_images:",
    ),
    Mistake(
        "moderations look at no images",
        "server/api/safety/routes.py",
        "check([*images, Said(text)], Direction",
        "check([Said(text)], Direction",
    ),
)
