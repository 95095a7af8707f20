"""The Ray engine on a real cluster of two nodes on this machine, whose workers, nodes and drivers get lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commoncanvas.catalog import Catalog, FetchOptions, curate, fetch
from commoncanvas.core.errors import EngineError
from commoncanvas.engine import RayEngine
from tests.catalog.fetching.server import RawServer
from tests.ray_cluster import NODE, REPOSITORY, wait_until, workers
from tests.ray_stages import Broken, Killed, Slow
from tests.ray_tables import FRAGMENTS, ROWS, Pictures, addresses, assert_complete, calls, numbers

pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(240)


@pytest.mark.slow
def test_every_row_is_done_once_and_a_worker_sets_up_once_however_many_slices_it_does(
    cluster: Any, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where no worker is
    numbers(Path("numbers.lance"))
    catalog = Catalog.open("numbers.lance")
    progress: list[int] = []
    stage = Slow(log, pause_s=0.02, slice_s=0.0)  # a slice a batch: three rounds
    done = catalog.backfill(stage, engine=RayEngine(), on_progress=progress.append)
    assert done == sum(progress) == FRAGMENTS * ROWS
    assert_complete(catalog)
    assert set(calls(log).values()) == {1}
    assert len(list(log.glob("setup-*"))) == 2
    wait_until(lambda: not workers(), "the workers have ended")


def test_what_a_killed_worker_had_in_hand_is_done_by_another(cluster: Any, tmp_path: Path, log: Path) -> None:
    catalog = numbers(tmp_path / "numbers.lance")
    assert catalog.backfill(Killed(log, "n:45", times=2), engine=RayEngine()) == FRAGMENTS * ROWS
    assert_complete(catalog)
    assert len(list(log.glob("kill-*"))) == 2
    assert len(calls(log)) == FRAGMENTS * ROWS
    # Only what was in hand: the batch before the killed one of the same fragment.
    assert {row for row, count in calls(log).items() if count > 1} == {f"n:{n}" for n in range(30, 40)}


@pytest.mark.heavy
def test_a_row_that_ends_every_worker_ends_the_run_and_keeps_what_others_did(
    cluster: Any, tmp_path: Path, log: Path
) -> None:
    catalog = numbers(tmp_path / "numbers.lance")
    with pytest.raises(EngineError, match=r"fragment 1 crashed 5 workers, one after the other"):
        catalog.backfill(Killed(log, "n:45", times=100), engine=RayEngine())
    assert catalog.count("length IS NOT NULL") > 0
    assert catalog.count("length IS NULL") >= ROWS
    left = catalog.count("length IS NULL")
    assert catalog.backfill(Slow(log), engine=RayEngine()) == left
    assert_complete(catalog)


@pytest.mark.slow
def test_what_a_lost_node_had_in_hand_is_done_by_another(cluster: Any, tmp_path: Path, log: Path) -> None:
    catalog = numbers(tmp_path / "numbers.lance")
    lost = [node for node in cluster.list_all_nodes() if node is not cluster.head_node]
    nodes: list[int] = []

    def lose_one(rows: int) -> None:
        nodes.append(len(cluster.list_all_nodes()))
        for node in lost:
            cluster.remove_node(node, allow_graceful=False)
        lost.clear()

    try:
        stage = Slow(log, pause_s=0.3)
        assert catalog.backfill(stage, engine=RayEngine(), on_progress=lose_one) == FRAGMENTS * ROWS
    finally:
        cluster.add_node(**NODE)
        cluster.wait_for_nodes()
    assert nodes[0] == 2
    assert nodes[-1] == 1
    assert_complete(catalog)
    again = [row for row, count in calls(log).items() if count > 1]
    assert len(again) < 2 * ROWS


@pytest.mark.heavy
def test_a_node_that_comes_back_gets_work_again(cluster: Any, tmp_path: Path, log: Path) -> None:
    catalog = numbers(tmp_path / "numbers.lance")
    engine = RayEngine()
    slices = 0

    def come_and_go(rows: int) -> None:
        nonlocal slices
        slices += 1
        if slices == 1:
            lost = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
            cluster.remove_node(lost, allow_graceful=False)
            cluster.add_node(**NODE)

    assert (
        catalog.backfill(Slow(log, pause_s=1.0), engine=engine, on_progress=come_and_go) == FRAGMENTS * ROWS
    )
    assert_complete(catalog)
    assert len(list(log.glob("setup-*"))) == 3


@pytest.mark.slow
def test_a_stages_own_exception_arrives_as_it_is_after_the_finished_work_has_landed(
    cluster: Any, tmp_path: Path, log: Path
) -> None:
    catalog = numbers(tmp_path / "numbers.lance")
    with pytest.raises(KeyError, match="fifty") as caught:
        catalog.backfill(Broken(log, "KeyError"), engine=RayEngine())
    assert "ray_stages.py" in "".join(caught.value.__notes__)
    assert 0 < catalog.count("length IS NOT NULL") < FRAGMENTS * ROWS
    with pytest.raises(RuntimeError, match="TwoPartError: a hole in row 50"):
        catalog.backfill(Broken(log, "TwoPartError"), engine=RayEngine())
    wait_until(lambda: not workers(), "the workers have ended")


@pytest.mark.slow
def test_a_node_without_commoncanvas_is_named_in_one_line(cluster: Any, tmp_path: Path, log: Path) -> None:
    catalog = numbers(tmp_path / "numbers.lance")
    # This machine has it, whatever a node's own path is.
    (tmp_path / "commoncanvas.py").write_text("raise ModuleNotFoundError(\"No module named 'commoncanvas'\")")
    path = os.pathsep.join([str(REPOSITORY / "tests" / "offline"), str(tmp_path)])
    bare = cluster.add_node(**NODE, env_vars={"PYTHONPATH": path})
    try:
        cluster.wait_for_nodes()
        with pytest.raises(EngineError, match=r"node 127\.0\.0\.1 .* No module named .*; install comm"):
            catalog.backfill(Slow(log, pause_s=1.0), engine=RayEngine(3))
    finally:
        cluster.remove_node(bare)


@pytest.mark.slow
def test_a_fetch_gives_the_same_table_and_figures_as_the_local_engine_and_keeps_to_its_limits(
    cluster: Any, tmp_path: Path
) -> None:
    pictures = Pictures()
    with RawServer(pictures) as server:
        here, there = (addresses(tmp_path / name, server.url) for name in ("here.lance", "there.lance"))
        local = fetch(here, FetchOptions(size=32, allow_private=True))
        pictures.most = 0
        remote = fetch(there, FetchOptions(size=32, allow_private=True, per_host=5), engine="ray")
    assert pictures.most == 4  # two each for two workers
    assert remote.rows == local.rows == 240
    assert remote.statuses == local.statuses == {"ok": 216, "not_found": 24}
    assert remote.bytes == local.bytes > 216 * 300
    columns = here.schema.names
    tables = [Catalog.open(catalog.uri).table(columns).sort_by("image_id") for catalog in (here, there)]
    assert tables[0].equals(tables[1])


@pytest.mark.slow
def test_no_more_workers_fetch_than_a_host_may_be_asked_at_once(cluster: Any, tmp_path: Path) -> None:
    pictures = Pictures()
    with RawServer(pictures) as server:
        catalog = addresses(tmp_path / "there.lance", server.url, fragments=2, rows=10)
        fetch(catalog, FetchOptions(size=32, allow_private=True, per_host=1), engine="ray")
    assert pictures.most == 1


@pytest.mark.slow
def test_curate_scores_on_the_cluster_what_it_scores_here(
    cluster: Any, tmp_path: Path, shapes: Catalog
) -> None:
    shutil.copytree(shapes.uri, tmp_path / "there.lance")
    limits: dict[str, Any] = {"min_sharpness": 500.0, "deduplicate": True}
    here, there = curate(shapes, **limits), curate(tmp_path / "there.lance", engine="ray", **limits)
    assert there.steps == here.steps
    columns = ["image_id", "sharpness", "colours_8", "duplicate_of"]
    assert (
        Catalog.open(tmp_path / "there.lance").table(columns).equals(Catalog.open(shapes.uri).table(columns))
    )


@pytest.mark.heavy
def test_encode_stages_load_their_networks_where_they_run(cluster: Any, shapes: Catalog) -> None:
    pytest.importorskip("torch")
    from commoncanvas.encoding.stages import FeatureStage, TextStage
    from commoncanvas.encoding.states import states

    stages = [FeatureStage(2), TextStage("minilm", 6, ["title"])]
    for stage in stages:
        assert shapes.backfill(stage, engine=RayEngine(1), where="image_id < 'shapes:12'") == 12
    remote = shapes.table([stage.done_column for stage in stages], "image_id < 'shapes:12'")
    for stage in stages:
        shapes.drop_columns([stage.done_column])
        shapes.backfill(stage, where="image_id < 'shapes:12'")
        local = shapes.table([stage.done_column], "image_id < 'shapes:12'")
        both = [states(table[stage.done_column], stage.info.shape).numpy() for table in (remote, local)]
        np.testing.assert_allclose(*both, rtol=2e-3, atol=2e-3)


def command(catalog: Path, *words: str) -> list[str]:
    base = [
        sys.executable,
        "-m",
        "commoncanvas",
        "catalog",
        "fetch",
        "--catalog",
        str(catalog),
        "--size",
        "32",
    ]
    return [*base, "--allow-private", "--engine", "ray", *words]


@pytest.mark.heavy
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_driver_that_ends_leaves_no_worker_and_the_next_run_does_what_is_left(
    cluster: Any, tmp_path: Path, end: signal.Signals
) -> None:
    pictures = Pictures(pause_s=0.2)
    uri = tmp_path / "there.lance"
    with RawServer(pictures) as server:
        catalog = addresses(uri, server.url, fragments=30, rows=40)
        driver = subprocess.Popen(
            command(uri, "--per-host", "16"),
            stderr=subprocess.PIPE,
            text=True,
            # A background shell's children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        wait_until(lambda: Catalog.open(uri).version > catalog.version + 3, "something has landed", 90)
        driver.send_signal(end)
        began = time.monotonic()
        _, said = driver.communicate(timeout=60)
        assert driver.returncode == (-9 if end == signal.SIGKILL else 130), said
        assert time.monotonic() - began < 15
        assert "Traceback" not in said
        wait_until(lambda: not workers(), "the workers have ended")
        done = Catalog.open(uri).count("fetch_status IS NOT NULL")
        assert 0 < done < 1200
        asked = len(server.asked)
        pictures.pause_s = 0.0
        finished = subprocess.run(
            command(uri, "--json"), capture_output=True, text=True, timeout=120, check=False
        )
        assert finished.returncode == 0, finished.stderr
        assert len(server.asked) - asked == 1200 - done
    assert Catalog.open(uri).count("fetch_status IS NULL") == 0
    assert len(set(Catalog.open(uri).table(["image_id"])["image_id"].to_pylist())) == 1200


@pytest.mark.slow
def test_a_worker_lost_by_a_command_leaves_its_output_clean(cluster: Any, tmp_path: Path) -> None:
    uri = tmp_path / "there.lance"
    with RawServer(Pictures(pause_s=0.1)) as server:
        addresses(uri, server.url, fragments=10, rows=40)
        driver = subprocess.Popen(
            command(uri, "--json", "--per-host", "4"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: len(server.asked) > 40, "the fetch has begun", 60)
        workers()[0].kill()
        out, said = driver.communicate(timeout=120)
    assert json.loads(out)["statuses"] == {"ok": 360, "not_found": 40}
    assert "workers were lost; other workers repeat" in said
    assert "raylet" not in said


def gpu_of(item: int) -> str:
    time.sleep(0.1)
    return os.environ.get("CUDA_VISIBLE_DEVICES", "none")


@pytest.mark.slow
def test_work_for_a_gpu_has_one_of_its_own_and_no_other_work_asks_for_one(cluster: Any) -> None:
    with pytest.raises(EngineError, match="has no GPU for device cuda; give auto or cpu"):
        RayEngine(device="cuda")
    node = cluster.add_node(**NODE, num_gpus=1)  # one that is only said to be there
    try:
        cluster.wait_for_nodes()
        engine = RayEngine(device="auto")
        assert (engine.workers, RayEngine().workers, RayEngine(2).workers) == (1, 3, 2)
        assert list(engine.map(gpu_of, range(3))) == ["0", "0", "0"]
        engine.close()
    finally:
        cluster.remove_node(node)


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_one_line_that_says_what_to_do(cluster: Any, tmp_path: Path) -> None:
    addresses(tmp_path / "c.lance", "http://127.0.0.1:9", fragments=1, rows=1)
    environment = os.environ | {"RAY_ADDRESS": "127.0.0.1:9"}
    run = subprocess.run(
        command(tmp_path / "c.lance"),
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert (
        "no Ray cluster at 127.0.0.1:9; start one with `ray start --head`, or set RAY_ADDRESS" in run.stderr
    )


@pytest.mark.slow
def test_a_stage_of_a_script_runs_on_the_cluster(cluster: Any, tmp_path: Path, log: Path) -> None:
    numbers(tmp_path / "numbers.lance")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom commoncanvas.catalog import Catalog\n"
        "from commoncanvas.engine import RayEngine\nfrom tests.ray_stages import Slow\n"
        "class Mine(Slow):\n    name = 'mine'\n"
        "print(Catalog.open(sys.argv[1]).backfill(Mine(Path(sys.argv[2])), engine=RayEngine()))\n"
    )
    words = [sys.executable, str(script), str(tmp_path / "numbers.lance"), str(log)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
    assert (run.stdout, run.returncode) == (f"{FRAGMENTS * ROWS}\n", 0), run.stderr
