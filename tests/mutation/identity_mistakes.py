"""Deliberate mistakes about who is asking, and about what everybody may use, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

REMEMBERED = "server/authn/caching.py"
REGISTERED = "server/authn/token_rules.py"
INTROSPECTION = "server/authn/introspection.py"
QUOTA = "server/quota/quota.py"
SQLITE = "server/quota/sqlite.py"
ADDRESSES = "server/net/client_address.py"
METERED = "server/inference/answers/metered.py"

IDENTITY_MISTAKES = (
    Mistake(
        "refusals are remembered for every token alike",
        REMEMBERED,
        "self._refused.put(key, (str(refusal)",
        'self._refused.put(b"", (str(refusal)',
    ),
    Mistake(
        "one refusal is everybody's",
        REMEMBERED,
        'hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()\n        answer',
        'hashlib.sha256(token[:6].encode("utf-8", "surrogatepass")).digest()\n        answer',
    ),
    Mistake(
        "a token is believed beyond its own end",
        REMEMBERED,
        "if answer is not None and now < answer.until and not self._is_over(answer.validated):",
        "if answer is not None and now < answer.until:",
    ),
    Mistake(
        "the last good answer stands until the recheck comes",
        REMEMBERED,
        "if answer is not None and now < answer.until and not",
        "if answer is not None and not",
    ),
    Mistake(
        "a recheck that says no ends nothing",
        REMEMBERED,
        "            self._good.drop(key)\n            self._refused",
        "            self._refused",
    ),
    Mistake(
        "known tokens wait with made-up ones",
        REMEMBERED,
        "if known is None else (self._known, known)",
        "if known is None else (self._unknown, caller_in(request))",
    ),
    Mistake(
        "forged tokens are checked all at once",
        "server/authn/oauth2.py",
        "asyncio.get_running_loop().call_soon(turn.end)",
        "turn.end()",
    ),
    Mistake(
        "one address asks for all readings of keys",
        "server/authn/allowance.py",
        "return self._quiet_ones if is_quiet and self._all.wait() > 0 else self._all",
        "return self._all",
    ),
    Mistake(
        "the oldest token goes, however few its caller has",
        "server/fairness/remembered.py",
        "if len(held.keys) > len(",
        "if len(held.keys) < len(",
    ),
    Mistake(
        "principals of any size are remembered",
        "server/fairness/remembered.py",
        "while self._most_bytes is not None and",
        "while self._most_bytes is None and",
    ),
    Mistake(
        "the oldest principal goes, however small its caller's are",
        "server/fairness/remembered.py",
        "is_own = len(held.keys) > 1 and",
        "is_own = False and",
    ),
    Mistake(
        "an outage is a refusal",
        REMEMBERED,
        "raise IdentityUnavailable(f\"{self._validator.service} can't",
        "raise AuthenticationFailed(f\"{self._validator.service} can't",
    ),
    Mistake(
        "claims that are elsewhere are no claims",
        "server/authn/elsewhere.py",
        "if any(_overlap(claim, name) for claim in marked):",
        "if False:",
    ),
    Mistake(
        "a claim that can be read in two ways is read in the first",
        "server/authn/attributes.py",
        "if len(readings) > 1:",
        "if False:",
    ),
    Mistake(
        "an object is left out whoever mapped it",
        "server/authn/attributes.py",
        "if isinstance(claim, Mapping) and not self.is_default:",
        "if False:",
    ),
    Mistake(
        "a token that may not see organizations has none",
        "server/authn/github.py",
        "if reply.status in (403, 404):\n                raise AuthenticationFailed(",
        "if reply.status in (403, 404):\n                return found\n                raise AuthenticationFailed(",
    ),
    Mistake(
        "a time may be a boolean",
        REGISTERED,
        "if isinstance(value, bool) or not isinstance(value, int | float)",
        "if not isinstance(value, int | float)",
    ),
    Mistake(
        "introspection compares no audience",
        INTROSPECTION,
        "check_issuer_and_audience(claims, self._rules)",
        "check_issuer_and_audience(claims, TokenRules(self._rules.issuer, None))",
    ),
    Mistake(
        "whatever looks true is active", INTROSPECTION, 'claims.get("active") is not True', 'not claims.get("active")'
    ),
    Mistake(
        "introspection compares no times",
        INTROSPECTION,
        "expires = check_times(claims, self._now(), self._rules.leeway)",
        "expires = None",
    ),
    Mistake(
        "a token is good for ever",
        REGISTERED,
        "if expires is not None and expires + leeway <= now:",
        "if expires is not None and expires < 0:",
    ),
    Mistake(
        "an audience may hold ours",
        REGISTERED,
        "rules.audience not in _audiences(claims)",
        'rules.audience not in str(claims.get("aud"))',
    ),
    Mistake(
        "a key is good for ever",
        "server/authn/key_store.py",
        "(self.expires_at is None or now < self.expires_at)",
        "(self.expires_at is None or True)",
    ),
    Mistake("a revoked key goes on", "server/authn/key_store.py", "return self.revoked_at is None and (", "return ("),
    Mistake(
        "the secret of a key is not compared",
        "server/authn/api_keys.py",
        "if key is None or not fits or not key.is_good",
        "if key is None or not key.is_good",
    ),
    Mistake(
        "the keys of one issuer are good for every other",
        "server/wiring/authenticators.py",
        "            issuer=config.issuer,\n",
        "            issuer=None,\n",
    ),
    Mistake(
        "an issuer may publish its keys in plain",
        "server/authn/key_source.py",
        "if not is_allowed(uri, allow_http):",
        'if parts.scheme == "ftp":',
    ),
    Mistake(
        "a host may be asked in plain if its name begins like an allowed one",
        "server/net/plain_http.py",
        "urlsplit(url).hostname in {host.lower() for host in allowed}",
        '(urlsplit(url).hostname or "").startswith(tuple(host.lower() for host in allowed))',
    ),
    Mistake(
        "made-up keys are read for without end",
        "server/authn/jwks.py",
        "            allowance.use()\n",
        "            allowance.wait()\n",
    ),
    Mistake(
        "a reading that fails uses up the allowance",
        "server/authn/jwks.py",
        "        except (ServiceFailed, ValueError) as failure:\n            self._fail()\n",
        "        except (ServiceFailed, ValueError) as failure:\n            self._allowance.of(()).use()\n",
    ),
    Mistake(
        "a token is refused by keys that were read before it came",
        "server/authn/oauth2.py",
        "if read > begun:",
        "if read >= begun:",
    ),
    Mistake(
        "a token without a name of its key takes the last of several",
        "server/authn/verify.py",
        "    if len(candidates) > 1:\n",
        "    if len(candidates) > 9:\n",
    ),
    Mistake(
        "the directories of a file of keys are not looked at",
        "server/local_files/trust.py",
        "        if _is_open(found, _BY_GROUP_OR_OTHERS):\n",
        "        if place == path and _is_open(found, _BY_GROUP_OR_OTHERS):\n",
    ),
    Mistake(
        "a symbolic link hides what it leads to",
        "server/local_files/trust.py",
        "        target = step.readlink()\n",
        "        return\n        target = step.readlink()\n",
    ),
    Mistake(
        "the endpoint sees the caller's credentials",
        "server/authn/custom.py",
        "if name not in _SECRET_HEADERS:",
        "if name:",
    ),
    Mistake(
        "a text is split into letters",
        "server/authn/custom.py",
        " if isinstance(values, list) else [None]",
        "",
    ),
    Mistake("redirects are followed", "server/net/http_client.py", "follow_redirects=False", "follow_redirects=True"),
    Mistake(
        "anybody says for whom it forwards",
        ADDRESSES,
        "if address is None or not self._is_trusted(address):\n            return",
        "if address is None:\n            return",
    ),
    Mistake("the first address that is forwarded counts", ADDRESSES, "for hop in reversed(hops)", "for hop in hops"),
    Mistake(
        "each address of a network is a caller", ADDRESSES, "_IPV6_HOST_BITS: Final = 64", "_IPV6_HOST_BITS: Final = 0"
    ),
    Mistake(
        "one more than the share is given",
        SQLITE,
        "quota.requests) <= :most_requests)",
        "quota.requests) <= :most_requests + 1)",
    ),
    Mistake(
        "a clock that jumps back takes the period along",
        SQLITE,
        "window = max(excluded.window, quota.window)",
        "window = excluded.window",
    ),
    Mistake(
        "a settlement of an old period is taken from the new one",
        SQLITE,
        'WHERE key = :key AND window = :window"',
        'WHERE key = :key AND window >= :window"',
    ),
    Mistake(
        "principals are counted without their issuer",
        QUOTA,
        '("principal", caller.issuer, caller.id)',
        '("principal", caller.id)',
    ),
    Mistake("namespaces are one", QUOTA, "dumps((self._namespace, *who))", "dumps(who)"),
    Mistake("an unknown limit is no limit", QUOTA, "else _NOTHING", "else Limit()"),
    Mistake(
        "probes are counted",
        "server/quota/admission.py",
        "if self.quota is None or path in FREE",
        "if self.quota is None",
    ),
    Mistake(
        "a place is never given back",
        "server/quota/admission.py",
        "            self._inside[key] -= 1\n",
        "            self._inside[key] -= 0\n",
    ),
    Mistake(
        "whoever hangs up pays nothing",
        METERED,
        "used = max(least, self.visible) if",
        "used = 0 if",
    ),
    Mistake("a failure pays nothing", METERED, "and not fault.spent\n", "and fault is not None\n"),
    Mistake("a refusal is paid for", METERED, "and not fault.spent\n", "and fault.spent\n"),
    Mistake(
        "every number is a cost",
        "server/inference/answers/usage.py",
        "type(total) is not int or not 0 < total <= MOST_TOKENS",
        "type(total) is not int",
    ),
    Mistake(
        "the caller sees a usage that it did not ask for",
        "server/inference/answers/usage.py",
        'return b"" if usage is not None and chunk.get("choices") == [] else _DATA',
        "return _DATA",
    ),
    Mistake(
        "a request is paid for before the policy is asked",
        "server/authz/request_authorization.py",
        "            permit = await self._route_answer(self._pep.check_route(context, self._route))\n"
        "            await self._settle(permit, context)",
        "            if self.charge is not None:\n"
        "                await self.charge.pay(None)\n"
        "            self._permit = await self._route_answer(self._pep.check_route(context, self._route))\n"
        "            self._is_asked = True",
    ),
    Mistake(
        "an origin may have a path",
        "server/http/cors.py",
        "if len(origin) > _LONGEST_ORIGIN or _ORIGIN.fullmatch(origin) is None:",
        "if len(origin) > _LONGEST_ORIGIN:",
    ),
    Mistake(
        "no development key is made in a directory with a blank in its name",
        "server/config/home.py",
        "{quote(str((home() / name).absolute()))}",
        "{(home() / name).absolute()}",
    ),
)
