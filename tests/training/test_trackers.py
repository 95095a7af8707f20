"""Trackers: the same figures as the log's, in one run through a stop and its resumption."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import CommonCanvasError, MissingExtraError
from commoncanvas.training import trackers
from commoncanvas.training.log import RunLog, read_log
from commoncanvas.training.trackers import Tracked, open_tracker
from commoncanvas.training.trainer import Trainer, train
from tests.training.tiny import recipe, stopping_at

Losses = dict[int, float]


def in_mlflow(folder: Path) -> list[Losses]:
    import mlflow

    client = mlflow.MlflowClient()
    (experiment,) = client.search_experiments(filter_string="name = 'commoncanvas'")
    runs = client.search_runs([experiment.experiment_id])
    for run in runs:
        assert run.info.status == "FINISHED" and run.data.params["train.batch_size"] == "8"
    # The last value stays where a step was told twice.
    return [{m.step: m.value for m in client.get_metric_history(run.info.run_id, "loss")} for run in runs]


def in_trackio(folder: Path) -> list[Losses]:
    (database,) = (folder / "trackio").glob("commoncanvas*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT run_name, step, metrics FROM metrics").fetchall()
    found: dict[str, Losses] = {}
    for name, step, metrics in rows:
        found.setdefault(name, {})[step] = json.loads(metrics)["loss"]
    return list(found.values())


@pytest.mark.parametrize(
    ("name", "told"), [pytest.param("mlflow", in_mlflow, marks=pytest.mark.slow), ("trackio", in_trackio)]
)
def test_a_tracker_has_what_the_log_has_in_one_run(
    name: str,
    told: Callable[[Path], list[Losses]],
    shapes: Catalog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'mlruns'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    # Read when trackio is imported, which no other test does.
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    config = recipe("xs-autoencoder", tmp_path, "--train.trackers", f"[{name}]")
    with stopping_at(2):
        train(config)
    train(config, resume=True)
    log = read_log(tmp_path / "xs-autoencoder-run" / "log.jsonl")
    assert told(tmp_path) == [{int(entry["step"]): pytest.approx(entry["loss"]) for entry in log}]


def leveldb_records(file: bytes) -> Iterator[bytes]:
    """What is in a `.wandb` file: LevelDB's log format after seven bytes of a header."""
    block, place, record = 32768, 7, b""
    while place + 7 <= len(file):
        if block - place % block < 7:
            place += block - place % block
            continue
        size, kind = int.from_bytes(file[place + 4 : place + 6], "little"), file[place + 6]
        record += file[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield record
            record = b""


@pytest.mark.slow
def test_weights_and_biases_is_told_offline(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(recipe("xs-autoencoder", tmp_path, "--train.trackers", "[wandb]"))
    (file,) = (tmp_path / "xs-autoencoder-run").glob("wandb/offline-run-*/run-*.wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    steps = []
    for data in leveldb_records(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        steps += [item.value_json for item in record.history.item if "loss" in (item.key, *item.nested_key)]
    log = read_log(tmp_path / "xs-autoencoder-run" / "log.jsonl")
    assert [float(value) for value in steps] == pytest.approx([entry["loss"] for entry in log])


def test_a_tracker_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Tracked("1", "xs", tmp_path, {})

    def missing(run: Tracked) -> trackers.Tracker:
        raise ImportError("No module named 'wandb'")

    monkeypatch.setitem(trackers.TRACKERS, "wandb", missing)
    with pytest.raises(MissingExtraError, match=r"commoncanvas\[wandb\]"):
        open_tracker("wandb", run)


def test_a_tracker_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere:/x")
    with pytest.raises(CommonCanvasError, match="mlflow can't be opened"):
        open_tracker("mlflow", Tracked("1", "xs", tmp_path, {}))


def test_a_tracker_that_fails_in_the_middle_does_not_stop_the_training(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []

    class Fails:
        def __init__(self, run: Tracked) -> None: ...

        def log(self, step: int, figures: dict[str, float]) -> None:
            calls.append(step)
            if len(calls) == 2:
                raise ConnectionError("the server is gone from [/api/runs]")

        def close(self, failed: bool) -> None:
            raise AssertionError("it was given up")

    monkeypatch.setitem(trackers.TRACKERS, "wandb", Fails)
    config = recipe("xs-autoencoder", tmp_path, "--train.trackers", "[wandb]")
    train(config)
    log = [entry["step"] for entry in read_log(Path(f"{config.out}-run/log.jsonl"))]
    assert log[-1] == config.train.steps
    assert calls == sorted(set(log))[:2]
    assert capsys.readouterr().err.count("ConnectionError: the server is gone from [/api/runs]") == 1


def test_the_trackers_before_one_that_cannot_be_opened_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []

    class Opened:
        def __init__(self, run: object) -> None:
            pass

        def log(self, step: int, figures: dict[str, float]) -> None:
            pass

        def close(self, failed: bool) -> None:
            closed.append(failed)

    def broken(run: object) -> Opened:
        raise OSError("no server")

    monkeypatch.setattr(trackers, "TRACKERS", {"wandb": Opened, "mlflow": broken})
    with pytest.raises(CommonCanvasError, match="mlflow can't be opened"):
        RunLog(Tracked("1", "a", tmp_path, {}), ["wandb", "mlflow"])
    assert closed == [True]


def test_a_crashed_run_is_marked_as_failed(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'mlruns'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")

    def breaks(self: Trainer, step: int, batch: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Trainer, "train_step", breaks)
    with pytest.raises(RuntimeError, match="out of memory"):
        train(recipe("xs-autoencoder", tmp_path, "--train.trackers", "[mlflow]"))
    client = mlflow.MlflowClient()
    experiments = [each.experiment_id for each in client.search_experiments()]
    assert [run.info.status for run in client.search_runs(experiments)] == ["FAILED"]


def test_a_run_of_the_user_in_mlflow_stays_the_active_one(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'mlruns'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_experiment("own")
    with mlflow.start_run() as own:
        train(recipe("xs-autoencoder", tmp_path, "--train.trackers", "[mlflow]"))
        active = mlflow.active_run()
        assert active and active.info.run_id == own.info.run_id
    assert not mlflow.MlflowClient().get_run(own.info.run_id).data.metrics
