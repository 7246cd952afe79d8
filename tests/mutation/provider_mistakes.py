"""Deliberate mistakes about providers and their answers, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

PROVIDER_MISTAKES = (
    Mistake(
        "a provider that is missing ends the stream of another",
        "server/inference/providers/connections.py",
        "    finally:\n        _given.set(None)\n",
        "    finally:\n        pass\n",
    ),
    Mistake(
        "a provider's redirect is followed",
        "server/inference/providers/http_provider.py",
        "data=data, headers=headers, allow_redirects=False",
        "data=data, headers=headers, allow_redirects=True",
    ),
    Mistake(
        "an error in a chunk of the known form is passed on",
        "server/inference/answers/same_form.py",
        " or _INSIDE.fullmatch(text) is None:",
        ":",
    ),
    Mistake(
        "a member that comes again in disguise is passed on in the known form",
        "server/inference/answers/same_form.py",
        'if b"\\\\u" in before or b"\\\\u" in behind:',
        "if False:",
    ),
    Mistake(
        "members with escapes keep their spelling",
        "server/inference/answers/model_name.py",
        '    if b"\\\\" not in name:\n        return name\n    try:',
        "    return name\n    try:",
    ),
    Mistake(
        "a provider's refusal is read without end",
        "server/inference/providers/openai_compatible.py",
        "self._read(response, _MAX_REFUSAL)",
        "self._read(response, 100 * MAX_ANSWER)",
    ),
    Mistake(
        "a provider that refuses without end is not let go",
        "server/inference/providers/openai_compatible.py",
        "await self._read(response, _MAX_REFUSAL)))\n        finally:\n            cut(response)",
        "await self._read(response, _MAX_REFUSAL)))\n        finally:\n            pass",
    ),
    Mistake(
        "a stored answer may be of any size",
        "server/api/chat/recording.py",
        "if answer is None or size > MOST_ANSWERED:",
        "if answer is None:",
    ),
    Mistake(
        "what comes with the end of a stream is lost",
        "server/api/chat/recording.py",
        "                if len(piece) > len(DONE):\n                    yield piece[: -len(DONE)]\n",
        "",
    ),
    Mistake(
        "an assembled text is counted in characters",
        "server/inference/answers/accumulator.py",
        'self._room -= len(text.encode("utf-8", "surrogatepass"))',
        "self._room -= len(text)",
    ),
    Mistake(
        "entries of an assembled answer count for nothing",
        "server/inference/answers/accumulator.py",
        "                self._room -= len(repr(entry))\n",
        "",
    ),
    Mistake(
        "names in an assembled message count for nothing",
        "server/inference/answers/accumulator.py",
        '_ENTRY + len(name.encode("utf-8", "surrogatepass"))\n                whole[name] = None',
        "0\n                whole[name] = None",
    ),
    Mistake(
        "what is said about an assembled answer counts for nothing",
        "server/inference/answers/accumulator.py",
        "        self._spare -= size - self._sizes.get((place, name), 0)\n",
        "",
    ),
    Mistake(
        "an assembled answer has any number of choices",
        "server/inference/answers/accumulator.py",
        " or len(self._choices) > _MOST_PLACES",
        "",
    ),
    Mistake(
        "an assembled message has any number of calls",
        "server/inference/answers/accumulator.py",
        "if len(held) == _MOST_PLACES:",
        "if False:",
    ),
    Mistake(
        "choices are in the order of their coming",
        "server/inference/answers/accumulator.py",
        "for index in sorted(self._choices)",
        "for index in self._choices",
    ),
    Mistake(
        "what is no stream is relayed as one",
        "server/inference/providers/openai_compatible.py",
        "return first, first.lstrip(_BLANKS).startswith(_EVENT_FIELDS)",
        "return first, True",
    ),
    Mistake(
        "a finding about health is believed for ever",
        "server/inference/providers/openai_compatible.py",
        "loop.time() + HEALTH_SECONDS",
        "loop.time() + 1000 * HEALTH_SECONDS",
    ),
    Mistake(
        "a redirected list of models is followed",
        "server/inference/providers/openai_compatible.py",
        "self._models_url, headers=proof, allow_redirects=False",
        "self._models_url, headers=proof, allow_redirects=True",
    ),
    Mistake(
        "a refused list of models is a sign of health",
        "server/inference/providers/openai_compatible.py",
        "if response.status == 200 or (response.status < 500 and not self._lists_models):",
        "if response.status < 500:",
    ),
    Mistake(
        "answers may come compressed",
        "server/inference/providers/http_provider.py",
        '"Accept-Encoding": "identity"',
        '"Accept": "*/*"',
    ),
    Mistake(
        "a provider that was never reached is paid",
        "server/inference/providers/relayed_stream.py",
        "spent = not isinstance(fault, aiohttp.ClientConnectorError)\n",
        "spent = True\n",
    ),
    Mistake(
        "a provider that fell silent is not paid",
        "server/inference/providers/relayed_stream.py",
        "spent = not isinstance(fault, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)",
        "spent = False",
    ),
    Mistake(
        "a provider's refusal is paid",
        "server/inference/providers/refusals.py",
        "retry_after=wait,\n        kind=Kind.STATUS,",
        "retry_after=wait,\n        spent=True,\n        kind=Kind.STATUS,",
    ),
    Mistake(
        "a request too large for a provider is its fault",
        "server/inference/providers/refusals.py",
        "frozenset({400, 413, 422})",
        "frozenset({400, 422})",
    ),
    Mistake(
        "a prompt too long for llama.cpp is only invalid",
        "server/inference/providers/overflow.py",
        'r"(?:exceed\\w*|over',
        'r"(?:over',
    ),
    Mistake(
        "any code of a provider is told",
        "server/inference/providers/refusals.py",
        "type(code) is str and code in _CODES",
        "type(code) is str",
    ),
    Mistake(
        "a place may end in a provider's words",
        "server/inference/providers/refusals.py",
        "_PARAM.fullmatch(param)",
        "_PARAM.match(param)",
    ),
    Mistake(
        "a time to wait may end in a provider's words",
        "server/inference/providers/retry_hints.py",
        "if _NUMBER.fullmatch(text)",
        "if _NUMBER.match(text)",
    ),
)
