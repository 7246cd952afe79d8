"""The vectors of the stores of `inline::faiss` that were searched last, in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

from server.storage.vectors.faiss_rows import FaissRows
from server.storage.vectors.index import IndexUnavailable, Vector
from server.storage.vectors.rows import unit_vectors

MOST_STORES: Final = 256
"""Stores whose vectors are held in memory at the same time."""

MOST_BYTES: Final = 1024 * 1024 * 1024
"""Bytes of vectors that are held in memory; those of one store may be more."""


@dataclass(slots=True, eq=False)
class _Loaded:
    """The vectors of one store in memory: a flat index, and the number and the part of each of its rows."""

    dimensions: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    index: Any = None
    rows: Any = None
    parts: Any = None

    @property
    def bytes(self) -> int:
        return 0 if self.rows is None else len(self.rows) * (self.dimensions * 4 + 16)


class LoadedStores:
    """Stores whose vectors are in memory, read from the rows of the file when a search needs them.

    Its methods may be called in several threads at once.
    """

    def __init__(self, rows: FaissRows) -> None:
        self._rows = rows
        self._guard = threading.Lock()
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()

    def nearest(self, key: str, vector: Vector, parts: list[int], limit: int) -> list[tuple[int, float]]:
        """Return the numbers and scores of the rows of these parts that are nearest to the vector, best first.

        Raises WrongDimensions, and IndexUnavailable while another search reads the vectors of the store.
        """
        import numpy as np

        loaded = self._store(key)
        if loaded is None:
            return []
        query = unit_vectors([vector], loaded.dimensions)
        if not loaded.lock.acquire(blocking=loaded.index is not None):
            raise IndexUnavailable("the vectors of this store are being read; try again in a moment", starting=True)
        try:
            if loaded.index is None:
                self._extend(loaded, self._rows.vectors(key))
            among = np.isin(loaded.parts, np.array(parts, np.int64))
            count = min(limit, int(among.sum()))
            if not count:
                return []
            scores, places = loaded.index.search(query, count, params=_among(np.packbits(among, bitorder="little")))
            rows: list[int] = loaded.rows[places[0]].tolist()
        finally:
            loaded.lock.release()
        self._make_room(key)
        return [*zip(rows, map(float, scores[0]), strict=True)]

    def commit(self, key: str, batch: int) -> None:
        """Make a batch count, in the file and then in memory; a search sees all of it or none."""
        with self._guard:
            loaded = self._loaded.get(key)
        rows = [] if loaded is None else [*self._rows.vectors(key, batch)]
        if loaded is None:
            self._rows.commit(batch)
            # It may have been loaded just before.
            self.drop(key)
            return
        with loaded.lock:
            self._rows.commit(batch)
            if loaded.index is not None:
                self._extend(loaded, rows)

    def withdraw(self, key: str, batch: int) -> None:
        """Let a batch not count: a caller that was cancelled may have made it count just before."""
        if self._rows.withdraw(batch):
            self.drop(key)

    def remove(self, key: str, parts: list[int]) -> None:
        """Remove the vectors of parts, whose rows are gone."""
        import numpy as np

        with self._guard:
            loaded = self._loaded.get(key)
        if loaded is None:
            return
        with loaded.lock:
            if loaded.index is None:
                return
            gone = np.isin(loaded.parts, np.array(parts, np.int64))
            if gone.any():
                loaded.index.remove_ids(np.flatnonzero(gone))
                loaded.rows, loaded.parts = loaded.rows[~gone], loaded.parts[~gone]

    def drop(self, key: str) -> None:
        """Forget the vectors of a store; the next search reads them again."""
        with self._guard:
            self._loaded.pop(key, None)

    def clear(self) -> None:
        """Forget the vectors of all stores."""
        with self._guard:
            self._loaded.clear()

    def _store(self, key: str) -> _Loaded | None:
        """Return the store, whose vectors may not be there yet; None where there is no such store."""
        with self._guard:
            found = self._loaded.get(key)
            if found is None:
                dimensions = self._rows.dimensions(key)
                if dimensions is None:
                    return None
                found = self._loaded[key] = _Loaded(dimensions)
            self._loaded.move_to_end(key)
            return found

    def _extend(self, loaded: _Loaded, rows: Any) -> None:
        """Add rows to the vectors in memory; the caller has their lock."""
        import faiss
        import numpy as np

        index = loaded.index
        if index is None:
            index = faiss.IndexFlatIP(loaded.dimensions)
            loaded.rows = loaded.parts = np.empty(0, np.int64)
        found, parts = [loaded.rows], [loaded.parts]
        for some in rows:
            found.append(np.array([row for row, _, _ in some], np.int64))
            parts.append(np.array([part for _, part, _ in some], np.int64))
            vectors = np.frombuffer(b"".join(vector for _, _, vector in some), np.float32)
            index.add(vectors.reshape(len(some), loaded.dimensions))
        loaded.rows, loaded.parts = np.concatenate(found), np.concatenate(parts)
        loaded.index = index

    def _make_room(self, key: str) -> None:
        """Drop the vectors of stores that were used least recently, where there are too many."""
        with self._guard:
            size = sum(each.bytes for each in self._loaded.values())
            for other in [other for other in self._loaded if other != key]:
                if size <= MOST_BYTES and len(self._loaded) <= MOST_STORES:
                    return
                size -= self._loaded.pop(other).bytes


def _among(bits: Any) -> Any:
    """Return the parameters of a search among the vectors whose bits are set."""
    import faiss

    library: Any = faiss
    return library.SearchParameters(sel=library.IDSelectorBitmap(bits))
