"""All errors that a user can cause. A message is one line: what is wrong, where, and what to do about it."""

from __future__ import annotations

from signal import Signals
from typing import Any


class CommonCanvasError(Exception):
    """Base class. The command line prints such an error as one line and exits with code 2."""


class CatalogError(CommonCanvasError):
    """The catalog's table can't be opened, read or written."""


class SourceError(CommonCanvasError):
    """An import source or its metadata can't be used. (Single bad records are reported instead.)"""


class NothingImportedError(SourceError):
    """An import skipped every record; `report` (an ImportReport) says why."""

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message)
        self.report = report


class NoCatalogError(CatalogError):
    """There is no catalog at a place."""


class NoSuchCreatorError(CatalogError):
    """No row of the catalog is by a creator who was named."""


class RequestRefusedError(CatalogError):
    """A request to take images out is not taken: too many are open."""


class LicenseError(CommonCanvasError):
    """A licence is unknown, or licences can't be combined."""


class RecipeError(CommonCanvasError):
    """A recipe file or one of its fields is wrong."""


class ModelError(CommonCanvasError):
    """A model folder is missing, incomplete, or of the wrong kind."""


class MetricError(CommonCanvasError):
    """A figure can't be computed from these images: too few, or of another network."""


class ReleaseError(CommonCanvasError):
    """A release's answers or files can't be used."""


class TrainingError(CommonCanvasError):
    """A training run can't start or continue."""


class EvaluationError(CommonCanvasError):
    """A model can't be measured as asked: prompts, references, scorers or settings don't fit."""


class EngineError(CommonCanvasError):
    """The requested engine is missing, or its workers can't do the work."""


class ImageError(CommonCanvasError):
    """Bytes that can't be decoded to an image; `status` is the matching `fetch_status`."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class DecoderError(CommonCanvasError):
    """The processes that decode images can't be started. No image causes this."""


class CredentialError(CommonCanvasError):
    """A certificate or key can't be used, or the content credentials of an image can't be read."""


class ServerError(CommonCanvasError):
    """A server can't start: its address, tokens or files."""


class ArenaError(CommonCanvasError):
    """An arena can't be built, read or served."""


class PlatformError(CommonCanvasError):
    """A command needs what this operating system lacks."""


class MissingExtraError(CommonCanvasError):
    """A command needs an optional dependency that isn't installed."""


class TrainingStopped(CommonCanvasError):
    """A signal stopped the run; its state is saved."""

    def __init__(self, message: str, signal: Signals) -> None:
        super().__init__(message)
        self.signal = signal
