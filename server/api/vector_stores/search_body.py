"""The body of a search of a vector store, in OpenAI's form, with the members that Llama Stack adds.

The check may run in a worker process, so this module imports the standard library, `server.json_input` and modules that
import no more than these.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from server.api.vector_stores.filters import read_filter
from server.http.body_checks import known_members, missing, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, Json

MOST_RESULTS: Final = 50
"""Chunks that one search returns."""

USUAL_RESULTS: Final = 10

MOST_QUERIES: Final = 8
"""Queries of one search."""

LARGEST_IMPACT: Final = 10_000.0

_RANKERS: Final = ("none", "auto", "default-2024-11-15", "rrf", "weighted")
_MODES: Final = ("vector", "keyword", "hybrid")
_WEIGHTS: Final = {"embedding_weight": "vector_weight", "text_weight": "text_weight"}


@dataclass(frozen=True, slots=True)
class SearchBody:
    """A search: `filters` as the body has them, and `ranking` the options of a ranking by the names of its members."""

    queries: list[str]
    filters: dict[str, Any] | None
    limit: int
    mode: str
    ranking: dict[str, Any]


def read_search(document: Document) -> Json:
    """Return the members of `SearchBody`; raises InvalidJson."""
    body = document.members
    known_members(body, ("query", "filters", "max_num_results", "ranking_options", "rewrite_query", "search_mode"))
    filters = body.get("filters")
    if filters is not None:
        read_filter(filters)
    rewrite = body.get("rewrite_query")
    if rewrite is not None and type(rewrite) is not bool:
        raise wrong("rewrite_query", "must be true or false")
    ranking = ranking_of(body.get("ranking_options"))
    mode = body.get("search_mode")
    if mode is None:
        mode = usual_mode(ranking)
    elif mode not in _MODES:
        raise wrong("search_mode", f"must be one of {', '.join(_MODES)}")
    return {
        "queries": _queries(body),
        "filters": filters,
        "limit": limit_of(body.get("max_num_results")),
        "mode": mode,
        "ranking": ranking,
    }


SEARCH: Final = BodyParser(read_search, SearchBody)


def usual_mode(ranking: Json) -> str:
    """Return the mode of a search that says none: options about words ask for both words and meaning."""
    return "hybrid" if "vector_weight" in ranking or "text_weight" in ranking else "vector"


def _queries(body: Json) -> list[str]:
    query = body.get("query")
    if query is None:
        raise missing("query")
    if type(query) is str:
        return [query]
    if type(query) is not list or not 0 < len(query) <= MOST_QUERIES or any(type(each) is not str for each in query):
        raise wrong("query", f"must be a text, or a list of 1 to {MOST_QUERIES} texts")
    return query


def limit_of(value: object, place: str = "max_num_results") -> int:
    """Return the number of results; raises InvalidJson."""
    if value is None:
        return USUAL_RESULTS
    if type(value) is not int or not 1 <= value <= MOST_RESULTS:
        raise wrong(place, f"must be a whole number from 1 to {MOST_RESULTS}")
    return value


def ranking_of(given: object, place: str = "ranking_options") -> Json:
    """Return the options of a ranking by the names of its members; raises InvalidJson."""
    if given is None:
        return {}
    if type(given) is not dict:
        raise wrong(place, "must be an object")
    known_members(given, ("ranker", "score_threshold", "hybrid_search", "impact_factor", "alpha"), place)
    found: Json = {}
    ranker = given.get("ranker")
    if ranker is not None:
        if ranker not in _RANKERS:
            raise wrong(f"{place}.ranker", f"must be one of {', '.join(_RANKERS)}")
        if ranker in ("rrf", "weighted"):
            found["fusion"] = ranker
    if given.get("score_threshold") is not None:
        found["threshold"] = _number(given["score_threshold"], f"{place}.score_threshold", 0.0, 1.0)
    if given.get("impact_factor") is not None:
        found["impact"] = _number(given["impact_factor"], f"{place}.impact_factor", 1.0, LARGEST_IMPACT)
    if given.get("alpha") is not None:
        # Llama Stack's weight of the vectors in a weighted mean.
        alpha = _number(given["alpha"], f"{place}.alpha", 0.0, 1.0)
        found |= {"vector_weight": alpha, "text_weight": 1.0 - alpha}
    if given.get("hybrid_search") is not None:
        found |= _weights(given["hybrid_search"], f"{place}.hybrid_search")
    return found


def _weights(given: object, place: str) -> Json:
    if type(given) is not dict:
        raise wrong(place, "must be an object with `embedding_weight` and `text_weight`")
    known_members(given, _WEIGHTS, place)
    found: Json = {}
    for name, ours in _WEIGHTS.items():
        if given.get(name) is None:
            raise missing(f"{place}.{name}")
        found[ours] = _number(given[name], f"{place}.{name}", 0.0, LARGEST_IMPACT)
    if not any(found.values()):
        raise wrong(place, "needs a weight above 0")
    return found


def _number(value: object, place: str, least: float, most: float) -> float:
    if type(value) not in (int, float) or not least <= value <= most or not isfinite(value):  # type: ignore[operator, arg-type]  # the first test says that it is a number
        raise wrong(place, f"must be a number from {least:g} to {most:g}")
    return float(value)  # type: ignore[arg-type]  # as above
