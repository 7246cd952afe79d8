"""Leaving out the oldest items of a context, so that no output of a call stays without the call."""

from __future__ import annotations

from json import loads
from typing import Final

from server.api.conversations.body import PREFIXES
from server.api.responses.item_list import ItemList
from server.fairness.threads import in_thread
from server.inference.answers.model_name import QUICK

_CALLS: Final = tuple(f"{PREFIXES[kind]}_" for kind in ("custom_tool_call", "function_call"))
_OUTPUTS: Final = tuple(f"{PREFIXES[kind]}_" for kind in ("custom_tool_call_output", "function_call_output"))
"""How the ids of those items begin that models read as calls and as their outputs."""


async def newest(items: ItemList, count: int, size: int, *, is_cut: bool) -> ItemList:
    """Return the newest of these items, as many as there may be, with as many bytes; raises NoRoom.

    Outputs of calls that are left out are left out, too; also if the items themselves are what is left of more, which
    `is_cut` says.
    """
    first = len(items)
    while first and len(items) - first < count and len(items.texts[first - 1]) <= size:
        first -= 1
        size -= len(items.texts[first])
    if not first and not is_cut:
        return items
    kept = ItemList(items.ids[first:], items.texts[first:])
    return await in_thread(_paired, kept) if kept.size > QUICK else _paired(kept)


def _paired(items: ItemList) -> ItemList:
    """Return the items without outputs of calls that don't stand before them."""
    calls, kept = set[str](), list[tuple[str, bytes]]()
    for (identity, text), item in zip(items.pairs, items.plain(), strict=True):
        is_output = identity.startswith(_OUTPUTS)
        if is_output or identity.startswith(_CALLS):
            call = str(loads(bytes(item)).get("call_id"))
            if is_output and call not in calls:
                continue
            calls.add(call)
        kept.append((identity, text))
    return ItemList.of(kept)
