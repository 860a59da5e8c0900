"""The words of experiments follow their numbers: settings whose data contradict what the defaults show."""

from __future__ import annotations

import functools
import itertools
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytest
from matplotlib.text import Text

import spectral_ssl as ss
from spectral_ssl.cli import main
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.branches import branches
from spectral_ssl.experiments.frame import known_as, order_of, reach, repeats, times
from spectral_ssl.experiments.infonce import frobenius_warm_start, linearisation, price_of_dimension
from spectral_ssl.experiments.practice import batch_size, minibatch_bias
from spectral_ssl.experiments.regimes import hinge, normalisation
from spectral_ssl.experiments.temperature import temperature_rank
from spectral_ssl.report.curves import curve_figure
from spectral_ssl.runs import open_run

SAME = 1e-9  # one number computed in two ways, in float64
KNN = "knn(n_neighbors=6)"
UNLIKE: dict[str, tuple[Any, dict[str, Any]]] = {
    "hinge": (
        hinge,
        {"data": "iris", "n_components": 3, "seeds": 1, "strengths": (5, 50), "strength": 50, "ratio": 1,
         "ratios": (1,)},
    ),
    "labels": (
        frobenius_warm_start,
        {"data": "iris", "n_originals": 12, "n_components": 3, "relations": ("labels",), "temperatures": (0.05, 0.1)},
    ),
    "one point": (
        frobenius_warm_start,
        {"data": "wine", "n_originals": 6, "n_neighbors": 2, "n_components": 2, "relations": ("knn",),
         "temperatures": (5.0,)},
    ),
    "one eps": (linearisation, {"n_samples": 6, "n_components": 1, "epsilons": (0.1,)}),
    "coarse eps": (linearisation, {"n_samples": 8, "n_components": 2, "epsilons": (0.9, 0.8)}),
    "one draw": (branches, {"data": "wine", "n_features": 5, "n_components": 2, "originals": (8,), "seeds": 1}),
    "one size": (
        minibatch_bias,
        {"data": "wine", "relation": KNN, "n_components": 2, "sizes": (8,), "steps": 4, "seeds": 1},
    ),
    "two forms": (
        batch_size,
        {"data": "wine", "relation": KNN, "methods": "vicreg, vicreg(form=hinge)", "n_components": 2, "sizes": (8,),
         "steps": 2, "seeds": 1},
    ),
    "free": (
        normalisation,
        {"data": "swiss_roll(n_samples=40)", "relation": KNN, "methods": "barlow_twins", "n_components": 2,
         "model": "free", "seeds": 2, "max_iter": 40},
    ),
    "cold": (
        temperature_rank,
        {"data": "wine", "n_originals": 5, "n_neighbors": 2, "relations": ("labels",), "temperatures": (0.005,)},
    ),
    "cold price": (
        price_of_dimension,
        {"data": "wine", "n_originals": 5, "n_neighbors": 2, "relation": "labels", "temperatures": (0.005,),
         "dimensions": (3,)},
    ),
    "flat": (
        price_of_dimension,
        {"data": "wine", "n_originals": 5, "n_neighbors": 2, "relation": "knn", "temperatures": (0.5,),
         "dimensions": (1,)},
    ),
}  # fmt: skip


@functools.cache
def ran(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    function, options = UNLIKE[name]
    folder = Path(tempfile.mkdtemp())
    try:
        payload = function(out=folder / "run", figures=False, **options)
        return payload, open_run(folder / "run").load_arrays("arrays")
    finally:
        shutil.rmtree(folder)


def texts(payload: dict[str, Any]) -> str:
    titles = [text for curve in payload["curves"] for text in (curve["title"], curve.get("caption", ""))]
    return " ".join([payload["answer"], payload.get("setting", ""), *titles, *payload["notes"]])


@pytest.mark.parametrize("name", UNLIKE)
def test_no_answer_holds_an_empty_number(name: str) -> None:
    said = texts(ran(name)[0])
    assert not re.search(r"\b(nan|inf|None)\b|--|\b1 (runs|draws)\b", said), said
    assert said.count(".") >= 1


# --- linearisation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "K"), [(12, 8), (4, 2)])
def test_directions_that_nothing_learns_are_not_predicted(n: int, K: int, tmp_path: Path) -> None:
    """Refused where HRH has fewer than K positive eigenvalues; one fewer than the K refused runs"""
    with pytest.raises(DataError, match="eigenvalues above 0") as raised:
        linearisation(n_samples=n, n_components=K, epsilons=(0.1,), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    most = int(re.search(r"at most (\d+)", str(raised.value)).group(1))  # type: ignore[union-attr]
    payload = linearisation(n_samples=n, n_components=most, epsilons=(0.1,), figures=False, out=tmp_path / "run")
    arrays = open_run(Path(payload["run"])).load_arrays("arrays")
    H = np.eye(n) - 1 / n
    above = [int((np.linalg.eigvalsh(H @ R @ H) > 1e-9).sum()) for key, R in arrays.items() if key.endswith("/R")]
    assert most == min(above)


def test_linearisation_says_yes_only_where_the_sine_vanishes() -> None:
    one, _ = ran("one eps")
    assert set(one["slopes"].values()) == {None}
    assert "eps^" not in one["answer"]
    assert "yes" not in one["answer"]
    payload, _ = ran("coarse eps")
    for name, slope in payload["slopes"].items():
        last = [row["sine"] for row in payload["rows"] if row["case"] == name][-1]
        told = re.search(rf"{re.escape(name)}: (yes|no), ", payload["answer"])
        assert told is not None
        assert (told.group(1) == "yes") == (slope > 0.5 and last < 0.5)


# --- frobenius-warm-start -------------------------------------------------------------------------------------------


def test_warm_start_counts_are_those_of_its_rows_and_no_title_judges() -> None:
    payload, _ = ran("labels")
    rows = payload["rows"]
    assert min(row["excess"] for row in rows) < 1e-3, "the spectral solution is next to the optimum here"
    assert "well above" not in texts(payload)
    assert "another subspace" not in texts(payload)
    better = sum(row["excess"] < row["random"] for row in rows)
    assert f"it is worse than collapse at {sum(row['excess'] > 1 for row in rows)} of {len(rows)} points" in " ".join(
        payload["answer"].split()
    )
    assert payload["answer"].endswith(f"at {better}.")
    assert payload["zero_line"].startswith("the least InfoNCE loss found in K dimensions, certified to a relative gap")
    assert times(max(row["certified_gap"] for row in rows)) in payload["zero_line"]
    one, _ = ran("one point")
    (row,) = one["rows"]
    A = _relation(UNLIKE["one point"][1])
    flat = A.sum() * np.log(len(A) - 1)
    chance = np.random.default_rng(0).standard_normal((5, len(A), 2))
    at_random = np.mean([naive.value(naive.info_nce, Z, A, temperature=5.0) for Z in chance])
    assert row["random"] == pytest.approx((at_random - row["loss"]) / (flat - row["loss"]), rel=1e-7)


def _relation(options: dict[str, Any]) -> np.ndarray:
    data = ss.load_dataset(options["data"])
    rows = np.sort(np.random.default_rng(0).choice(data.n_samples, options["n_originals"], replace=False))
    A = ss.relations.knn(ss.augment(data.subset(rows), 2, seed=0), n_neighbors=options["n_neighbors"])
    dense: np.ndarray = A.to_csr().toarray()
    return dense * len(dense) / dense.sum()


# --- hinge, normalisation -------------------------------------------------------------------------------------------


def test_hinge_tells_the_column_variances_it_has() -> None:
    payload, arrays = ran("hinge")
    rows = [row for row in payload["rows"] if "slug" in row]
    for row in rows:
        columns = arrays[f"{row['slug']}/Z"].var(axis=0)
        assert [row["column_least"], row["column_most"]] == pytest.approx([columns.min(), columns.max()], rel=SAME)
    (here,) = (row for row in rows if row["sweep"] == "ratio" and row["judge"].endswith("hinge loss"))
    assert here["column_most"] < 0.5
    assert here["excess_rescaled"] > 0.5 * here["excess"]
    assert payload["answer"].startswith("Not only a matter of size")
    assert f"column variances of {reach((here['column_least'], here['column_most']))} " in payload["answer"]
    (title,) = (curve["title"] for curve in payload["curves"] if curve["name"] == "covariance")
    held = [row for row in rows if row["sweep"] == "invariance" and ".hinge." in row["slug"]]
    at_one = sum(np.allclose(arrays[f"{row['slug']}/Z"].var(axis=0), 1, atol=1e-3) for row in held)
    assert title.endswith(f"at {at_one} of {len(held)} invariances")


def test_the_table_holds_no_rows_that_only_figures_are_drawn_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["--data", "wine", "--n-components", "2", "--seeds", "1", "--strengths", "0.2", "--ratios", "12.5"]
    assert main(["experiment", "hinge", *options, "--no-figures", "--quiet", "--out", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert "spectrum" not in shown
    assert "hinge optimum under the squared loss" in shown
    assert any(row["sweep"] == "spectrum" for row in open_run(tmp_path / "run").result["rows"])


def test_normalisation_prints_how_far_apart_its_searches_end() -> None:
    payload, _ = ran("free")
    apart, way = max((row["excess_max"] - row["excess"], row["normalised"]) for row in payload["rows"])
    (note,) = (note for note in payload["notes"] if "searches" in note)
    assert f"end up to {times(100 * apart)} % of the way to collapse apart (barlow_twins, {way})" in note
    assert not any("linear model undoes" in note for note in payload["notes"]), "there is no linear model here"
    (label,) = (curve["ylabel"] for curve in payload["curves"] if curve["name"] == "probe")
    assert label == "probe R²", "swiss_roll has no classes"


# --- the others -----------------------------------------------------------------------------------------------------


def test_a_rank_that_nothing_fixes_is_left_open() -> None:
    payload, _ = ran("cold")
    assert [row["rank"] for row in payload["rows"]] == [None]
    assert "labels open" in payload["answer"]
    assert "certified" not in payload["answer"]
    payload, _ = ran("cold price")
    assert [row["rank_of_all"] for row in payload["rows"]] == [None]
    assert payload["answer"].endswith("rank open.")
    assert "of any rank" in payload["rows"][0]["panel"]


def test_a_price_above_one_per_cent_is_not_called_less() -> None:
    payload, _ = ran("flat")
    (row,) = payload["rows"]
    assert row["price"] > 0.01
    assert "at temperature 0.5 none" in payload["answer"]


def test_methods_of_one_name_keep_their_own_rows_and_arrays() -> None:
    payload, arrays = ran("two forms")
    assert {row["method"] for row in payload["rows"]} == {"vicreg", "vicreg(form=hinge)"}
    assert len(arrays) == len(payload["rows"]) == 4


def test_branches_compare_only_what_was_run() -> None:
    payload, _ = ran("one draw")
    assert "nearer" not in payload["answer"]
    assert payload["answer"].count("8 originals") == len(payload["rows"]) == 3


def test_words_of_numbers() -> None:
    assert order_of([1, 2, 4, 8], [5.0, 1.0, 4.0, 16.0]) == pytest.approx(2), "over the last half"
    assert order_of([1], [2.0]) is None
    assert order_of([1, 2], [0.0, 1.0]) is None
    assert [reach([0.1, 0.5]), reach([0.5, 0.5])] == ["0.1 to 0.5", "0.5"]
    assert [repeats(range(1), "median of"), repeats(range(2), "median of")] == ["", "; median of 2 runs"]
    found = [known_as(["exact"]), known_as(["exact", "certified"]), known_as(["certified", "bound"])]
    assert found == ["the closed form", "the certified optimum", "the proven bound"]


# --- figures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", [None, {"y": "y", "ylabel": "Y"}])
def test_names_of_two_lines_at_ends_do_not_touch(below: Any) -> None:
    names = ["squared optimum under the hinge loss", "hinge optimum under the squared loss, trained", "short"]
    rows = [{"who": who, "x": x, "y": x + n / 1000} for n, who in enumerate(names) for x in (1.0, 2.0)]
    curve = {"title": "t", "x": "x", "y": "y", "by": "who", "below": below}
    figure = curve_figure(curve, {"rows": rows})
    assert figure is not None
    figure.draw_without_rendering()
    words = [text for text in figure.axes[0].texts if text.get_text().split("\n")[0] in " ".join(names)]
    boxes = sorted((Text.get_window_extent(text) for text in words), key=lambda box: box.y0)  # without its arrow
    assert len(boxes) == 3
    for under, over in itertools.pairwise(boxes):
        assert over.y0 - under.y1 > 2 / 72 * figure.dpi, "two points between one name and the next"


def test_a_zero_line_amid_the_data_is_named_above_them() -> None:
    rows = [{"who": "a", "x": x, "y": y} for x, y in ((1, 2.0), (2, 0.1))]
    curve = {"title": "t", "x": "x", "y": "y", "zero": 1.0, "zero_line": "Cov = I"}
    figure = curve_figure(curve, {"rows": rows})
    assert figure is not None
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == ["1 = Cov = I"]
    assert not figure.axes[0].texts
    at_foot = curve_figure({**curve, "zero": 0.0}, {"rows": rows})
    assert at_foot is not None
    assert not at_foot.legends
    assert [text.get_text() for text in at_foot.axes[0].texts] == ["0 = Cov = I"]
