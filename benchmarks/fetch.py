"""Images a second of `catalog fetch` against img2dataset 1.47: one loopback server in a process of its own, JPEGs of 2
to 12 megapixels, to 512 pixels.

Run: python benchmarks/fetch.py [--peer-venv FOLDER] [--images 2000] [--rounds 3]. The folder is made, img2dataset in
it, if it isn't there; keep it outside of the repository. The two take turns, each in a process of its own, timed
without start and imports; the ratio is of the medians. A third, bare, is the least work that there is for it: read a
socket, our decoder, libjpeg-turbo's plain JPEG; no digest, no pHash, no table, nothing sent to another process or
written. The photos are crops of scikit-learn's two sample photos, enlarged and given a gradient and a sensor's noise;
each of `--distinct` files is served under several names, with a comment of its own so that no two are the same. Also
said: how far our pixels are from a full decode and Lanczos.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PEER = "img2dataset==1.47.0"

SERVER = """
import asyncio, sys
from pathlib import Path
files = [path.read_bytes() for path in sorted(Path(sys.argv[1]).glob("*.jpg"))]

async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            number = int(head.split(b" ")[1].strip(b"/").split(b".")[0])
            data, comment = files[number % len(files)], b"%012d" % number
            size = len(data) + 16
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: image/jpeg\\r\\nContent-Length: %d\\r\\n\\r\\n" % size)
            writer.write(data[:2] + b"\\xff\\xfe\\x00\\x0e" + comment)
            writer.write(memoryview(data)[2:])
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

OURS = """
import json, resource, sys, time
from commoncanvas.catalog import Catalog, FetchOptions, fetch
from commoncanvas.table.schema import to_batch
url, count, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rows = [{"image_id": f"web:{n}", "source": "web", "image_url": f"{url}/{n}.jpg"} for n in range(count)]
catalog = Catalog.create(f"{out}/c.lance")
catalog.add([to_batch(rows)])
began = time.perf_counter()
report = fetch(catalog, FetchOptions(size=512, quality=95, allow_private=True, per_host=32))
seconds = time.perf_counter() - began
assert report.statuses == {"ok": count}, report
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(json.dumps({"rate": count / seconds, "peak_mb": peak}))
"""

BARE = """
import http.client, json, resource, sys, time
from multiprocessing import Pool
from urllib.parse import urlsplit
import simplejpeg
from commoncanvas.images.image import load

def some(url, first, count, step):
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    for number in range(first, count, step):
        connection.request("GET", f"/{number}.jpg")
        data = connection.getresponse().read()
        simplejpeg.encode_jpeg(load(data, 512)[0], quality=95, colorsubsampling="420")

if __name__ == "__main__":
    url, count, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # Two a core: one reads while the other computes.
    workers = 2 * processes
    with Pool(workers) as pool:
        pool.starmap(some, [(url, 0, 1, 1)] * workers, 1)
        began = time.perf_counter()
        pool.starmap(some, [(url, first, count, workers) for first in range(workers)], 1)
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * workers / 1e3
    print(json.dumps({"rate": count / seconds, "peak_mb": peak}))
"""

THEIRS = """
import json, os, resource, sys, time
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the network for newer versions
from pathlib import Path
from img2dataset import download
url, count, out, processes, threads = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])

if __name__ == "__main__":
    urls = Path(out, "urls.txt")
    urls.write_text("".join(f"{url}/{n}.jpg\\n" for n in range(count)))
    began = time.perf_counter()
    download(url_list=str(urls), input_format="txt", output_folder=f"{out}/images", output_format="webdataset",
             image_size=512, resize_mode="keep_ratio_largest", resize_only_if_bigger=True, encode_quality=95,
             processes_count=processes, thread_count=threads, number_sample_per_shard=-(-count // processes),
             disallowed_header_directives=[], enable_wandb=False)
    seconds = time.perf_counter() - began
    stats = [json.loads(path.read_text()) for path in Path(out, "images").glob("*_stats.json")]
    assert sum(one["successes"] for one in stats) == count, stats
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * processes / 1e3
    print(json.dumps({"rate": count / seconds, "peak_mb": peak}))
"""


def photos(folder: Path, count: int) -> None:
    """`count` JPEGs of 2 to 12 megapixels, the same for every call."""
    from sklearn.datasets import load_sample_images

    samples = [Image.fromarray(image) for image in load_sample_images().images]
    draw = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:05}.jpg"
        pixels, aspect = draw.uniform(2e6, 12e6), draw.choice([4 / 3, 3 / 2, 3 / 4, 16 / 9])
        width, height = round((pixels * aspect) ** 0.5), round((pixels / aspect) ** 0.5)
        crop = draw.uniform(0.6, 1.0)
        sample = samples[number % 2]
        left, top = (draw.uniform(0, (1 - crop) * side) for side in sample.size)
        box = (left, top, left + crop * sample.width, top + crop * sample.height)
        image = np.asarray(sample.resize((width, height), Image.Resampling.BICUBIC, box=box), np.float32)
        image = image + np.linspace(-20, 20, width, dtype=np.float32)[None, :, None]
        image += draw.standard_normal((height, width, 1), np.float32) * draw.uniform(2, 6)
        buffer = io.BytesIO()
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(
            buffer, "JPEG", quality=int(draw.integers(80, 95))
        )
        path.write_bytes(buffer.getvalue())


def peer(venv: Path) -> Path:
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    found = subprocess.run([python, "-m", "pip", "show", "-q", "img2dataset"], capture_output=True)
    if found.returncode:
        subprocess.run([python, "-m", "pip", "install", "-q", PEER], check=True)
    return python


def run(python: Path | str, code: str, *arguments: object) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "child.py")  # a file: spawned processes import it once more
        script.write_text(code)
        command = [str(python), str(script), *(str(folder if part is None else part) for part in arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def quality(folder: Path) -> dict[str, float]:
    """Mean PSNR in dB of the loader's pixels against a full decode and Lanczos."""
    from commoncanvas.images.image import load

    found = []
    for path in sorted(folder.glob("*.jpg"))[:20]:
        array, _ = load(path.read_bytes(), 512)
        with Image.open(path) as image:
            size = (array.shape[1], array.shape[0])
            wanted = np.asarray(image.resize(size, Image.Resampling.LANCZOS), float)
        found.append(10 * np.log10(255**2 / ((array - wanted) ** 2).mean()))
    return {"mean": float(np.mean(found)), "worst": float(np.min(found))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--peer-venv", type=Path, default=Path(tempfile.gettempdir()) / "commoncanvas-img2dataset"
    )
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--distinct", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="img2dataset's")
    parser.add_argument("--threads", type=int, default=16, help="img2dataset's, a process")
    options = parser.parse_args()
    python = peer(options.peer_venv)
    with tempfile.TemporaryDirectory() as folder:
        photos(Path(folder), min(options.distinct, options.images))
        bytes_each = statistics.mean(path.stat().st_size for path in Path(folder).iterdir())
        print(f"{options.images:,} JPEGs of {bytes_each / 1e6:.2f} MB on average")
        psnr = quality(Path(folder))
        print(f"ours against a full decode and Lanczos: {psnr['mean']:.1f} dB (worst {psnr['worst']:.1f} dB)")
        server = subprocess.Popen([sys.executable, "-c", SERVER, folder], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            results: dict[str, list[dict[str, float]]] = {"ours": [], "img2dataset": [], "bare": []}
            for _ in range(options.rounds):
                theirs = (url, options.images, None, options.processes, options.threads)
                results["img2dataset"].append(run(python, THEIRS, *theirs))
                results["ours"].append(run(sys.executable, OURS, url, options.images, None))
                results["bare"].append(run(sys.executable, BARE, url, options.images, os.cpu_count()))
        finally:
            server.kill()
            server.wait()
    medians = {name: statistics.median(one["rate"] for one in found) for name, found in results.items()}
    for name, found in results.items():
        rates = ", ".join(f"{one['rate']:.1f}" for one in found)
        peak = max(one["peak_mb"] for one in found)
        print(f"{name:>12}: median {medians[name]:5.1f} images/s of {rates}; memory at most {peak:,.0f} MB")
    print(f"       ratio: {medians['ours'] / medians['img2dataset']:.2f}")
    print(f"  bare ratio: {medians['bare'] / medians['img2dataset']:.2f}")


if __name__ == "__main__":
    main()
