"""Deliberate mistakes about fair shares between callers, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

SHARES = "server/fairness/shares.py"
PLACES = "server/fairness/places.py"
KNOWN = "server/fairness/known_tokens.py"
CALLER = "server/fairness/caller.py"
OUTGOING = "server/fairness/outgoing.py"
TURNS = "server/http/fair_turns.py"

FAIRNESS_MISTAKES = (
    Mistake(
        "a caller takes every unit of a share",
        SHARES,
        "holder.held and holder.held + size > (share.each if len(self._holders) == 1 else self._beside)",
        "holder.held < 0",
    ),
    Mistake(
        "a caller that waits takes every unit of a share",
        SHARES,
        "            if holder.held and holder.held + wait.size > most:\n",
        "            if holder.held < 0:\n",
    ),
    Mistake(
        "more units are given than there are",
        SHARES,
        "if self._used + size > share.capacity:",
        "if self._used > share.capacity:",
    ),
    Mistake(
        "more units are given to those that wait than there are",
        SHARES,
        "if self._used + wait.size > self.share.capacity:",
        "if self._used > self.share.capacity:",
    ),
    Mistake(
        "a new caller passes those that wait",
        SHARES,
        "            if self._waiting and self._next:\n                return None\n",
        "",
    ),
    Mistake(
        "one caller fills the queue",
        SHARES,
        "if len(holder.waits) >= self.share.waiting_each:",
        "if len(holder.waits) > self.share.waiting:",
    ),
    Mistake(
        "any number of callers wait",
        SHARES,
        "if self._waiting < self.share.waiting:",
        "if self._waiting >= 0:",
    ),
    Mistake("the oldest that waits gives way", SHARES, "longest.waits.pop()", "longest.waits.popleft()"),
    Mistake(
        "a wait goes on for as long as it takes",
        SHARES,
        "asyncio.timeout(self.share.seconds)",
        "asyncio.timeout(None)",
    ),
    Mistake(
        "a large turn costs as much as a small one",
        SHARES,
        "holder.given = self._time + size",
        "holder.given = self._time + 1",
    ),
    Mistake(
        "the caller that waits longest comes first, whatever it was given",
        SHARES,
        "(max(self._time, holder.given), next",
        "(0.0, next",
    ),
    Mistake(
        "a turn given to a caller that has left is lost",
        SHARES,
        "            wait.turn.result().end()\n",
        "            pass\n",
    ),
    Mistake(
        "a turn that is ended twice gives back twice",
        SHARES,
        "        if not self._ended:\n",
        "        if self._shares:\n",
    ),
    Mistake(
        "the next small turn waits when the large one before it leaves",
        SHARES,
        "            self._queue(holder)  # the next one may be small enough for what is left of the caller's share\n",
        "",
    ),
    Mistake(
        "callers that have left stay in memory",
        SHARES,
        "                self._holders.pop(holder.caller, None)\n            return\n",
        "                pass\n            return\n",
    ),
    Mistake(
        "callers that have left beside others stay in memory",
        SHARES,
        "holder.queued):\n            self._holders.pop(holder.caller, None)\n",
        "holder.queued):\n            pass\n",
    ),
    Mistake(
        "a caller that is alone again gets no more than beside others",
        SHARES,
        "if self._waiting and self._beside < self.share.each and len(self._holders) == 1:",
        "if self._waiting and len(self._holders) < 0:",
    ),
    Mistake(
        "what a caller holds itself is the fault of all",
        SHARES,
        " or holder.held + size > self._beside\n",
        "\n",
    ),
    Mistake(
        "a share may have no unit for a caller",
        SHARES,
        "0 < beside <= self.each <= self.capacity",
        "beside <= self.each <= self.capacity",
    ),
    Mistake("a place never lapses", PLACES, "if self._timer is None and self._held:", "if self._timer:"),
    Mistake(
        "a place that is held for long keeps later ones in memory",
        PLACES,
        "while held and (held[0][1].ended or held[0][0] <= now):\n            held.popleft",
        "while held and held[0][1].ended:\n            held.popleft",
    ),
    Mistake(
        "work that never waits takes all its turns in one",
        PLACES,
        "        self._turns.append(turn)\n",
        "        self._turns.append(turn)\n        self._end_all()\n",
    ),
    Mistake(
        "a place stays with its address as well",
        PLACES,
        "        self.leave()\n        self.caller = caller\n",
        "        self.caller = caller\n",
    ),
    Mistake(
        "a request keeps its place while it waits for something else",
        PLACES,
        "        self.leave()\n        yield\n        if not",
        "        yield\n        if not",
    ),
    Mistake(
        "a place that was given up for good is taken again",
        PLACES,
        "        if self._turn is None:\n            yield\n            return\n",
        "",
    ),
    Mistake(
        "what is written to SQLite does not give way",
        "server/storage/database/sqlite_batches.py",
        "        give_way()\n",
        "",
    ),
    Mistake(
        "pieces of streams are passed on without end in one turn of the loop",
        PLACES,
        "self._passed.end(self.shares.take_now() or await self.shares.take())",
        "(self.shares.take_now() or await self.shares.take()).end()",
    ),
    Mistake(
        "one caller works on all requests",
        PLACES,
        '"requests that are worked on", 32, 4',
        '"requests that are worked on", 32, 32',
    ),
    Mistake("one caller works on as much beside others as alone", PLACES, ", beside=2)", ")"),
    Mistake(
        "every token that ever came is remembered",
        KNOWN,
        "Remembered(MAX_KNOWN)",
        "Remembered(10 * MAX_KNOWN)",
    ),
    Mistake("a refused token stays known", KNOWN, "self._callers.drop(digest)", "self._callers.get(digest)"),
    Mistake(
        "one caller's tokens drive out those of others",
        KNOWN,
        "self._callers.put(digest, caller, caller)",
        'self._callers.put(digest, caller, ("all",))',
    ),
    Mistake(
        "callers of two issuers share",
        CALLER,
        'return ("principal", principal.issuer, principal.id)',
        'return ("principal", principal.id)',
    ),
    Mistake(
        "all principals without the attribute share",
        CALLER,
        "values = principal.attributes.get(by, ()) if by is not None else ()",
        'values = principal.attributes.get(by, ("",)) if by is not None else ()',
    ),
    Mistake(
        "the room of an answer is never given back",
        OUTGOING,
        "for turn in (*self._turns, *self._kept):",
        "for turn in self._kept:",
    ),
    Mistake(
        "answers without end go beyond their share",
        OUTGOING,
        "            turns.append(await room.overdrafts.take())\n",
        "",
    ),
    Mistake(
        "answers hold no room",
        OUTGOING,
        "if answer is not None and size > UNCOUNTED:",
        "if answer is None and size > UNCOUNTED:",
    ),
    Mistake("kept room is given back before the answer is sent", OUTGOING, "answer.keep(turn)", "turn.end()"),
    Mistake(
        "no answer has room of its own",
        "server/http/answer_room.py",
        "        with self._room.answer():\n            await",
        "        if self._room:\n            await",
    ),
    Mistake(
        "probes wait for the places of other requests",
        TURNS,
        "places.probes if path in FREE else places.work",
        "places.work",
    ),
    Mistake(
        "a stream keeps its place",
        TURNS,
        "                place.leave()\n                await places.pieces.pass_on()\n",
        "                await places.pieces.pass_on()\n",
    ),
    Mistake(
        "pieces that no guard looks at come in no turn",
        TURNS,
        "            await places.pieces.pass_on()\n            await send(message)\n\n        async def send_fairly",
        "            await send(message)\n\n        async def send_fairly",
    ),
    Mistake(
        "a request without room gets no answer",
        TURNS,
        "            await error_response(error_of(fault, call.request_id), scope)(scope, receive, send)\n",
        "            return\n",
    ),
    Mistake(
        "a refusal is sent into an answer that has begun",
        TURNS,
        "            if call.status:\n                raise\n",
        "",
    ),
    Mistake(
        "a request that waits is worked on though its client has left",
        TURNS,
        "                async with WhileConnected(self._listen):\n                    await self._place.take()\n",
        "                await self._place.take()\n",
    ),
    Mistake(
        "a request that waits takes all of its body",
        TURNS,
        "if self._ahead and not self._whole:",
        "if self._ahead and self._whole:",
    ),
    Mistake(
        "a listener gives up the place of the work",
        TURNS,
        "if is_there or not self._place.is_held or asyncio.current_task() is not self._reader:",
        "if is_there or not self._place.is_held:",
    ),
    Mistake(
        "a part of a body waits for a place though its client has left",
        TURNS,
        'if message["type"] != "http.disconnect" and not self._place.take_now():',
        "if not self._place.take_now():",
    ),
    Mistake(
        "parts of bodies that wait are not counted",
        TURNS,
        'self._waiting(len(message.get("body", b"")))',
        "self._waiting(0)",
    ),
    Mistake("bodies of requests that wait are not counted", TURNS, "            hold(min(size, MOST_READ))\n", ""),
    Mistake(
        "a request that waits is read on",
        TURNS,
        "            if self.leaving is None:\n",
        "            if self.leaving is not None:\n",
    ),
    Mistake(
        "a body waits for a place with each part",
        "server/http/json_body.py",
        "        await away.enter_async_context(without_place())\n",
        "",
    ),
    Mistake(
        "each page takes a step in a turn of the event loop",
        PLACES,
        "await passing.pass_on()",
        "await asyncio.sleep(0)",
    ),
    Mistake(
        "pages are read among short reads",
        "server/storage/records/table.py",
        "self.database.scan if len(missing) > 1 else self.database.read",
        "self.database.read",
    ),
    Mistake(
        "a listed model has the members of another",
        "server/api/models/routes.py",
        "if kept.keys() & model.metadata.keys():",
        "if kept.keys() & model.metadata.keys() == {0}:",
    ),
    Mistake(
        "a refused token waits in its former caller's turns",
        "server/http/authentication.py",
        "                self._admission.known.forget(digest)\n",
        "                pass\n",
    ),
    Mistake(
        "what finds no thread after a provider has worked is free",
        "server/fairness/threads.py",
        "        full.spent = True\n",
        "        pass\n",
    ),
    Mistake(
        "a thread that goes on has given its turn back",
        "server/fairness/threads.py",
        "done.add_done_callback(partial(_end, turn))",
        "turn.end()",
    ),
    Mistake(
        "what finds no room after a provider has worked is free",
        "server/inference/providers/response_body.py",
        "            full.spent = True\n",
        "            pass\n",
    ),
    Mistake(
        "a large answer is read without room",
        "server/inference/providers/response_body.py",
        "        if size <= self._room:\n",
        "        if size:\n",
    ),
)
