"""Trackers that get a run's figures besides its log: TensorBoard always, others by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from commoncanvas.core.errors import CommonCanvasError, MissingExtraError
from commoncanvas.core.text import one_line

PROJECT = "commoncanvas"
"""The project of all runs in trackers; MLflow calls it an experiment."""


@dataclass(frozen=True)
class Tracked:
    """A run as trackers identify it: `id` stays the same when it is resumed after `first_step`."""

    id: str
    name: str
    folder: Path
    settings: dict[str, Any]
    first_step: int = 0


class Tracker(Protocol):
    """Created from a Tracked."""

    def log(self, step: int, figures: dict[str, float]) -> None: ...

    def note(self, name: str, text: str) -> None:
        """Keep a text with the run, such as how figures were measured."""

    def close(self, failed: bool) -> None: ...


class TensorBoard:
    """Event files in the run's folder. What a killed run wrote after `first_step` is discarded."""

    def __init__(self, run: Tracked) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(run.folder / "tensorboard"), purge_step=run.first_step + 1)

    def log(self, step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)

    def note(self, name: str, text: str) -> None:
        self._board.add_text(name, text)

    def close(self, failed: bool) -> None:
        self._board.close()


class WandB:
    """Weights & Biases, with its own settings (WANDB_PROJECT, WANDB_MODE and so on)."""

    def __init__(self, run: Tracked) -> None:
        import wandb

        settings = wandb.Settings(silent=True)
        self._run = wandb.init(
            project=wandb.Settings().project or PROJECT,
            id=run.id,
            name=run.name,
            dir=str(run.folder),
            config=run.settings,
            resume="allow",
            settings=settings,
        )

    def log(self, step: int, figures: dict[str, float]) -> None:
        self._run.log(figures, step=step)

    def note(self, name: str, text: str) -> None:
        self._run.config.update({name: text}, allow_val_change=True)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class MLflow:
    """MLflow, with its own settings (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and so on)."""

    def __init__(self, run: Tracked) -> None:
        import mlflow
        from transformers.utils import flatten_dict

        client = mlflow.MlflowClient()
        name = mlflow.environment_variables.MLFLOW_EXPERIMENT_NAME.get() or PROJECT
        experiment = mlflow.set_experiment(name).experiment_id
        key = "commoncanvas.run"
        found = client.search_runs([experiment], f"tags.`{key}` = '{run.id}'")
        begun = found[0] if found else client.create_run(experiment, run_name=run.name, tags={key: run.id})
        self._mlflow, self._client, self._id = mlflow, client, begun.info.run_id
        client.update_run(self._id, status="RUNNING")
        if not found:
            # 500 characters is the limit of older servers.
            settings = {name: str(value)[:500] for name, value in flatten_dict(run.settings).items()}
            mlflow.log_params(settings, run_id=self._id)

    def log(self, step: int, figures: dict[str, float]) -> None:
        self._mlflow.log_metrics(figures, step=step, run_id=self._id)

    def note(self, name: str, text: str) -> None:
        self._client.set_tag(self._id, f"commoncanvas.{name}", text)

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")


class Trackio:
    """trackio, with its own settings (TRACKIO_DIR and so on)."""

    def __init__(self, run: Tracked) -> None:
        import trackio

        # trackio identifies a run by its name.
        self._run = trackio.init(
            PROJECT, name=f"{run.name}-{run.id[:8]}", config=run.settings, resume="allow", embed=False
        )

    def log(self, step: int, figures: dict[str, float]) -> None:
        self._run.log(figures, step=step)

    def note(self, name: str, text: str) -> None:
        self._run.config[name] = text

    def close(self, failed: bool) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[Tracked], Tracker]] = {"wandb": WandB, "mlflow": MLflow, "trackio": Trackio}


def open_tracker(name: str, run: Tracked) -> Tracker:
    """Raises MissingExtraError if the package is missing, CommonCanvasError if the tracker can't be opened."""
    try:
        return TRACKERS[name](run)
    except ImportError as error:
        raise MissingExtraError(
            f"train.trackers: {name} is not installed ({error}); pip install 'commoncanvas[{name}]'"
        ) from error
    except Exception as error:  # each tracker has its own exceptions
        raise CommonCanvasError(f"train.trackers: {name} can't be opened: {one_line(error)}") from error
