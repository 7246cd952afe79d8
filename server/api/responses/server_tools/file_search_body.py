"""The tool `file_search` in a body, and the arguments of its calls, which a model writes.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from dataclasses import dataclass
from json import loads
from typing import Any, Final

from server.api.vector_stores.filters import read_filter
from server.api.vector_stores.search_body import MOST_QUERIES, limit_of, ranking_of, usual_mode
from server.http.body_checks import wrong
from server.json_input.strict import Json

MOST_STORES: Final = 16
"""Vector stores of one tool; for each of them the policy is asked."""

LONGEST_ID: Final = 256
"""Characters of the id of a vector store."""

LONGEST_ARGUMENTS: Final = 64 * 1024
"""Characters of the arguments of a call; longer ones are not read."""

DESCRIPTION: Final = "Searches files of the user, and returns the passages that are nearest to the queries."

PARAMETERS: Final[Json] = {
    "type": "object",
    "properties": {
        "queries": {
            "type": "array",
            "items": {"type": "string"},
            "description": f"1 to {MOST_QUERIES} queries in plain words, each about one thing",
        }
    },
    "required": ["queries"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class FileSearch:
    """A tool that searches `stores`; the other members are as in a `SearchBody`."""

    stores: list[str]
    limit: int
    filters: Json | None
    mode: str
    ranking: Json


def read_file_search(tool: Json, place: str) -> Json:
    """Return the members of `FileSearch`; raises InvalidJson."""
    stores, filters = tool.get("vector_store_ids"), tool.get("filters")
    if type(stores) is not list or not 0 < len(stores) <= MOST_STORES or not all(map(_is_id, stores)):
        raise wrong(f"{place}.vector_store_ids", f"must be a list of 1 to {MOST_STORES} ids of vector stores")
    if filters is not None:
        read_filter(filters, f"{place}.filters")
    ranking = ranking_of(tool.get("ranking_options"), f"{place}.ranking_options")
    return {
        "stores": [*dict.fromkeys(stores)],
        "limit": limit_of(tool.get("max_num_results"), f"{place}.max_num_results"),
        "filters": filters,
        "mode": usual_mode(ranking),
        "ranking": ranking,
    }


def queries_of(arguments: str) -> list[str]:
    """Return the queries of a call, none where the arguments hold none that can be looked for."""
    if len(arguments) > LONGEST_ARGUMENTS:
        return []
    try:
        given: Any = loads(arguments)
    except (ValueError, RecursionError):
        return []
    queries = given.get("queries", given.get("query")) if type(given) is dict else None
    if type(queries) is str:
        queries = [queries]
    if type(queries) is not list:
        return []
    found = [query for query in queries if type(query) is str and query.strip()]
    return [*dict.fromkeys(found)][:MOST_QUERIES]


def _is_id(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= LONGEST_ID
