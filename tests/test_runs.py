"""Run directories: whole records or none, nothing lost on the way out, nothing deleted that is not ours."""

import dataclasses
import datetime
import enum
import errno
import io
import json
import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spectral_ssl import runs
from spectral_ssl.errors import DataError, ResourceError, SpectralWarning
from spectral_ssl.runs import RunDirectory, list_runs, load_arrays, open_run, to_jsonable


def make(path: Path, **result: Any) -> RunDirectory:
    with RunDirectory.create(path, "compare", {"n_components": 8}, seed=0) as run:
        run.write(result)
    return run


def on_disk(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "run.json").read_text())
    return found


# ------------------------------------------------------------------------------------------------------------- JSON


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: Any


def test_every_kind_of_value_becomes_strict_json() -> None:
    value = {
        "array": np.array([[1.5, np.nan], [np.inf, -np.inf]]),
        "scalars": (np.float32(0.5), np.int64(3), np.bool_(True), np.str_("a")),
        "nested": [Point(float("nan"), {2, 1})],
        Colour.RED: Colour.RED,
        3: Path("a/b"),
        "day": datetime.date(2026, 1, 31),
        "plain": [None, True, 1, 0.1, "é"],
        "zero-dimensional": np.array(2.0),
    }
    text = json.dumps(to_jsonable(value), allow_nan=False)
    assert json.loads(text) == {
        "array": [[1.5, None], [None, None]],
        "scalars": [0.5, 3, True, "a"],
        "nested": [{"x": None, "y": [1, 2]}],
        "red": "red",
        "3": "a/b",
        "day": "2026-01-31",
        "plain": [None, True, 1, 0.1, "é"],
        "zero-dimensional": 2.0,
    }


@pytest.mark.parametrize("value", [object(), b"bytes", 1j, len, np.array([object()]), Point])
def test_values_without_a_json_form_are_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be written to a run record"):
        to_jsonable({"x": [value]})


# ---------------------------------------------------------------------------------------------------- one directory


def test_the_record_is_enough_to_do_the_run_again(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "a", "compare", {"tol": np.float64(1e-9), "labels": None}, seed=3) as run:
        assert on_disk(tmp_path / "a")["status"] == "running"
        with run.timer("train"):
            pass
        run.write({"rows": [{"loss": np.nan}]})
    record = on_disk(tmp_path / "a")
    assert record["config"] == {"tol": 1e-9, "labels": None}
    assert (record["command"], record["seed"], record["status"]) == ("compare", 3, "done")
    assert record["argv"] == sys.argv
    assert record["result"] == {"rows": [{"loss": None}]}
    assert record["versions"]["numpy"] == np.__version__
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"spectral_ssl", "scipy", "scikit-learn", "torch"} <= record["versions"].keys()
    assert record["platform"]["cpu_count"] == os.cpu_count()
    assert 0 <= record["timings"]["train"] <= record["seconds"] + 1e-3
    assert datetime.datetime.fromisoformat(record["created"]).tzinfo is not None


def test_fresh_directories_have_names_of_their_own(tmp_path: Path) -> None:
    paths = {RunDirectory.create(None, "runs list", {}, root=tmp_path).path for _ in range(20)}
    assert len(paths) == 20
    assert all(path.parent == tmp_path and path.name.startswith("runs-list-") for path in paths)


def test_an_existing_run_is_replaced_only_when_asked_to(tmp_path: Path) -> None:
    run = make(tmp_path / "a", loss=1.0)
    run.save_arrays("optimum", Z=np.eye(2))
    (tmp_path / "a" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="already holds a run; choose another directory with --out"):
        RunDirectory.create(tmp_path / "a", "compare", {})
    assert on_disk(tmp_path / "a")["result"] == {"loss": 1.0}
    RunDirectory.create(tmp_path / "a", "compare", {}, overwrite=True)
    assert on_disk(tmp_path / "a")["result"] == {}
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["notes.txt", "run.json"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_directory_that_is_not_a_run_is_never_used(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match=r"not a run directory .it holds 'thesis.tex'"):
        RunDirectory.create(tmp_path, "compare", {}, overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_update_keeps_finished_parts(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "a", "compare", {})
    run.update(vicreg=1, barlow_twins=2)
    run.update(barlow_twins=3)
    assert on_disk(tmp_path / "a")["result"] == {"vicreg": 1, "barlow_twins": 3}


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), "interrupted", None),
        (DataError("X has NaN"), "failed", "DataError: X has NaN"),
    ],
)
def test_the_way_out_is_recorded(tmp_path: Path, error: BaseException, status: str, words: str | None) -> None:
    with pytest.raises(type(error)), RunDirectory.create(tmp_path / "a", "compare", {}) as run:
        run.update(first=1)
        raise error
    record = on_disk(tmp_path / "a")
    assert (record["status"], record["error"], record["result"]) == (status, words, {"first": 1})


def test_arrays_come_back(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    arrays = {"Z": np.random.default_rng(0).standard_normal((5, 2)), "names": np.array(["a", "bc"]), "n": np.int64(3)}
    path = run.save_arrays("optimum", **arrays)  # type: ignore[arg-type]
    assert on_disk(tmp_path / "a")["files"] == ["optimum.npz"]
    back = open_run(tmp_path / "a").load_arrays("optimum")
    assert back.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(back[key], array)
    with np.load(path) as witness:
        np.testing.assert_array_equal(witness["Z"], arrays["Z"])


def test_arrays_of_objects_are_neither_saved_nor_loaded(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    with pytest.raises(DataError, match="'Z' holds Python objects"):
        run.save_arrays("optimum", Z=np.array([{}]))
    assert on_disk(tmp_path / "a")["files"] == []

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    payload = io.BytesIO()
    np.lib.format.write_array(payload, np.array([Bomb()]), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        archive.writestr("Z.npy", payload.getvalue())
    (tmp_path / "worse.npz").write_bytes(pickle.dumps(Bomb()))
    for name in ("bad.npz", "worse.npz"):
        with pytest.raises(DataError, match="not an npz file of plain arrays"):
            load_arrays(tmp_path / name)
    assert not (tmp_path / "exploded").exists()
    np.load(tmp_path / "bad.npz", allow_pickle=True)["Z"]  # the bomb is real: this is what would have happened
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("size", [0, 1, 30, 200])
def test_truncated_arrays_are_refused(tmp_path: Path, size: int) -> None:
    path = make(tmp_path / "a").save_arrays("optimum", Z=np.eye(9))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match="truncated"):
        load_arrays(path)
    with pytest.raises(DataError, match="no file"):
        load_arrays(tmp_path / "none.npz")


def test_a_single_array_file_is_not_an_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "Z.npy", np.eye(2))
    with pytest.raises(DataError, match="not an npz file"):
        load_arrays(tmp_path / "Z.npy")


# ----------------------------------------------------------------------------------------------- what can go wrong


def test_a_full_disk_is_a_resource_error_and_the_old_record_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(tmp_path / "a", loss=1.0)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=r"no space is left to write .*run.json"):
        run.write({"loss": 2.0})
    assert on_disk(tmp_path / "a")["result"] == {"loss": 1.0}
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["run.json"]  # no half-written file is left behind

    with pytest.raises(ZeroDivisionError), run:  # and it does not hide the error that came first
        raise ZeroDivisionError


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the always-full device of Linux")
def test_the_real_full_device(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="No space left"), runs._writing(tmp_path), open("/dev/full", "w") as file:
        file.write("x" * 100)


def test_a_read_only_place_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*; choose another directory"):
        RunDirectory.create(tmp_path / "file" / "run", "compare", {})

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DataError, match="Read-only file system"):
        RunDirectory.create(tmp_path / "b", "compare", {})


def test_records_are_as_readable_as_other_files(tmp_path: Path) -> None:
    (tmp_path / "witness").write_text("")
    make(tmp_path / "a")
    assert (tmp_path / "a" / "run.json").stat().st_mode == (tmp_path / "witness").stat().st_mode


def edited(**changes: Any) -> str:
    record = {
        "schema": "spectral_ssl.run/1",
        "command": "compare",
        "status": "done",
        "created": "2026-01-31T00:00:00+00:00",
        "config": {},
        "files": [],
        "result": {},
    }
    return json.dumps(record | changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "truncated or corrupted"),
        (edited()[:-9], "truncated or corrupted"),
        ("[" * 100_000, "truncated or corrupted"),
        ("[]", "not a record of spectral_ssl"),
        ('{"name": "a"}', "not a record of spectral_ssl"),
        (edited(schema="spectral_ssl.run/2"), "update spectral_ssl"),
        (edited(config=None), "config cannot be used"),
        (edited(files=["../thesis.tex"]), "files cannot be used"),
        (edited(files=["/etc/passwd"]), "files cannot be used"),
        (edited(files=["figures/../../x"]), "files cannot be used"),
        (edited(files=[3]), "files cannot be used"),
    ],
)
def test_broken_records_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match=words):
        open_run(tmp_path)


def test_the_unbroken_record_is_read(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(edited(files=["figures/a.png"]))
    assert open_run(tmp_path).record["files"] == ["figures/a.png"]
    with pytest.raises(DataError, match=r"not a run directory: it has no run.json"):
        open_run(tmp_path / "none")


def test_files_of_a_run_stay_inside_it(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    for name in ("../b", "/b", "c/../../b", "c\\..\\b"):
        with pytest.raises(DataError, match="inside the run directory"):
            run.file_path(name)
    assert run.figure_path("gap.png") == tmp_path / "a" / "figures" / "gap.png"
    run.figure_path("gap.png").write_bytes(b"")
    assert on_disk(tmp_path / "a")["files"] == ["figures/gap.png"]


# -------------------------------------------------------------------------------------------------------- commands


def test_listing_is_in_order_and_leaves_out_the_broken(tmp_path: Path) -> None:
    for name, day in (("b", 1), ("a", 3), ("c", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(edited(created=f"2026-01-0{day}T00:00:00+00:00"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    (tmp_path / "other").mkdir()
    with pytest.warns(SpectralWarning, match="left out: .*broken"):
        assert [run.name for run in list_runs(tmp_path)] == ["b", "c", "a"]
    assert list_runs(tmp_path / "nowhere") == []


def test_list_and_show(tmp_path: Path) -> None:
    make(tmp_path / "a", tables={"losses": [{"method": "vicreg", "loss": 0.5}]})
    rows = runs.runs_list(root=tmp_path)["runs"]
    assert [(row["run"], row["status"], row["seed"]) for row in rows] == [("a", "done", 0)]
    for name in ("a", str(tmp_path / "a")):
        shown = runs.runs_show(name, root=tmp_path)
        assert shown["tables"]["losses"] == [{"method": "vicreg", "loss": 0.5}]
        assert shown["tables"]["configuration"] == [{"option": "n_components", "value": 8}]
    with pytest.raises(DataError, match=r"there is no run 'aa', .*did you mean 'a'"):
        runs.runs_show("aa", root=tmp_path)
    with pytest.raises(DataError, match="there are no runs in"):
        runs.runs_show("aa", root=tmp_path / "nowhere")
    with pytest.raises(DataError, match="not a run directory"):
        runs.runs_show(str(tmp_path), root=tmp_path)


def test_comparison_matches_rows_by_name(tmp_path: Path) -> None:
    make(tmp_path / "a", rows=[{"method": "vicreg", "loss": 0.5, "note": "x"}, {"method": "simclr", "loss": 1.0}])
    with RunDirectory.create(tmp_path / "b", "compare", {"n_components": 4}) as run:
        run.write({"rows": [{"method": "simclr", "loss": 1.5}, {"method": "vicreg", "loss": 0.5, "note": "y"}], "n": 2})
    found = runs.runs_compare("a", "b", root=tmp_path)
    assert found["options"] == [{"option": "n_components", "a": 8, "b": 4}]
    assert found["numbers"] == [
        {"entry": "rows[vicreg].loss", "a": 0.5, "b": 0.5, "difference": 0.0, "relative": 0.0},
        {"entry": "rows[simclr].loss", "a": 1.0, "b": 1.5, "difference": 0.5, "relative": pytest.approx(1 / 3)},
    ]
    assert found["other_differences"] == [
        {"entry": "rows[vicreg].note", "a": "x", "b": "y"},
        {"entry": "n", "a": None, "b": 2},
    ]


def test_comparison_names_rows_by_as_many_texts_as_it_takes(tmp_path: Path) -> None:
    rows = [{"model": "free", "method": "vicreg", "v": 1}, {"model": "free", "method": "simclr", "v": 2}]
    make(tmp_path / "a", rows=rows, curve=[1, 2])
    make(tmp_path / "b", rows=rows[::-1], curve=[1])
    found = runs.runs_compare("a", "b", root=tmp_path)
    assert [(row["entry"], row["difference"]) for row in found["numbers"]] == [
        ("rows[free, vicreg].v", 0),
        ("rows[free, simclr].v", 0),
        ("curve[0]", 0),
    ]
    assert found["other_differences"] == [{"entry": "curve[1]", "a": 2, "b": None}]


def test_removing_deletes_the_run_and_nothing_else(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    run.save_arrays("optimum", Z=np.eye(2))
    run.figure_path("gap.png").write_bytes(b"")
    (tmp_path / "a" / ".run.json.x1.tmp").write_text("a process was killed while it wrote")
    make(tmp_path / "b").figure_path("gap.png").write_bytes(b"")
    (tmp_path / "b" / "figures" / "mine.png").write_bytes(b"")
    make(tmp_path / "c")
    with pytest.warns(SpectralWarning, match="b stays: it holds files that are not the run's .figures"):
        runs.runs_remove(["a", "b"], root=tmp_path, yes=True)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == ["b/figures/mine.png", "c/run.json"]
    assert not (tmp_path / "a").exists()


def test_removing_does_not_follow_links_out(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "gap.png").write_text("mine")
    run = make(tmp_path / "a")
    run.figure_path("gap.png")
    (tmp_path / "a" / "figures").rmdir()
    (tmp_path / "a" / "figures").symlink_to(tmp_path / "precious")
    with pytest.warns(SpectralWarning, match="a stays"):
        runs.runs_remove(["a"], root=tmp_path, yes=True)
    assert (tmp_path / "precious" / "gap.png").read_text() == "mine"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "removed"), [("y\n", True), ("Yes\n", True), ("\n", False), ("no\n", False)])
def test_removing_asks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    removed: bool,
) -> None:
    make(tmp_path / "a")
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    runs.runs_remove(["a"], root=tmp_path)
    assert (tmp_path / "a").exists() is not removed
    out, err = capsys.readouterr()
    assert out == ""
    assert "remove" in err


def test_removing_without_a_terminal_needs_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "a")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(DataError, match="add --yes"):
        runs.runs_remove(["a"], root=tmp_path)
    assert (tmp_path / "a" / "run.json").exists()
