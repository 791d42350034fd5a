"""Rows that must be there as a whole before they can be used: in memory up to a bound, in a file beyond it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import ipc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyarrow.dataset import Dataset

BOUND = 64 * 2**20
"""Bytes that are held in memory; what is more goes to the directory for temporary files, readable by nobody else."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Rows that can be read as often as one likes.

    Attributes:
        schema: Their schema.
        batches: The rows, if they are in memory.
        file: Where they are else.
    """

    schema: pa.Schema
    batches: list[pa.RecordBatch]
    file: Path | None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The rows, a batch at a time."""
        if self.file is None:
            yield from self.batches
            return
        with pa.OSFile(str(self.file)) as source, ipc.open_file(source) as reader:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)

    def table(self) -> pa.Table | Dataset:
        """The rows as DuckDB can scan them."""
        if self.file is None:
            return pa.Table.from_batches(self.batches, self.schema)
        from pyarrow.dataset import dataset  # 70 ms, and hardly ever needed

        return dataset(self.file, schema=self.schema, format="ipc")


@contextmanager
def held(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[Held]:
    """Read everything; it is kept for the length of a `with` block.

    Args:
        schema: The schema of the rows.
        batches: The rows.

    Raises:
        OSError: If the disk is full.
    """
    kept: list[pa.RecordBatch] = []
    size, file = 0, None
    with ExitStack() as stack:
        with ExitStack() as writing:
            writer: ipc.RecordBatchFileWriter | None = None
            for batch in batches:
                size += batch.nbytes
                kept.append(batch)
                if size <= BOUND:
                    continue
                if writer is None:
                    file = Path(stack.enter_context(TemporaryDirectory(prefix="polar_llama_"))) / "rows.arrow"
                    writer = writing.enter_context(ipc.new_file(str(file), schema))
                for part in kept:
                    writer.write_batch(part)
                kept.clear()
        yield Held(schema, kept, file)
