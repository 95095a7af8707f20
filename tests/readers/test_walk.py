"""Which files of a folder are its images: links, names that the system refuses, and where missing files are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from commoncanvas.catalog import Catalog, import_
from commoncanvas.catalog.importing.sources import Report
from commoncanvas.cli import main
from commoncanvas.core.errors import NothingImportedError
from commoncanvas.readers.walk import IMAGE_ENDINGS, ImageFolder, is_image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with links of every kind, beside one that belongs to somebody else."""
    for name in (
        "photos/a.jpg",
        "photos/sub/b.jpg",
        "photos/.store/c.jpg",
        "private/d.jpg",
        "private/in/e.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    photos = tmp_path / "photos"
    for name, target in {
        "same.jpg": "a.jpg",
        "stored.jpg": ".store/c.jpg",
        "named.jpg": ".store/object",
        "all": ".",
        "sub/up": "..",
        "ab": "sub",
        "kept": ".store",
        "out.jpg": "../private/d.jpg",
        "out": "../private",
        "above": "..",
        "gone.jpg": "nowhere.jpg",
        "round.jpg": "round.jpg",
        "notes.txt": "../private/d.jpg",
    }.items():
        (photos / name).symlink_to(target)
    (photos / ".store/object").write_bytes(b"an image without an ending")
    return photos


def walked(folder: Path, **said: Any) -> tuple[list[str], Report]:
    report = Report()
    return [path for path, _ in ImageFolder(folder, **said).walk(report)], report


def test_links_inside_are_followed_and_links_out_are_left_out_and_counted(photos: Path) -> None:
    found, report = walked(photos)
    assert found == ["a.jpg", "named.jpg", "stored.jpg", "kept/c.jpg", "sub/b.jpg"]
    assert report.skipped == {"link out of the folder": 3, "broken link": 2}
    assert f"out: link out of the folder (to {photos.parent}/private; --follow-links allows it)" in (
        report.complaints
    )


def test_follow_links_takes_what_links_out_lead_to_each_folder_once(photos: Path) -> None:
    found, report = walked(photos, follow_links=True)
    outside = {path for path in found if path.startswith(("above", "out"))}
    assert outside == {"out.jpg", "out/d.jpg", "out/in/e.jpg"}  # and not once more under above/private
    assert set(found) - outside == {"a.jpg", "named.jpg", "stored.jpg", "kept/c.jpg", "sub/b.jpg"}
    assert report.skipped == {"broken link": 2}


def test_metadata_can_name_links_and_one_file_comes_once(photos: Path, tmp_path: Path) -> None:
    lines = [
        "file,license",
        "same.jpg,CC0",
        "ab/b.jpg,CC0",
        "sub/b.jpg,CC0",
        "out.jpg,CC0",
        "out/in/e.jpg,CC0",
    ]
    (photos / "metadata.csv").write_text("\n".join(lines))
    report = import_("folder", tmp_path / "c.lance", path=photos, name="x")
    ids = Catalog.open(tmp_path / "c.lance").table(["image_id"])["image_id"].to_pylist()
    assert ids == ["folder:x/same.jpg", "folder:x/ab/b.jpg"]
    assert (report.skipped["duplicate"], report.skipped["no metadata"]) == (1, 3)
    named = [line for line in report.complaints if line.startswith("metadata.csv")]
    assert named == [
        "metadata.csv:4: duplicate (sub/b.jpg is already at metadata.csv:3)",
        "metadata.csv:5: link out of the folder (field file: 'out.jpg'; --follow-links allows it)",
        "metadata.csv:6: link out of the folder (field file: 'out/in/e.jpg'; --follow-links allows it)",
    ]
    report = import_("folder", tmp_path / "d.lance", path=photos, name="x", follow_links=True)
    assert report.new == 4


def test_names_that_the_system_refuses_cost_themselves(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").touch()
    names = ["a.jpg", "x" * 300 + ".jpg", "y/" * 3000 + "b.jpg", "z" * 100_000, "a\0.jpg", "a.jpg/b.jpg"]
    rows = "\n".join(f'"{name}",CC0' for name in names)
    (folder / "metadata.csv").write_text(f"file,license\n{rows}\n")
    report = import_("folder", tmp_path / "c.lance", path=folder)
    assert (report.new, report.skipped) == (1, {"file missing": 5})
    assert max(map(len, report.complaints)) < 200
    # The sidecar's name would be longer than a name may be.
    (folder / "metadata.csv").unlink()
    (folder / f"{'x' * 251}.jpg").touch()
    assert import_("folder", tmp_path / "d.lance", path=folder, license="CC0").new == 2


def test_what_is_no_regular_file_or_may_not_be_read_is_counted(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    deep = tmp_path
    (tmp_path / "a.jpg").touch()
    found, report = walked(deep)
    assert (found, report.skipped) == (["a.jpg"], {"not a file": 1})
    found, report = walked(tmp_path / "gone")
    assert (found, report.skipped) == ([], {"folder can't be read": 1})


def test_sidecars_and_captions_that_may_not_be_read_cost_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "a.json", "b.jpg", "b.txt", "c.jpg"):
        (tmp_path / name).touch()
    closed = {"a.json", "b.txt"}
    real = Path.open

    def refusing(path: Path, *how: Any, **more: Any) -> Any:
        if path.name in closed:
            raise PermissionError(13, "Permission denied")
        return real(path, *how, **more)

    monkeypatch.setattr(Path, "open", refusing)
    report = import_("folder", tmp_path / "c.lance", path=tmp_path, license="CC0", name="x")
    assert (report.new, report.skipped) == (2, {"file can't be read": 1})
    assert report.complaints == [
        "a.json: file can't be read (Permission denied)",
        "b.jpg: kept without label (b.txt can't be read: Permission denied)",
    ]


def test_a_sidecar_that_is_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (tmp_path / "secret.json").write_text('{"license": "CC0", "title": "secret"}')
    for name in ("a.jpg", "b.jpg"):
        (folder / name).touch()
    (folder / "a.json").symlink_to("../secret.json")
    report = import_("folder", tmp_path / "c.lance", path=folder, license="CC0", name="x")
    assert (report.new, report.skipped) == (1, {"link out of the folder": 1})
    assert import_("folder", tmp_path / "d.lance", path=folder, name="x", follow_links=True).new == 1


def test_images_that_nobody_reads_are_said(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.JXL", "c.jxl", "sub/d.psd", "e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    report = import_("folder", tmp_path / "c.lance", path=tmp_path, license="CC0", name="x")
    assert report.notes == [
        "images in formats that can't be read were ignored: 2 .jxl, 1 .psd; save them as .png or .tif"
    ]


def test_one_list_of_endings_names_images() -> None:
    assert {"jpg", "tif", "tiff", "avif", "heic"} <= set(IMAGE_ENDINGS)
    assert (
        is_image("a/b.c/D.TIF") and not is_image("jpg") and not is_image("a.jpg/b") and not is_image("a.txt")
    )


def museum(tmp_path: Path, prefix: str) -> Path:
    folder = tmp_path / "scans"
    (folder / "2019").mkdir(parents=True)
    for number in range(60):
        (folder / "2019" / f"{number}.jpg").touch()
    lines = [f"{prefix}{number}.jpg,CC0,t" for number in range(60)]
    (tmp_path / "scans.csv").write_text("\n".join(("file,license,title", *lines)) + "\n")
    return folder


@pytest.mark.parametrize("given", ["scans", "."])
@pytest.mark.parametrize("prefix", ["scans/2019/", "2019/", "", "{absolute}/2019/"])
def test_paths_that_start_elsewhere_are_an_error_that_names_the_folder(
    tmp_path: Path, prefix: str, given: str
) -> None:
    folder = museum(tmp_path, prefix.format(absolute=tmp_path / "scans"))
    fits = {"scans/2019/": tmp_path, "2019/": folder, "": folder / "2019"}.get(prefix)
    path = tmp_path / given
    arguments: dict[str, Any] = {"path": path, "metadata": tmp_path / "scans.csv", "label_column": "title"}
    uri = tmp_path / "c.lance"
    if fits in (None, path):
        assert import_("folder", uri, **arguments).new == 60
        return
    with pytest.raises(NothingImportedError) as nothing:
        import_("folder", uri, **arguments)
    report = nothing.value.report
    assert not uri.exists() and report.new == 0
    assert "nothing was imported: 60 file missing" in str(nothing.value)
    missing = f"scans.csv names files that are not in {path}"
    if (given, prefix) == (".", ""):
        # Two folders below: too far to look for.
        assert report.notes == [f"{missing}; paths must start from that folder"]
    else:
        assert report.notes == [f"{missing}; they are in {fits}: import that folder"]
    assert [line.partition(": ")[2].partition(" (")[0] for line in report.complaints] == [
        *["file missing"] * 10,
        *["no metadata"] * 10,
    ]


def test_an_import_of_nothing_is_an_error_of_every_source(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        NothingImportedError,
        match=r"source folder: nothing was imported: .*/empty has no image: no file name ends in \.jpg, ",
    ):
        import_("folder", tmp_path / "c.lance", path=tmp_path / "empty", license="CC0")
    (tmp_path / "a.jsonl").write_text('{"results": []}\n')
    with pytest.raises(NothingImportedError, match="source openverse: nothing was imported: it has no rows"):
        import_("openverse", tmp_path / "c.lance", path=tmp_path / "a.jsonl")
    assert not (tmp_path / "c.lance").exists()


def test_the_command_says_it_one_complaint_a_line_and_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    museum(tmp_path, "scans/2019/")
    words = f"catalog import folder {tmp_path}/scans --metadata {tmp_path}/scans.csv --label-column title"
    monkeypatch.setattr("sys.argv", ["commoncanvas", *words.split(), "--catalog", f"{tmp_path}/c.lance"])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    lines = out.splitlines()
    assert lines[0].startswith(
        "folder: 0 new, 0 already in the catalog, 120 skipped (60 file missing, 60 no metadata)"
    )
    assert lines[1] == "  scans.csv:2: file missing (field file: 'scans/2019/0.jpg')"
    assert lines[21] == "  and 100 more of these kinds"
    assert lines[22].endswith(f"they are in {tmp_path}: import that folder")
    assert len(lines) == 23
    assert len(err.splitlines()) == 1 and f"they are in {tmp_path}: import that folder" in err


def test_a_link_into_a_closed_folder_costs_itself(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Path.is_dir` raises there; whoever runs as root may look everywhere, so it is said here."""
    is_dir = Path.is_dir

    def refused(path: Path) -> bool:
        if "private" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", refused)
    found, _ = walked(photos)
    assert found == ["a.jpg", "named.jpg", "stored.jpg", "kept/c.jpg", "sub/b.jpg"]
    assert ImageFolder(photos).better_folder(["d.jpg"], [photos.parent / "private"]) is not None
