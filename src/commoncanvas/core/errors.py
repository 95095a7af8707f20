"""Every error that a user can cause. The message is one line: what is wrong, where, and what to do about it."""

from __future__ import annotations

from signal import Signals
from typing import Any


class CommonCanvasError(Exception):
    """Base of the errors that the command line prints as one line, with exit code 2."""


class CatalogError(CommonCanvasError):
    """The table can't be opened, read or written as asked."""


class SourceError(CommonCanvasError):
    """An import source, or its metadata, can't be used at all (single bad rows are reported, not raised)."""


class NothingImportedError(SourceError):
    """An import could use no row of its input; `report` (an ImportReport) says why."""

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message)
        self.report = report


class LicenseError(CommonCanvasError):
    """A licence is unknown, or licences can't be combined."""


class RecipeError(CommonCanvasError):
    """A recipe file or one of its fields is wrong."""


class ModelError(CommonCanvasError):
    """A model folder is missing, incomplete, or not of the kind that was asked for."""


class TrainingError(CommonCanvasError):
    """A training run can't start or go on."""


class EngineError(CommonCanvasError):
    """The engine that was asked for isn't there, or its workers can't do the work."""


class ImageError(CommonCanvasError):
    """Bytes that don't become an image; `status` is the `fetch_status` that it means."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class DecoderError(CommonCanvasError):
    """No process that decodes images can be started: no image's fault."""


class MissingExtraError(CommonCanvasError):
    """A command needs an optional dependency that isn't installed."""


class TrainingStopped(CommonCanvasError):
    """A run was stopped by a signal, its state saved."""

    def __init__(self, message: str, signal: Signals) -> None:
        super().__init__(message)
        self.signal = signal
