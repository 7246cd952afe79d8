"""Chunks as rows for LanceDB, and a part's rows on the way to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, TypeAlias

from server.storage.vectors.index import Chunk, WrongDimensions

ROWS: Final = 1024
"""Rows that are turned at a time."""

HELD_BYTES: Final = 8 * 1024 * 1024
"""Bytes of rows that are held in memory until their commit; further ones are in a file without a name."""

Placed: TypeAlias = tuple[int, Chunk]
"""A chunk, and the number of the part that it belongs to."""

DESCRIPTORS: Final = Path("/proc/self/fd")
"""The directory in which a process finds its open files, where the system has one."""

UNUSED_PART: Final = -1
"""The number of a part that no search names."""


def schema(dimensions: int) -> Any:
    """Return the columns of a table."""
    import pyarrow as pa

    return pa.schema(
        [
            ("part", pa.int64()),
            ("ordinal", pa.int64()),
            ("id", pa.string()),
            ("extra", pa.string()),
            ("text", pa.string()),
            ("vector", pa.list_(pa.float32(), dimensions)),
        ]
    )


def filler(dimensions: int) -> Any:
    """Return one row of no part."""
    import pyarrow as pa

    texts = {"id": [""], "extra": [""], "text": [""]}
    empty = {"part": [UNUSED_PART], "ordinal": [0], **texts, "vector": [[0.0] * dimensions]}
    return pa.table(empty, schema=schema(dimensions))


def unit_vectors(vectors: Sequence[Sequence[float]], dimensions: int) -> Any:
    """Return vectors as the rows of a matrix, each of length 1, or 0 where it was.

    Raises WrongDimensions, and ValueError for a number that isn't finite.
    """
    import numpy as np

    for vector in vectors:
        if len(vector) != dimensions:
            raise wrong(len(vector), dimensions)
    matrix = np.array(vectors, dtype=np.float64).reshape(len(vectors), dimensions)
    if not np.isfinite(matrix).all():
        raise ValueError("a vector holds a number that is not finite")
    # By the largest number first: squares of large ones have no place in a float.
    largest = np.abs(matrix).max(axis=1, keepdims=True, initial=0.0)
    matrix /= np.where(largest > 0, largest, 1.0)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix /= np.where(lengths > 0, lengths, 1.0)
    return matrix.astype(np.float32)


def wrong(given: int, dimensions: int) -> WrongDimensions:
    """Return the exception for a vector with another number of dimensions."""
    return WrongDimensions(f"a vector has {given} dimensions, and the store has {dimensions}")


async def in_part(part: int, chunks: AsyncIterator[Sequence[Chunk]]) -> AsyncIterator[Sequence[Placed]]:
    """Yield chunks of one part with its number."""
    async for some in chunks:
        yield [(part, chunk) for chunk in some]


async def in_parts(chunks: Mapping[int, Sequence[Chunk]]) -> AsyncIterator[Sequence[Placed]]:
    """Yield chunks of several parts with their numbers."""
    yield [(part, chunk) for part, some in chunks.items() for chunk in some]


def written(text: str) -> str:
    """Return the text as UTF-8 can hold it: half a pair of surrogates becomes `?`."""
    return text.encode("utf-8", "replace").decode()


class NewRows:
    """The rows of one commit until all of them are there; used by one thread at a time."""

    def __init__(self, dimensions: int, folder: Path | None) -> None:
        """`folder` is for a file of rows that have more than `HELD_BYTES`."""
        self.count = 0
        self._dimensions = dimensions
        self._folder = folder
        self._schema = schema(dimensions)
        self._held: list[Any] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._readings: list[Any] = []
        self._writer: Any = None

    def write(self, placed: Sequence[Placed]) -> None:
        """Add rows; raises WrongDimensions, and OSError where the disk takes no more."""
        for start in range(0, len(placed), ROWS):
            batch = self._batch(placed[start : start + ROWS])
            self.count += batch.num_rows
            self._bytes += batch.nbytes
            self._held.append(batch)
            if self._bytes > HELD_BYTES or self._writer is not None:
                self._put_away()

    @property
    def is_large(self) -> bool:
        """Whether there are more rows than are held in memory."""
        return self._bytes > HELD_BYTES

    def read(self) -> Any:
        """Return a reader of all rows, as often as it is asked for; it is of no use after `close`."""
        import pyarrow as pa

        if self._writer is None:
            return pa.RecordBatchReader.from_batches(self._schema, self._held)
        self._writer.close()
        if self._file is None:
            raise RuntimeError("rows are read after their end")
        self._file.flush()
        # By its descriptor, LanceDB's threads read it without Python's lock.
        opened = DESCRIPTORS / str(self._file.fileno())
        if opened.exists():
            self._readings.append(pa.OSFile(str(opened)))
            return pa.ipc.open_stream(self._readings[-1])
        self._file.seek(0)
        return pa.ipc.open_stream(pa.PythonFile(self._file, mode="r"))

    def close(self) -> None:
        """Drop the rows, once nothing reads them any more."""
        self._held.clear()
        # LanceDB drops a reader some time after its last use, and without this the disk had its file until then.
        for reading in self._readings:
            reading.close()
        if self._file is not None:
            self._file.close()

    def _batch(self, placed: Sequence[Placed]) -> Any:
        import pyarrow as pa

        chunks = [chunk for _, chunk in placed]
        vectors = unit_vectors([chunk.vector for chunk in chunks], self._dimensions)
        columns = [
            pa.array([part for part, _ in placed], pa.int64()),
            pa.array([chunk.ordinal for chunk in chunks], pa.int64()),
            *(
                pa.array([written(text) for text in texts], pa.string())
                for texts in (
                    [chunk.id for chunk in chunks],
                    [chunk.extra for chunk in chunks],
                    [chunk.text for chunk in chunks],
                )
            ),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), self._dimensions),
        ]
        return pa.record_batch(columns, schema=self._schema)

    def _put_away(self) -> None:
        import pyarrow as pa

        if self._file is None:
            self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115  # `close` closes it
            self._writer = pa.ipc.new_stream(pa.PythonFile(self._file, mode="w"), self._schema)
        for batch in self._held:
            self._writer.write_batch(batch)
        self._held.clear()


def likeness(score: float) -> float:
    """Return a score of BM25, which has no end, as one from 0 to 1."""
    return score / (1.0 + score) if score > 0 else 0.0
