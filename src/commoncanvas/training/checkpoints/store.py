"""Tensors of a checkpoint on a disk or in an object store: DCP's files with our own index.

DCP's index is a pickle: anyone who can write it could run code when it is read. Ours is JSON, and tensors are read by
`torch.load(weights_only=True)`. The index is written after every rank's file, so a folder without it is no checkpoint.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pyarrow import fs
from torch.distributed.checkpoint.filesystem import (
    FileSystem,
    FileSystemReader,
    FileSystemWriter,
    _StorageInfo,
)
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import SavePlan
from torch.distributed.checkpoint.storage import WriteResult

from commoncanvas.table.storage import Storage

INDEX = "index.json"


class Writer(FileSystemWriter):
    """Writes one checkpoint into `folder` of `storage`. `run`: the run's fingerprint."""

    def __init__(self, storage: Storage, folder: str, run: str) -> None:
        files = _files(storage)
        super().__init__(f"{storage.root}/{folder}", sync_files=isinstance(files, _Disk))
        self.fs: _Disk | _ObjectStore = files
        self.storage, self.folder, self.run = storage, folder, run

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        # Delete files of a killed run. Only the main process calls this; the others wait.
        for path in self.storage.files(self.folder):
            self.storage.delete(path)
        return super().prepare_global_plan(plans)

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        places = {result.index: result.storage_data for rank_results in results for result in rank_results}
        tensors = {
            name: _described(name, tensor, places) for name, tensor in metadata.state_dict_metadata.items()
        }
        self.fs.put(Path(self.path) / INDEX, json.dumps({"run": self.run, "tensors": tensors}).encode())


class Reader(FileSystemReader):
    """Reads one checkpoint from `folder` of `storage`."""

    def __init__(self, storage: Storage, folder: str) -> None:
        super().__init__(f"{storage.root}/{folder}")
        self.fs = _files(storage)
        self.index: dict[str, Any] = json.loads(storage.read(f"{folder}/{INDEX}"))

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        tensors: dict[str, Any] = {}
        places: dict[MetadataIndex, _StorageInfo] = {}
        for name, found in self.index["tensors"].items():
            chunks = []
            for chunk in found["chunks"]:
                offsets = torch.Size(chunk["offsets"])
                chunks.append(ChunkStorageMetadata(offsets, torch.Size(chunk["sizes"])))
                places[MetadataIndex(name, offsets)] = _StorageInfo(
                    chunk["file"], chunk["at"], chunk["bytes"]
                )
            properties = TensorProperties(torch.empty(0, dtype=getattr(torch, found["dtype"])).dtype)
            tensors[name] = TensorStorageMetadata(properties, torch.Size(found["size"]), chunks)
        return Metadata(tensors, storage_data=places)

    def _slice_file(self, file: Any, sinfo: _StorageInfo) -> io.BytesIO:
        # In one piece: each of torch.load's many small reads would be a request to an object store.
        file.seek(sinfo.offset)
        return io.BytesIO(file.read(sinfo.length))


class _Disk(FileSystem):
    def put(self, path: Path, data: bytes) -> None:
        """Write a file atomically, even with a power cut, and after the other files of its folder are on disk."""
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync(path.parent)
        partial.rename(path)
        _sync(path.parent)
        _sync(path.parent.parent)


class _ObjectStore(FileSystem):
    """An object store, where an object appears when it is complete."""

    def __init__(self, storage: Storage) -> None:
        self.filesystem = storage.filesystem

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[Any]:
        opened = self.filesystem.open_input_file if mode == "rb" else self.filesystem.open_output_stream
        with opened(str(path)) as stream:
            yield stream

    def put(self, path: Path, data: bytes) -> None:
        with self.create_stream(path, "wb") as stream:
            stream.write(data)

    def mkdir(self, path: str | os.PathLike[str]) -> None:
        """Does nothing: object stores have no folders."""

    def exists(self, path: str | os.PathLike[str]) -> bool:
        return False


def _files(storage: Storage) -> _Disk | _ObjectStore:
    return _Disk() if isinstance(storage.filesystem, fs.LocalFileSystem) else _ObjectStore(storage)


def _described(name: str, tensor: Any, places: dict[MetadataIndex, _StorageInfo]) -> dict[str, Any]:
    chunks = []
    for chunk in tensor.chunks:
        place = places[MetadataIndex(name, chunk.offsets)]
        chunks.append(
            {
                "offsets": list(chunk.offsets),
                "sizes": list(chunk.sizes),
                "file": place.relative_path,
                "at": place.offset,
                "bytes": place.length,
            }
        )
    kind = str(tensor.properties.dtype).removeprefix("torch.")
    return {"dtype": kind, "size": list(tensor.size), "chunks": chunks}


def _sync(folder: Path) -> None:
    """Flush a folder's entries to disk, so that they survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
