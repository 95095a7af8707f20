"""Tensors of a checkpoint on a disk or in an object store: one file of bytes per process, and an index.

DCP's own storages don't fit: the index of FileSystemWriter is a pickle, so anyone who can write it could run code when
it is read, and HuggingFaceStorageReader reads no object stores. Our index is JSON. It is written after every process's
file, so a folder without it is no checkpoint.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pyarrow import fs
from torch import Tensor
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem, SavePlan, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from commoncanvas.core.files import sync
from commoncanvas.table.storage import Storage

INDEX = "index.json"
T = TypeVar("T")


class Folder:
    """One checkpoint's `folder` of `storage`, and the methods of DCP's writers and readers that need nothing done."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self.storage, self.folder = storage, folder
        self.root = f"{storage.root}/{folder}"

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None: ...

    def prepare_local_plan(self, plan: T) -> T:
        return plan

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return False


class Writer(Folder, StorageWriter):
    """Writes one checkpoint into `folder` of `storage`. `run`: the run's fingerprint."""

    def __init__(self, storage: Storage, folder: str, run: str) -> None:
        super().__init__(storage, folder)
        self.run = run

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None: ...

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        # Delete files of a killed run. Only the main process calls this; the others wait.
        for path in self.storage.files(self.folder):
            self.storage.delete(path)
        self.storage.filesystem.create_dir(self.root)
        return [replace(plan, storage_data=f"{rank}.bin") for rank, plan in enumerate(plans)]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        name, results = plan.storage_data, []
        with self.storage.filesystem.open_output_stream(f"{self.root}/{name}") as file:
            for item in plan.items:
                data = _bytes(cast(Tensor, planner.resolve_data(item)))
                results.append(WriteResult(item.index, len(data), {"file": name, "at": file.tell()}))
                file.write(data)
        self._sync(name)
        return _done(results)

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        places = {result.index: result.storage_data for rank_results in results for result in rank_results}
        tensors: dict[str, Any] = {}
        for name, tensor in metadata.state_dict_metadata.items():
            assert isinstance(tensor, TensorStorageMetadata)
            chunks = [
                {"offsets": chunk.offsets, "sizes": chunk.sizes} | places[MetadataIndex(name, chunk.offsets)]
                for chunk in tensor.chunks
            ]
            dtype = str(tensor.properties.dtype).removeprefix("torch.")
            tensors[name] = {"dtype": dtype, "size": tensor.size, "chunks": chunks}
        self._sync("")
        index = json.dumps({"run": self.run, "tensors": tensors})
        self.storage.write(f"{self.folder}/{INDEX}", index.encode())
        self._sync("", "..")

    def _sync(self, *paths: str) -> None:
        """Flush paths in the folder to disk, so that they survive a power cut. Object stores do so themselves."""
        if isinstance(self.storage.filesystem, fs.LocalFileSystem):
            for path in paths:
                sync(Path(self.root, path), deep=False)


class Reader(Folder, StorageReader):
    """Reads one checkpoint from `folder` of `storage`."""

    def __init__(self, storage: Storage, folder: str) -> None:
        super().__init__(storage, folder)
        self.index: dict[str, Any] = json.loads(storage.read(f"{folder}/{INDEX}"))

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        tensors: dict[str, Any] = {}
        places: dict[MetadataIndex, dict[str, Any]] = {}
        for name, found in self.index["tensors"].items():
            dtype = torch.empty(0, dtype=getattr(torch, found["dtype"])).dtype
            chunks = []
            for chunk in found["chunks"]:
                offsets = torch.Size(chunk["offsets"])
                chunks.append(ChunkStorageMetadata(offsets, torch.Size(chunk["sizes"])))
                places[MetadataIndex(name, offsets)] = chunk | {"dtype": dtype}
            tensors[name] = TensorStorageMetadata(TensorProperties(dtype), torch.Size(found["size"]), chunks)
        return Metadata(tensors, storage_data=places)

    def set_up_storage_reader(
        self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any
    ) -> None:
        self._places = metadata.storage_data

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        by_file: dict[str, list[ReadItem]] = defaultdict(list)
        for item in plan.items:
            by_file[self._places[item.storage_index]["file"]].append(item)
        for name, items in by_file.items():
            with self.storage.filesystem.open_input_file(f"{self.root}/{name}") as file:
                for item in items:
                    part = _read(file, self._places[item.storage_index])
                    for dim, ends in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                        part = part.narrow(dim, *ends)
                    target = planner.resolve_tensor(item).detach()
                    target.copy_(part)
                    planner.commit_tensor(item, target)
        return _done(None)


def read_tensors(reader: Reader, names: Sequence[str]) -> dict[str, Tensor]:
    """Some whole tensors of a checkpoint, on the CPU, by their names."""
    saved = {name: reader.index["tensors"][name] for name in names}
    tensors = {
        name: torch.empty(each["size"], dtype=getattr(torch, each["dtype"])) for name, each in saved.items()
    }
    load(tensors, storage_reader=reader, no_dist=True)
    return tensors


def _read(file: Any, chunk: Mapping[str, Any]) -> Tensor:
    """A chunk of a tensor, in one piece: one request to an object store. Raises EOFError if the file is cut off."""
    tensor = torch.empty(chunk["sizes"], dtype=chunk["dtype"])
    file.seek(chunk["at"])
    if file.readinto(_bytes(tensor)) < tensor.nbytes:
        raise EOFError(f"{chunk['file']} is incomplete")
    return tensor


def _bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """The bytes of a tensor in C order; if it is contiguous, in its own memory."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()


def _done(value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future
