"""Several that draw: two lanes share one queue, and replicas on a real Ray cluster may be killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as some
from numpy.typing import NDArray
from PIL.Image import Image

from commoncanvas.core.errors import ServerError
from commoncanvas.drawing.generate import generate
from commoncanvas.drawing.model import LoadedModel, load_model
from commoncanvas.drawing.requests import Request
from commoncanvas.options.generate import DrawOptions
from commoncanvas.options.serve import ReplicaOptions, ServeOptions
from commoncanvas.serving.drawers import LocalDrawer, OnStep
from commoncanvas.serving.engine import Job
from commoncanvas.serving.replicas import threads_that_fit
from commoncanvas.serving.start import make_engine
from tests.ray_cluster import NODE, of_cluster, real_cluster
from tests.serving.conftest import Running
from tests.serving.test_server import draw, pixels

STEPS = 100
nodes = some.lists(
    some.tuples(some.integers(0, 12), some.none() | some.integers(0, 4)), min_size=1, max_size=4
)


class TwoHere:
    """Two models in this process. While `together` is set, both must draw at the same time."""

    lanes = alive = 2

    def __init__(self, models: Sequence[LoadedModel]) -> None:
        self.model = models[0]
        self.weights = None
        self.together: threading.Barrier | None = None
        self._free: Queue[LocalDrawer] = Queue()
        for model in models:
            self._free.put(LocalDrawer(model))

    def batch_size(self, options: DrawOptions) -> int:
        return 2

    def images(
        self, requests: Sequence[Request], unfinished: Sequence[set[int]], on_step: OnStep
    ) -> list[Image]:
        if self.together is not None:
            self.together.wait(60)
        drawer = self._free.get_nowait()
        try:
            return drawer.images(requests, unfinished, on_step)
        finally:
            self._free.put(drawer)

    def close(self) -> None:
        pass


def test_two_lanes_draw_at_the_same_time_and_each_image_is_its_own(loaded: LoadedModel, model: Path) -> None:
    drawer = TwoHere([loaded, load_model(model)])
    engine = make_engine(drawer, ServeOptions(queue=8), shared=False)
    drawer.together = threading.Barrier(2)
    wanted = [
        loaded.filled(Request(f"a red dot {number}", DrawOptions(seed=number, steps=2)))
        for number in range(8)
    ]
    jobs = [Job(request, "") for request in wanted]
    engine.submit(jobs)
    found = [job.done.result(60) for job in jobs]
    engine.close()
    assert engine.finished()
    alone = LocalDrawer(loaded).images(wanted, [set()] * 8, lambda *step: None)
    for image, expected_image in zip(found, alone, strict=True):
        assert np.array_equal(np.asarray(image), np.asarray(expected_image))


@given(nodes, some.integers(1, 6))
def test_the_most_threads_are_those_with_which_all_replicas_have_a_place(
    nodes: list[tuple[int, int | None]], replicas: int
) -> None:
    def fit(threads: int) -> bool:
        places = 0
        for cpus, gpus in nodes:
            while cpus >= threads and gpus != 0:
                cpus -= threads
                gpus = None if gpus is None else gpus - 1
                places += 1
        return places >= replicas

    most = threads_that_fit(nodes, replicas)
    assert most == 0 or fit(most)
    assert not fit(most + 1)


def test_options_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ServerError, match="only for --engine ray"):
        ReplicaOptions(replicas=2)
    with pytest.raises(ServerError, match="threads 0"):
        ReplicaOptions(threads=0)


class Served(Running):
    """A server in a process of its own, with two replicas on a Ray cluster."""

    process: subprocess.Popen[bytes]
    log: Path

    def replicas(self) -> set[int]:
        """Process ids."""
        return {each.pid for each in of_cluster(Path(os.environ["RAY_TMPDIR"]), "ray::ServeReplica")}

    def ready(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http().get("/ready").json()
        return found

    def metric(self, name: str) -> float:
        return float(re.findall(rf"^commoncanvas_{name} (\S+)", self.http().get("/metrics").text, re.M)[0])


@contextmanager
def replicated(model: Path, folder: Path) -> Iterator[Served]:
    """Serve a model with two replicas of one thread."""
    words = ["serve", str(model), "--engine", "ray", "--replicas", "2", "--threads", "1"]
    limits = ["--port", "0", "--queue", "64", "--max-steps", "1000"]
    served = Served("", None)  # type: ignore[arg-type]
    served.log = folder / "log"
    with served.log.open("w") as file:
        served.process = subprocess.Popen(
            [sys.executable, "-m", "commoncanvas", *words, *limits], stderr=file, cwd=folder
        )
    try:
        served.until(
            lambda: "serving at:" in served.log.read_text() or served.process.poll() is not None, 400
        )
        served.url = re.findall(r"serving at: (\S+)", served.log.read_text())[0]
        yield served
    finally:
        served.process.kill()
        served.process.wait()


def expected(model: Path, prompt: str, seed: int, count: int) -> list[NDArray[np.uint8]]:
    images = generate(model, prompt, DrawOptions(seed=seed, steps=STEPS, count=count))
    return [np.asarray(image) for image in images]


def equal(found: Any, wanted: list[NDArray[np.uint8]]) -> bool:
    return all(
        np.array_equal(pixels(one.b64_json), other) for one, other in zip(found.data, wanted, strict=True)
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can handle")
def test_a_killed_replica_loses_no_image_and_a_new_one_comes(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray.serve")
    wanted = {seed: expected(model, f"a red square {seed}", seed, 8) for seed in (0, 100, 200, 300)}

    def ask(seed: int) -> Any:
        return draw(served.openai(), f"a red square {seed}", seed, STEPS, n=8)

    def stream() -> list[Any]:
        events = served.openai().images.generate(
            prompt="a red square 0", stream=True, partial_images=3, extra_body={"seed": 0, "steps": STEPS}
        )
        return list(events)

    with real_cluster({**NODE, "num_cpus": 2}), replicated(model, tmp_path) as served:
        assert served.ready() == {"status": "ready", "replicas": 2}
        before = served.replicas()
        assert len(before) == 2 and equal(ask(0), wanted[0])
        with ThreadPoolExecutor(8) as pool:
            streamed = pool.submit(stream)
            asked = {seed: pool.submit(ask, seed) for seed in wanted}
            served.until(lambda: served.metric("images_waiting") >= 17)
            time.sleep(0.1)  # an idle replica waits so long for a full batch, and a batch takes longer
            os.kill(min(before), signal.SIGKILL)
            served.until(lambda: served.ready()["replicas"] == 1)
            assert all(equal(asked[seed].result(), wanted[seed]) for seed in wanted)
            events = streamed.result()
        assert [event.type.partition(".")[2] for event in events] == ["partial_image"] * 3 + ["completed"]
        assert np.array_equal(pixels(events[-1].b64_json), wanted[0][0])
        lost = [json.loads(line) for line in served.log.read_text().splitlines() if '"replica lost"' in line]
        assert [each["tries"] for each in lost] == [1], "the replica had one batch in hand"
        served.until(lambda: served.ready()["replicas"] == 2, 300)
        assert served.metric("replicas") == 2
        after = served.replicas()
        assert len(after) == 2 and min(before) not in after
        with ThreadPoolExecutor(8) as pool:
            asked = {seed: pool.submit(ask, seed) for seed in wanted}
            served.until(lambda: served.metric("images_waiting") >= 8)
            served.process.send_signal(signal.SIGTERM)
            served.until(lambda: served.ready()["status"] == "ending")
            with pytest.raises(openai.InternalServerError, match="ending"):
                ask(0)
            accepted = [seed for seed in wanted if asked[seed].exception() is None]
            assert accepted and all(equal(asked[seed].result(), wanted[seed]) for seed in accepted)
            for seed in set(wanted) - set(accepted):  # it came after the signal
                assert "ending" in str(asked[seed].exception())
        assert served.process.wait(240) == 0
        served.until(lambda: not served.replicas())
    assert "Traceback" not in served.log.read_text()
