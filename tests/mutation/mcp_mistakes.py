"""Deliberate mistakes in what reaches servers of tools, and in the approvals of their calls."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

OUTBOUND = "server/net/outbound.py"
SESSIONS = "server/mcp/sessions.py"
APPROVALS = "server/storage/approvals.py"
PROGRAMS = "server/mcp/programs.py"
LAUNCHER = "server/mcp/launcher.py"

MCP_MISTAKES = (
    Mistake("any host of tools is reached", OUTBOUND, "if (host, port) not in self.hosts:", "if not host:"),
    Mistake(
        "addresses of a host of tools are not checked",
        OUTBOUND,
        "            self._reach.check_address(host, address)\n",
        "            continue\n",
    ),
    Mistake(
        "the first address of a host of tools alone is checked",
        OUTBOUND,
        "for address in found:\n",
        "for address in found[:1]:\n",
    ),
    Mistake(
        "an address of IPv4 in one of IPv6 is not seen",
        OUTBOUND,
        "return address if mapped is None else mapped",
        "return address",
    ),
    Mistake(
        "services of metadata are private addresses",
        OUTBOUND,
        "    if any(worse) or any(address in network for network in (*_NEVER, *_HIDING)):\n",
        "    if any(worse):\n",
    ),
    Mistake("a user name in an address is passed over", OUTBOUND, "if url.user is not None or", "if False and"),
    Mistake(
        "redirects of servers of tools are followed",
        "server/mcp/wire.py",
        "allow_redirects=False",
        "allow_redirects=True",
    ),
    Mistake("an answer of a tool has no bound", "server/mcp/wire.py", "if size > MOST_MESSAGE:", "if size < 0:"),
    Mistake(
        "a large answer of a tool gives its room back before it is read",
        "server/mcp/wire.py",
        "            pieces.clear()\n            return",
        "            pieces.clear()\n        if raw:\n            return",
    ),
    Mistake(
        "a large answer of a tool does not wait for its room",
        "server/mcp/wire.py",
        "            await room.wait_for(answer.content_length or 0)\n",
        "            await room.wait_for(0)\n",
    ),
    Mistake(
        "a list of tools that is old is taken for new",
        "server/mcp/session.py",
        "oldest = asked if anew else now - LISTED_SECONDS",
        "oldest = now - LISTED_SECONDS",
    ),
    Mistake(
        "all calls of a caller begin in one turn of the event loop",
        "server/api/responses/server_tools/rounds.py",
        "            async with self._turns.under_way.turn():\n                await self._turns.steps.pass_on()\n",
        "            async with self._turns.under_way.turn():\n",
    ),
    Mistake(
        "a program of tools sees the server's environment",
        PROGRAMS,
        'env={"PATH": _PATH, **program.environment}',
        "env={**os.environ, **program.environment}",
    ),
    Mistake(
        "what a program of tools has started goes on",
        LAUNCHER,
        "if name.isdigit() and _parent_of(name) == own:",
        "if name.isdigit() and _parent_of(name) == 0:",
    ),
    Mistake(
        "the place of a program of tools is never free again",
        "server/mcp/stdio.py",
        "                if self._turn is not None:\n                    self._turn.end()",
        "                pass",
    ),
    Mistake(
        "a message of a program of tools has no bound",
        "server/mcp/stdio.py",
        "                room.hold(size)\n",
        "                size += 0\n",
    ),
    Mistake(
        "a server of tools may ask without end",
        "server/mcp/one_stream.py",
        "if self._asked > MOST_ASKED:",
        "if self._asked < 0:",
    ),
    Mistake(
        "the programs of other callers make room first",
        "server/mcp/places.py",
        "key=lambda idle: not self._waiting[idle.caller]",
        "key=lambda idle: self._waiting[idle.caller]",
    ),
    Mistake(
        "a program of tools has its secrets repeated",
        "server/api/responses/mcp/servers.py",
        'else Secrets("", group.environment)',
        'else Secrets("", {})',
    ),
    Mistake(
        "headers for a program of tools are passed over",
        "server/api/responses/mcp/servers.py",
        'if group.environment is not None and tool["headers"]:',
        'if group.environment is None and tool["headers"] is None:',
    ),
    Mistake(
        "a stream is silent while a tool works",
        "server/api/responses/response_stream.py",
        "with_keep_alives(rounds.calls(self._state))",
        "aiter(rounds.calls(self._state))",
    ),
    Mistake(
        "calls that fail are counted as completed",
        "server/api/responses/server_tools/rounds.py",
        'end, outcome = "failed",',
        'end, outcome = "completed",',
    ),
    Mistake(
        "principals share a session with a server of tools",
        SESSIONS,
        "key = _Key(owner, server.url, _proof(server))",
        'key = _Key(("all",), server.url, _proof(server))',
    ),
    Mistake(
        "credentials share a session with a server of tools",
        SESSIONS,
        "return sha256(dumps(sorted(server.headers.items())).encode()).digest()",
        'return b""',
    ),
    Mistake("a long result of a tool is told whole", "server/mcp/messages.py", "if len(raw) <= MOST_TOLD:", "if raw:"),
    Mistake("pages of tools have no end", "server/mcp/session.py", "if cursor in seen:", "if cursor is seen:"),
    Mistake(
        "a call that is given up is not cancelled",
        "server/mcp/transport.py",
        'if method != "initialize":',
        'if method == "initialize":',
    ),
    Mistake(
        "an approval is used twice",
        APPROVALS,
        "        except Overtaken:\n            return False",
        "        except Overtaken:\n            return True",
    ),
    Mistake(
        "an approval is used by anyone",
        APPROVALS,
        "WHERE id = ?1 AND owner = ?2 AND until >= ?3 RETURNING id",
        "WHERE id = ?1 AND owner IS NOT NULL AND ?2 <> '' AND until >= ?3 RETURNING id",
    ),
    Mistake(
        "an approval is found for anyone",
        APPROVALS,
        "WHERE id = ?1 AND owner = ?2 AND until >= ?3'",
        "WHERE id = ?1 AND ?2 = ?2 AND until >= ?3'",
    ),
    Mistake(
        "an edited call is approved",
        "server/api/responses/mcp/approvals.py",
        "waiting.deed != deed.digest",
        'waiting.deed == ""',
    ),
    Mistake(
        "a tool that has changed is called",
        "server/api/responses/mcp/tool.py",
        "digest_of(self._tool) != self._described",
        "self._tool == {}",
    ),
    Mistake(
        "calls of tools need no approval by default",
        "server/api/responses/mcp/checks.py",
        '    if given is None or given == "always":\n        return None, None',
        '    if given is None or given == "always":\n        return None, {"names": None, "read_only": None}',
    ),
    Mistake(
        "the policy is not asked about servers of tools",
        "server/api/responses/mcp/servers.py",
        "            await remote.group.permit(gate)\n",
        "            pass\n",
    ),
    Mistake(
        "a group of a caller is a way past the rules about its host",
        "server/api/responses/mcp/registered.py",
        "Group(url, group.resource, host_group(url))",
        "Group(url, group.resource)",
    ),
    Mistake(
        "the policy is not asked about a server when its tool is called",
        "server/api/responses/mcp/tool.py",
        "        await group.permit(self.gate)\n",
        "        del group\n        group = self.remote.group\n",
    ),
    Mistake(
        "a server of tools has its credentials repeated",
        "server/api/responses/mcp/secrets.py",
        "text = text.replace(secret, _HIDDEN)",
        "text = str(text)",
    ),
    Mistake(
        "tools that the policy refuses are offered",
        "server/api/responses/mcp/kind.py",
        'is_permitted = tool["name"] in permitted',
        "is_permitted = True",
    ),
    Mistake(
        "a whole address of a server of tools is shown",
        "server/api/responses/tools.py",
        "return mcp.shown(members)",
        "return {**members}",
    ),
    Mistake(
        "calls of an ended session share one fault",
        "server/mcp/one_stream.py",
        "raise copy_of(self._fault)",
        "raise self._fault",
    ),
    Mistake(
        "calls that end with their session share one fault",
        "server/mcp/one_stream.py",
        "fail(answered, copy_of(fault))",
        "fail(answered, fault)",
    ),
    Mistake(
        "a child with a session of its own outlives its program",
        "server/mcp/launcher.py",
        "    _call_kernel(_PR_SET_CHILD_SUBREAPER, 1)\n",
        "",
    ),
    Mistake(
        "a program may have all memory",
        "server/mcp/launcher.py",
        "    resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))\n",
        "",
    ),
    Mistake(
        "a launcher outlives the server",
        "server/mcp/launcher.py",
        "    _call_kernel(_PR_SET_PDEATHSIG, signal.SIGCONT)\n",
        "",
    ),
    Mistake(
        "a launcher that is stopped outlives the server",
        "server/mcp/launcher.py",
        "    _call_kernel(_PR_SET_PDEATHSIG, signal.SIGCONT)\n",
        "    _call_kernel(_PR_SET_PDEATHSIG, signal.SIGTERM)\n",
    ),
    Mistake(
        "a program ends its launcher by a signal",
        "server/mcp/launcher.py",
        "signal.SIG_BLOCK, signal.valid_signals()",
        "signal.SIG_BLOCK, _AWAITED",
    ),
    Mistake(
        "callers with several programs may call them in all places",
        "server/mcp/places.py",
        "(FairShares(replace(share, each=1)), FairShares(further))",
        "(FairShares(share),)",
    ),
    Mistake(
        "the leave to call a program is never given back",
        "server/mcp/kept_program.py",
        "                    self._leave.end()\n",
        "",
    ),
    Mistake(
        "a place that is given to a caller who has another one by then is lost",
        "server/mcp/places.py",
        "        wait.result().end()\n",
        "        pass\n",
    ),
    Mistake(
        "programs have any memory together",
        "server/mcp/memory.py",
        "    if excess <= 0:\n",
        "    if most:\n",
    ),
    Mistake(
        "what a program has started counts for nothing",
        "server/mcp/memory.py",
        "        ahead += children\n",
        "",
    ),
    Mistake(
        "what processes share counts for each of them",
        "server/mcp/memory.py",
        "sum(map(_exactly, tree))",
        "quick[launcher]",
    ),
    Mistake(
        "a program that is called ends before one that is not",
        "server/mcp/memory.py",
        "if not each.is_called)",
        "if each.is_called)",
    ),
    Mistake(
        "a program that is idle makes no way",
        "server/mcp/places.py",
        "            self._make_way()\n            return",
        "            return",
    ),
    Mistake(
        "programs make way for a caller who gets no more places",
        "server/mcp/places.py",
        "min(count, most - self._shares.held(caller) + leaving[caller])",
        "min(count, most + leaving[caller])",
    ),
    Mistake(
        "a program whose call has ended makes no way",
        "server/mcp/places.py",
        "        self._idle[program] = None\n        self._make_way()\n",
        "        self._idle[program] = None\n",
    ),
    Mistake(
        "a program makes way while it is called",
        "server/mcp/kept_program.py",
        "                self._wire.processes.busy(self._stdio)\n",
        "",
    ),
)
