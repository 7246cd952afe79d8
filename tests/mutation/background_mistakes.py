"""Deliberate mistakes in responses in the background, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

WAITING = "server/storage/records/waiting.py"
QUEUE = "server/api/responses/background/queue.py"
WORK = "server/api/responses/background/work.py"
LATER = "server/api/responses/background/later.py"
CALLERS = "server/api/responses/background/callers.py"
STATE = "server/api/responses/state.py"
EVENTS = "server/api/responses/background/kept_events.py"
READERS = "server/api/responses/background/readers.py"
GATHERED = "server/api/responses/background/gathered.py"
CANCELLING = "server/api/responses/background/cancelling.py"
BACKGROUND = "server/api/responses/background/worker.py"
CONTEXT = "server/api/responses/context.py"
STREAM = "server/api/responses/response_stream.py"
REQUEST = "server/api/responses/background/kept_request.py"

BACKGROUND_MISTAKES = (
    Mistake(
        "a conversation in another database keeps what was cancelled",
        "server/api/responses/background/later.py",
        "                await take_back(self._items, filling)\n",
        "                pass\n",
    ),
    Mistake(
        "a conversation loses the items of a response that may be stored",
        "server/api/responses/background/later.py",
        "if not (isinstance(fault, InDoubt) and await self._is_complete(record)):",
        "if not isinstance(fault, NoRoom):",
    ),
    Mistake(
        "work that is to reach its end is left",
        "server/background/ends.py",
        "        while not done.done():\n",
        "        while False:\n",
    ),
    Mistake(
        "a model is asked again without the policy",
        WORK,
        "if held.has_asked or gate.principal != permitted:\n            caller",
        "if held.is_done:\n            caller",
    ),
    Mistake(
        "a model is first asked as the caller was",
        WORK,
        "if held.has_asked or gate.principal != permitted:\n            caller",
        "if held.has_asked:\n            caller",
    ),
    Mistake(
        "a response whose end can't be stored has cost nothing",
        "server/api/responses/background/held.py",
        "shown, self.usage = state.response(whole=True), state.usage",
        "shown = state.response(whole=True)",
    ),
    Mistake(
        "a route that an earlier caller may use is not asked about again",
        "server/authz/request_authorization.py",
        "self._is_asked = asked.principal is self._context.principal",
        "self._is_asked = asked.request_id == self._context.request_id",
    ),
    Mistake(
        "calls are asked of the policy as the caller was",
        WORK,
        "caller is not None and caller != gate.principal",
        "caller is not None and caller == gate.principal",
    ),
    Mistake(
        "events behind a comment are lost",
        GATHERED,
        "piece = piece[piece.index(_END) + len(_END) :]",
        'piece = b""',
    ),
    Mistake("dropped events are passed over", READERS, "if batch.first > after + 1:", "if batch.first < 0:"),
    Mistake(
        "a stream that no conversation takes is nowhere",
        STREAM,
        'if state.status != "completed":\n                    raise',
        "if state.is_over:\n                    raise",
    ),
    Mistake(
        "what may have been spent is done again",
        WORK,
        "if held.lease.has_begun:",
        "if held.lease.has_begun and held.lease.tries > MOST_TAKEN:",
    ),
    Mistake(
        "nothing notes that a provider is asked",
        LATER,
        "self.queue.renewing(replace(lease, has_begun=True))",
        "self.queue.renewing(lease)",
    ),
    Mistake(
        "old requests are still answered",
        WORK,
        "(left := work.created_at + self._longest - time.time()) <= 0",
        "(left := float(self._longest)) <= 0",
    ),
    Mistake(
        "work in the background is done as the caller was",
        WORK,
        "caller, (_, address) = await self._callers.newest(work), asker_of(work)",
        "caller, address = asker_of(work)",
    ),
    Mistake(
        "a response in the background is charged twice",
        WORK,
        '"POST", PATH, address=address, is_paid=True)',
        '"POST", PATH, address=address)',
    ),
    Mistake(
        "leave to make a response counts for ever",
        WORK,
        "        await self._later.responses.records.permit_create(gate, made=[record.id])\n",
        "",
    ),
    Mistake(
        "what a request named may be forbidden since",
        CONTEXT,
        "        if body.conversation is None:\n            await self._before(gate, body)\n        else:\n"
        "            await self._read(gate, body.conversation, 1)  # it may have grown since\n"
        "        await self._given(gate, body, identity)\n        return Context(items",
        "        return Context(items",
    ),
    Mistake(
        "the attributes that came first count",
        CALLERS,
        "return max(found, key=lambda each: each[0])",
        "return min(found, key=lambda each: each[0])",
    ),
    Mistake(
        "what other servers were shown is not looked at",
        CALLERS,
        "        if row is not None:\n            attributes",
        "        if row is None:\n            return owner\n        if not row:\n            attributes",
    ),
    Mistake(
        "a lost lease can still end a response",
        QUEUE,
        "return [kept] if lease.is_streamed else [kept, self.records.removing(lease.work.id)]",
        "return [kept] if lease.is_streamed else [self.records.removing(lease.work.id)]",
    ),
    Mistake(
        "one caller fills the queue of responses",
        WAITING,
        "if await self.waiting_of(owner, each) >= each:",
        "if await self.waiting_of(owner, each) >= most:",
    ),
    Mistake(
        "the queue is filled without end", WAITING, "self.waiting(most) >= most:", "self.waiting(most) > 10 * most:"
    ),
    Mistake(
        "events of ended responses pile up",
        QUEUE,
        "if kept > MOST_KEPT_EACH or size > MOST_KEPT_BYTES_EACH:",
        "if kept > MOST_KEPT_EACH and size > MOST_KEPT_BYTES_EACH:",
    ),
    Mistake(
        "a response that is being removed goes on",
        QUEUE,
        "AND answered.expires_at IS NULL ",
        "",
    ),
    Mistake("expired events are read", QUEUE, "and not lease.has_expired else None", "else None"),
    Mistake(
        "a reader gets an event twice",
        EVENTS,
        "self.events.pairs[max(0, after + 1 - self.first) :]",
        "self.events.pairs[max(0, after - self.first) :]",
    ),
    Mistake(
        "an interrupted call of a tool is incomplete",
        STATE,
        'if item["type"] in _OF_MODELS:',
        'if item["type"]:',
    ),
    Mistake(
        "events of one response are dropped at once",
        EVENTS,
        "return len(found) == _DROPPED_AT_ONCE or len(steps) < len(found)",
        "return False",
    ),
    Mistake(
        "a reader waits for a response that is gone",
        READERS,
        "if tail.is_gone:\n                        yield",
        "if tail.is_gone and tail.number < 0:\n                        yield",
    ),
    Mistake("a full stream goes on", GATHERED, "if self._is_full():", "if self._is_full() and self._size < 0:"),
    Mistake("a provider is read without end", GATHERED, "while self._size > MOST_GATHERED:", "while self._size < 0:"),
    Mistake(
        "any reader cancels a response",
        CANCELLING,
        "permit(gate, identity, Action.UPDATE)",
        "permit(gate, identity, Action.READ)",
    ),
    Mistake(
        "a response that is over is cancelled",
        CANCELLING,
        'if members["status"] not in (*_UNDER_WAY, "cancelled"):',
        'if members["status"] == "none":',
    ),
    Mistake(
        "a cancelled response goes on where it is answered",
        BACKGROUND,
        "            if identity not in alive:\n                self.lose(identity)",
        "            if identity not in alive:\n                continue",
    ),
    Mistake(
        "one caller takes all places of a process",
        BACKGROUND,
        "if count >= AT_ONCE_EACH]",
        "if count >= AT_ONCE]",
    ),
    Mistake(
        "an unfinished response is gone on from",
        CONTEXT,
        "            if output is None:\n                raise _not_over(body.previous)\n",
        "            if output is None:\n                output = ItemList()\n",
    ),
    Mistake("secrets of tools are kept", REQUEST, "if members.get(name):", "if members.get(name) is ...:"),
    Mistake(
        "what tools have done is lost with what is cancelled",
        LATER,
        "await (self.events.output(record.id) if lease.is_streamed else self._passed(record))",
        "await self.events.output(record.id)",
    ),
    Mistake(
        "the output so far stays beside the whole one", LATER, "            parts.removing(identity, PASSED),\n", ""
    ),
    Mistake(
        "work for an address is done without it",
        WORK,
        "CURRENT.set(self._deferred.caller(*asker_of(work)))",
        "CURRENT.set(self._deferred.caller(asker_of(work)[0]))",
    ),
    Mistake(
        "an address counts as a principal",
        "server/storage/records/waiting.py",
        'return (work.owner, "") if address is None else (None, address)',
        'return (work.owner, "") if address is None else (work.owner, address)',
    ),
    Mistake(
        "all callers without a token wait as one",
        "server/storage/records/waiting.py",
        "    if caller is not None or not address:\n        return body, caller\n",
        "    if caller is not None or address:\n        return body, caller\n",
    ),
)
