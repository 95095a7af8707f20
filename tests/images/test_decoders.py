"""Decoding in processes: one image may cost its process, and nothing else."""

from __future__ import annotations

import queue
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from commoncanvas.core.errors import DecoderError, ImageError
from commoncanvas.images import decoders as module
from commoncanvas.images import tasks
from commoncanvas.images.decoders import Decoders
from commoncanvas.images.header import READS
from commoncanvas.images.image import encode_image, load
from commoncanvas.images.tasks import Decode
from tests.images.odd import Odd
from tests.images.test_image import photo


@pytest.fixture(autouse=True)
def no_looker() -> None:
    """The process that look-ups keep may be there from another test."""
    tasks.lookers().close()


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    made = Decoders(Odd(), 2, timeout_s=5)
    yield made
    made.close()


def test_an_image_comes_back_as_this_process_would_decode_it() -> None:
    decoders = Decoders(Decode(64, "longest", "png", 95, 10**9, "first"), 1)
    file = encode_image(np.asarray(photo(400, 300)), "jpeg")
    row = decoders(file, READS)
    array, header = load(file, 64)
    assert row["image"] == encode_image(array, "png")
    assert (row["original_width"], row["original_height"]) == (header.width, header.height)
    with pytest.raises(ImageError, match="not an image") as caught:
        decoders(b"no image", READS)
    assert caught.value.status == "not_an_image"
    decoders.close()


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"crash", "internal", r"its decoder ended with exit status -11"),
        (b"bad", "truncated", "it ends early"),
        (b"fault", "internal", "ZeroDivisionError: by zero"),
    ],
)
def test_a_bad_image_costs_itself_only(decoders: Decoders, data: bytes, status: str, words: str) -> None:
    for _ in range(3):
        with pytest.raises(ImageError, match=words) as caught:
            decoders(data, READS)
        assert caught.value.status == status
        assert decoders(b"good", ["png"])["formats"] == ["png"]


def test_what_takes_too_long_is_given_up_and_its_process_killed() -> None:
    decoders = Decoders(Odd(), 1, timeout_s=0.3)
    for _ in range(2):
        with pytest.raises(ImageError, match=r"not decoded within 0\.3 s") as caught:
            decoders(b"hang", READS)
        assert caught.value.status == "timeout"
    decoders.close()
    assert not children()


def test_memory_is_bounded_by_what_an_image_may_take_and_more_only_where_one_at_a_time_has_it(
    decoders: Decoders[Any],
) -> None:
    most, large = module.ROOM_BYTES, module.LARGE_PIXEL_BYTES * Odd.max_pixels
    first = decoders(b"take:1000", READS)
    with pytest.raises(ImageError, match="MemoryError"):
        # A process has less than 1 MB of its size at the start unused; the limit includes that.
        decoders(b"take:%d" % (most + (1 << 20)), READS)
    assert decoders(b"take with leave:%d" % (most + large // 2), READS)["taken"] == most + large // 2
    with pytest.raises(ImageError, match="MemoryError"):
        decoders(b"take with leave:%d" % (most + large), READS)
    assert decoders(b"take:1000", READS) == first  # the same process


def test_large_images_are_decoded_one_at_a_time_also_after_one_that_crashed(
    decoders: Decoders, tmp_path: Path
) -> None:
    large = b"large:" + bytes(tmp_path / "alone")
    with ThreadPoolExecutor(2) as pool:
        # `touch` fails where another is at it.
        kinds = [large, large + b":crash"] * 6
        rows = [pool.submit(decoders, kind, READS) for kind in kinds]
        for kind, row in zip(kinds, rows, strict=True):
            if kind.endswith(b"crash"):
                assert "exit status -9" in str(row.exception())
            else:
                assert row.result()["bytes"] == kind


def test_an_image_that_waits_for_other_large_images_has_its_whole_time_left() -> None:
    decoders = Decoders(Odd(), 4, timeout_s=1.5)
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda _: decoders(b"sleep with leave:0.6", READS), range(4)))
    decoders.close()
    assert len({row["process"] for row in rows}) == 4


def test_processes_are_started_as_they_are_needed_and_kept(decoders: Decoders) -> None:
    assert not children()
    assert len({decoders(b"good", READS)["process"] for _ in range(5)}) == 1
    assert len(children()) == 1


def test_closing_ends_what_hangs(decoders: Decoders) -> None:
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(decoders, b"hang", READS)
        while not children():
            time.sleep(0.01)
        threading.Timer(0.5, decoders.close).start()
        assert "its decoder ended" in str(hanging.exception(timeout=4))
    assert not children()


def test_closing_twice_at_once_ends(decoders: Decoders) -> None:
    class Slow(queue.LifoQueue[Any]):
        """Gives the other thread its turn between two decoders."""

        def get(self, *arguments: Any, **named: Any) -> Any:
            found = super().get(*arguments, **named)
            time.sleep(0.05)
            return found

    idle, decoders._idle = decoders._idle, Slow()
    while not idle.empty():
        decoders._idle.put(idle.get())
    threads = [threading.Thread(target=decoders.close, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)


def test_a_decoder_that_can_not_be_started_is_no_images_fault(
    monkeypatch: pytest.MonkeyPatch, decoders: Decoders
) -> None:
    monkeypatch.setattr(module, "START_PAUSES_S", (0.0,))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(DecoderError, match="can be started: Too many open files; "):
            decoders(b"good", READS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert decoders(b"good", ["png"])["formats"] == ["png"]


def test_a_decoder_that_ends_before_its_first_image_is_no_images_fault(
    monkeypatch: pytest.MonkeyPatch, decoders: Decoders
) -> None:
    monkeypatch.setattr(module, "START_PAUSES_S", (0.0,))
    with monkeypatch.context() as patch:
        no_memory = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1, 1)); "
        patch.setattr(module, "_MAIN", no_memory + module._MAIN)
        with pytest.raises(DecoderError, match="can be started: exit status"):
            decoders(b"good", READS)
    assert not children()
    assert decoders(b"good", ["png"])["formats"] == ["png"]


def test_a_decoder_that_can_be_started_the_second_time_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, decoders: Decoders, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "START_PAUSES_S", (0.0,))
    (tmp_path / "first").touch()
    once = f"import os; p = {str(tmp_path / 'first')!r}; os.path.exists(p) and (os.unlink(p), os._exit(1)); "
    monkeypatch.setattr(module, "_MAIN", once + module._MAIN)
    assert decoders(b"good", ["png"])["formats"] == ["png"]
    assert not (tmp_path / "first").exists()


@pytest.mark.parametrize(
    "then", ["time.sleep(100)", pytest.param("decoders(b'hang', [])", marks=pytest.mark.slow)]
)
def test_no_decoder_outlives_a_process_that_was_killed(then: str) -> None:
    code = (
        "from commoncanvas.images import decoders as module; from tests.images.odd import Odd; import time\n"
        "decoders = module.Decoders(Odd(), 1, timeout_s=2)\n"
        f"print(decoders(b'good', [])['process'], flush=True); {then}\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    decoder = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.3)  # it is at the next one, if there is one
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    decoder.wait(timeout=10)


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "images.decoders" in " ".join(one.cmdline())]


def test_an_interrupted_file_leaves_no_answer_for_the_next(
    decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    red, blue = ("red", "blue")
    assert decoders(b"good", ["png"])["formats"] == ["png"]

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module.Connection, "recv", interrupted)
        decoders(b"good", [red])
    assert decoders(b"good", [blue])["formats"] == [blue]
