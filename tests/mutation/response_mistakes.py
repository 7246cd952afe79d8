"""Deliberate mistakes in responses and the seals of their compactions, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

CONTEXT = "server/api/responses/context.py"
STORE = "server/api/responses/store.py"
ANSWERING = "server/api/responses/answering.py"
STREAM = "server/api/responses/response_stream.py"
UNSEALING = "server/api/responses/unsealing.py"
SEALS = "server/authn/seals.py"
ASKING = "server/api/responses/asking.py"
TURN = "server/api/responses/turn.py"
BODY = "server/api/responses/body.py"
STATE = "server/api/responses/state.py"
CHAT_FILES = "server/api/chat/files.py"

RESPONSE_MISTAKES = (
    Mistake("a seal opens for any caller", SEALS, "for part in caller))\n", "for part in caller[:0]))\n"),
    Mistake("parts of a caller's name run together", SEALS, 'b"%d:%b" % (len(part), part)', 'b"%b" % (part,)'),
    Mistake("a seal has several spellings", SEALS, "if _written(found) != seal:", "if not _written(found):"),
    Mistake("a seal has no end", SEALS, "if int.from_bytes(plain[:_TIME_BYTES]) < now:", "if now < 0:"),
    Mistake(
        "compactions are sealed for all callers",
        UNSEALING,
        "return caller_of(gate.principal, str(CURRENT.get()))",
        'return caller_of(gate.principal, "") and ("server",)',
    ),
    Mistake("an old compaction opens", UNSEALING, "gate), model, int(time.time()))", "gate), model, 0)"),
    Mistake(
        "a response goes on from another caller's",
        CONTEXT,
        "record = await self._responses.records.get(gate, body.previous, whole=False)",
        "record = (await self._responses.records.known([body.previous]))[body.previous]",
    ),
    Mistake(
        "an item of another caller's response is referred to",
        CONTEXT,
        "await self._responses.records.readable(gate, of) if of",
        "await self._responses.records.known(of) if of",
    ),
    Mistake(
        "a prompt of another caller is used",
        CONTEXT,
        "record = await self._prompts.records.get(gate, use.id)",
        "[record] = await self._prompts.records.whole([*(await self._prompts.records.known([use.id])).values()])",
    ),
    Mistake(
        "a conversation is filled by who may only read it",
        "server/api/conversations/items.py",
        "await self._conversations.permit_unseen(gate, conversation, Action.UPDATE)\n        return await self._store",
        "await self._conversations.permit_unseen(gate, conversation, Action.READ)\n        return await self._store",
    ),
    Mistake(
        "items of conversations that may not be read are referred to",
        "server/api/conversations/items.py",
        "for identity, record in records.items() if record.parent in entered}",
        "for identity, record in records.items() if record.parent or entered}",
    ),
    Mistake(
        "a response stays whose conversation takes nothing",
        STORE,
        "            await self._take_back(record)\n",
        "",
    ),
    Mistake("a caller's own member is taken for the metadata", STORE, "text.rfind(_METADATA)", "text.find(_METADATA)"),
    Mistake("small responses are held without end", ANSWERING, "self._size = LEAST_HELD + size", "self._size = size"),
    Mistake(
        "a client that leaves keeps the room of its response",
        STREAM,
        "                finally:\n                    self._turn.end()",
        "                finally:\n                    pass",
    ),
    Mistake(
        "a response that is not kept is told as completed",
        STREAM,
        'if state.status != "failed":',
        'if state.status == "failed":',
    ),
    Mistake(
        "a compaction goes to the model as it came",
        UNSEALING,
        "            elif not ids[place].startswith(COMPACTION):",
        "            elif ids[place]:",
    ),
    Mistake(
        "a conversation is cut off unasked",
        CONTEXT,
        'if has_more and body.shown["truncation"] != "auto":',
        "if has_more is None:",
    ),
    Mistake(
        "a file that no model reads is not asked about",
        ASKING,
        "await self._files.check(gate_of(request.scope), others)",
        "pass",
    ),
    Mistake("images of other kinds of files are sent", CHAT_FILES, "        _check_images(named, records)\n", ""),
    Mistake(
        "an image by an id of a provider is sent without a picture",
        CHAT_FILES,
        "for file in others if file.detail is not None",
        "for file in others if file.detail == file.id",
    ),
    Mistake(
        "images count not among the files of a chat",
        "server/inference/file_parts.py",
        "_check_number(others + len(images))",
        "_check_number(others)",
    ),
    Mistake(
        "what a tool returns stands between the outputs of calls",
        TURN,
        '            returned += _no_texts(item["output"])\n',
        '            returned += _no_texts(item["output"])\n            _say(messages, returned)\n',
    ),
    Mistake(
        "an address stands before the id of an image",
        TURN,
        'case {"type": "input_image", "file_id": str(identity)}:',
        'case {"type": "input_image", "file_id": str(identity), "image_url": None}:',
    ),
    Mistake(
        "files in variables of a prompt are not noted",
        BODY,
        "naming += ((_variable_place(name), value) for name, value in",
        "naming += ((_variable_place(name), value) for name, value in () and",
    ),
    Mistake(
        "a stream without an event is kept when its client leaves",
        STREAM,
        "has_begun = self._state.number > 0",
        "has_begun = self._state.number >= 0",
    ),
    Mistake(
        "a stream whose client leaves is lost",
        "server/api/responses/routes.py",
        "keeps_left=creation is not None",
        "keeps_left=creation is None",
    ),
    Mistake(
        "a call of a tool is incomplete where its stream is left",
        STATE,
        "            opened = [(place, interrupted(item)) for",
        '            opened = [(place, {**item, "status": "incomplete"}) for',
    ),
    Mistake(
        "files go to a model that reads text alone",
        "server/inference/providers/llama_cpp/client.py",
        "if request.attached is not None:",
        "if request.attached is not None and not request.payload:",
    ),
)
