"""Decisions of a real OPA, as a handler sees them through the enforcement point."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from policy.vocabulary import Action, Anonymous, Origin, Principal, Resource, Route
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.permit import AccessDenied
from server.authz.readiness import AuthenticationMode
from server.authz.request_context import RequestContext
from tests.support.opa_server import World, world, write_bundle

ISSUER = "https://issuer.example"
ALICE = Principal("alice", ISSUER, {"roles": ("developer",), "teams": ("ml", "infra")})
ROOT = Principal("root", ISSUER, {"roles": ("admin",)})
AS_ALICE = RequestContext("req_1", ALICE)
AS_ROOT = RequestContext("req_2", ROOT)
AS_NOBODY = RequestContext("req_3", Anonymous())
LLAMA = Resource("model", ("ollama/llama", "llama"), None, Origin.CONFIG)
SECRET = Resource("model", ("ollama/secret", "secret"), None, Origin.CONFIG)
CHAT = Route("POST", "/v1/chat/completions")

Test = Callable[[World], Awaitable[None]]


@pytest.fixture
def run(opa_binary: Path, tmp_path: Path) -> Callable[[Test], None]:
    """Runs a test in a world whose OPA serves the bundle written by hand."""

    def in_world(test: Test) -> None:
        async def main() -> None:
            bundle = write_bundle(tmp_path / "bundle.tar.gz")
            async with world(opa_binary, tmp_path, bundle) as here:
                await test(here)

        asyncio.run(main())

    return in_world


def test_a_permit_names_the_rule_that_gave_it_and_so_does_the_log(run: Callable[[Test], None]) -> None:
    async def test(here: World) -> None:
        permit = await here.pep.permit(AS_ALICE, Action.READ, LLAMA)
        assert (permit.decision.rule, permit.decision.source) == ("access_policy[1]", "config.yaml:45")
        assert (permit.principal, permit.action, permit.resource, permit.owner) == (ALICE, Action.READ, LLAMA, None)
        (record,) = await here.records()
        assert record.pop("time").endswith("Z")
        assert 0 < record.pop("milliseconds") < 1000
        assert record == {
            "kind": "resource",
            "request_id": "req_1",
            "decision_id": permit.decision_id,
            "revision": "r1",
            "principal": "alice",
            "issuer": ISSUER,
            "action": "read",
            "resource": "model::ollama/llama",
            "effect": "permit",
            "rule": "access_policy[1]",
            "source": "config.yaml:45",
            "description": None,
            "reason": "the rule permits it",
        }

    run(test)


def test_a_refusal_carries_its_decision_and_is_logged(run: Callable[[Test], None]) -> None:
    async def test(here: World) -> None:
        with pytest.raises(AccessDenied) as caught:
            await here.pep.permit(AS_ALICE, Action.READ, SECRET)
        assert caught.value.decision.description == "secrets are for admins"
        (record,) = await here.records()
        assert (record["effect"], record["rule"], record["decision_id"]) == (
            "deny",
            "access_policy[0]",
            caught.value.decision_id,
        )

    run(test)


def test_no_rule_is_a_refusal(run: Callable[[Test], None]) -> None:
    async def test(here: World) -> None:
        with pytest.raises(AccessDenied) as caught:
            await here.pep.permit(AS_ROOT, Action.UPDATE, LLAMA)
        assert (caught.value.decision.rule, caught.value.decision.reason) == (None, "no rule applies")

    run(test)


def test_a_permitted_create_names_the_caller_as_the_owner_to_be(run: Callable[[Test], None]) -> None:
    async def test(here: World) -> None:
        for names in ((), ("prompt_1",)):
            permit = await here.pep.permit(AS_ALICE, Action.CREATE, Resource("prompt", names))
            assert permit.owner == ALICE

    run(test)


def test_what_one_makes_is_ones_own_and_no_others(run: Callable[[Test], None]) -> None:
    async def test(here: World) -> None:
        mine = Resource("sql_record::openai_files", ("file_1",), ALICE)
        namesake = Resource("sql_record::openai_files", ("file_2",), Principal("alice", "https://other.example"))
        await here.pep.permit(AS_ALICE, Action.DELETE, mine)
        for context, resource in ((AS_ROOT, mine), (AS_NOBODY, mine), (AS_ALICE, namesake)):
            with pytest.raises(AccessDenied):
                await here.pep.permit(context, Action.DELETE, resource)

    run(test)


def test_routes_are_open_to_those_whom_a_rule_lets_in(run: Callable[[Test], None]) -> None:
    async def test(here: World) -> None:
        await here.pep.check_route(AS_ALICE, CHAT)
        await here.pep.check_route(AS_NOBODY, Route("GET", "/v1/health"))
        for context, route, rule in (
            (AS_ALICE, Route("GET", "/v1/admin/x"), "route_policy[0]"),
            (AS_ALICE, Route("GET", "/elsewhere"), None),
            (AS_NOBODY, CHAT, None),
        ):
            with pytest.raises(AccessDenied) as caught:
                await here.pep.check_route(context, route)
            assert caught.value.decision.rule == rule

    run(test)


def test_route_and_resource_are_one_question_two_lines_and_the_route_refuses_first(
    run: Callable[[Test], None],
) -> None:
    async def test(here: World) -> None:
        route_permit, permit = await here.pep.permit_route_and_access(AS_ALICE, CHAT, Action.READ, LLAMA)
        assert permit.resource is LLAMA
        assert here.pdp.questions == 1
        route, resource = await here.records()
        assert (route["route"], resource["resource"]) == ("POST /v1/chat/completions", "model::ollama/llama")
        assert route["decision_id"] == resource["decision_id"] == permit.decision_id == route_permit.decision_id
        with pytest.raises(AccessDenied) as caught:
            await here.pep.permit_route_and_access(AS_ALICE, Route("GET", "/v1/admin"), Action.READ, SECRET)
        assert caught.value.decision.rule == "route_policy[0]"
        assert caught.value.of_route
        assert caught.value.route_permit is None
        with pytest.raises(AccessDenied) as caught:
            await here.pep.permit_route_and_access(AS_ALICE, CHAT, Action.READ, SECRET)
        assert caught.value.decision.rule == "access_policy[0]"
        assert not caught.value.of_route
        assert caught.value.route_permit is not None
        assert caught.value.route_permit.decision_id == caught.value.decision_id

    run(test)


def test_a_list_holds_what_each_caller_may_read_in_order_with_a_decision_for_each(
    run: Callable[[Test], None],
) -> None:
    async def test(here: World) -> None:
        models = [Resource("model", (f"p/{number}", str(number)), None, Origin.CONFIG) for number in range(30)]
        models.insert(7, SECRET)
        readable = [permit.resource for permit in await here.pep.readable(AS_ALICE, models)]
        assert readable == [model for model in models if model is not SECRET]
        assert [permit.resource for permit in await here.pep.readable(AS_ROOT, models)] == models
        assert await here.pep.readable(AS_NOBODY, models) == []
        assert await here.pep.readable(AS_ALICE, []) == []
        records = await here.records()
        named = [name for line in records for name in line.get("resources") or [line["resource"]]]
        assert len(named) == here.pdp.questions == 3 * len(models)
        assert len(records) < 10, "those with one outcome share a line"

    run(test)


def test_the_route_of_a_list_is_asked_about_together_with_it(run: Callable[[Test], None]) -> None:
    async def test(here: World) -> None:
        models = [Resource("model", ("p/a", "a"), None, Origin.CONFIG), SECRET]
        route_permit, permits = await here.pep.permit_route_and_readable(AS_ALICE, CHAT, models)
        assert [permit.resource for permit in permits] == models[:1]
        route, *others = await here.records()
        assert route["route"] == "POST /v1/chat/completions"
        assert [record["effect"] for record in others] == ["permit", "deny"]
        assert {record["decision_id"] for record in others} == {route["decision_id"]} == {route_permit.decision_id}
        assert (await here.pep.permit_route_and_readable(AS_ALICE, CHAT, []))[1] == []
        with pytest.raises(AccessDenied) as caught:
            await here.pep.permit_route_and_readable(AS_ALICE, Route("GET", "/v1/admin"), models)
        assert caught.value.of_route
        assert caught.value.decision.rule == "route_policy[0]"

    run(test)


def test_without_authentication_everything_is_asked_and_permitted_without_an_owner(
    opa_binary: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        bundle = write_bundle(tmp_path / "bundle.tar.gz", authentication="off")
        async with world(opa_binary, tmp_path, bundle, authentication=AuthenticationMode.OFF) as here:
            permit = await here.pep.permit(AS_NOBODY, Action.CREATE, Resource("prompt", ()))
            assert (permit.decision.reason, permit.owner) == ("authentication is not configured", None)
            readiness = await here.probe.check()
            assert (readiness.ready, readiness.authentication) == (True, AuthenticationMode.OFF)

    asyncio.run(main())


def test_a_built_in_that_fails_under_not_is_no_permit(opa_binary: Path, tmp_path: Path) -> None:
    """Without strict errors, OPA takes the failing call for false and the rule for applicable."""
    rule = "permit contains 0 if not regex.match(input.resource.type, input.action)"
    access = f"package ostiary.access\n\nforbid := set()\n\n{rule}\n"

    async def main() -> None:
        bundle = write_bundle(tmp_path / "bundle.tar.gz", access=access)
        async with world(opa_binary, tmp_path, bundle) as here:
            with pytest.raises(PolicyUnavailable) as caught:
                await here.pep.permit(AS_ALICE, Action.READ, Resource("(", ("x",)))
            assert caught.value.failure is Failure.STATUS

    asyncio.run(main())
