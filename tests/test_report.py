"""Tables and figures say what the record says: data are read back from the figures, numbers from the text."""

from __future__ import annotations

import io
import itertools
import re
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("rich")

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cbook import is_math_text
from rich.console import Console

import spectral_ssl.report
from spectral_ssl.report import plots, tables
from spectral_ssl.report.panels import LOOKS, SPARE, Panel, panels
from spectral_ssl.report.words import distinct_labels, label, number, short_hyper
from spectral_ssl.runs import RunDirectory, open_run, runs_list, runs_show

N, K = 60, 3
ROUNDING = 1e-12  # of products of a few orthogonal matrices of size one


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# ------------------------------------------------------------------------------------------------- a record to report


def make_row(method: str, **changes: Any) -> dict[str, Any]:
    row = {
        "method": method,
        "model": "linear",
        "kind": "exact",
        "hyper": {},
        "loss_closed": 2.25,
        "loss_trained": 2.25 + 3e-9,
        "excess": 3e-9,
        "relative_excess": 2e-9,
        "max_angle": 4e-8,
        "gap": 0.0125,
        "rank_closed": K,
        "rank_trained": K,
        "effective_rank": 2.9,
        "probe_closed": 0.9125,
        "probe_trained": 0.9125,
        "knn_closed": 0.875,
        "knn_trained": 0.75,
        "seconds_closed": 0.012,
        "seconds_trained": 1.57,
        "converged": True,
        "solver": "dense",
        "note": "",
        "relation": "knn(n_neighbors=5)",
        "n_components": K,
        "slug": method,
        "lower_bound": 2.25,
        "collapse_loss": 4.0,
    }
    return {**row, **changes}


def make_arrays(slug: str, seed: int = 0, size: int = K) -> dict[str, np.ndarray]:
    """A closed form, and a trained embedding that is the same turned and doubled."""
    rng = np.random.default_rng(seed)
    values = np.array([8.0, 4.0, 2.0, *(2.0 ** -np.arange(size))])[:size]
    Z = np.linalg.qr(rng.standard_normal((N, size)))[0] * values
    Q = np.linalg.qr(rng.standard_normal((size, size)))[0]
    arrays = {
        "Z_closed": Z,
        "Z_trained": 2 * Z @ Q,
        "spectrum": np.arange(size + 2.0),
        "singular_closed": values,
        "singular_trained": values * (1 + 1e-9),
        "angles": np.array([4e-8, 1e-9, 1e-11])[:size],
        "losses": np.array([3.5, 9.0, 2.5, 2.75, 2.25 + 3e-9]),
    }
    return {f"{slug}/{name}": array for name, array in arrays.items()}


RELATION = {
    "name": "knn",
    "text": "knn(n_neighbors=5)",
    "summary": "60 samples, 210 positive pairs",
    "findings": ["degrees differ by a factor of 3"],
    "n_pairs": 210,
    "dropped_pairs": 4,
}


@pytest.fixture
def payload() -> dict[str, Any]:
    hyper = {
        "variance": 1.0,
        "covariance": 1.0,
        "invariance": 0.1837,
        "form": "squared",
        "weighting": "none",
        "ddof": 0,
    }
    bound = {"temperature": 0.5, "similarity": "cosine", "radius": 1.0}
    return {
        "command": "compare",
        "data": {"name": "toy", "n_samples": 80, "n_features": 7, "n_train": N, "n_test": 20, "n_classes": 3},
        "relation": RELATION,
        "rows": [
            make_row("vicreg", hyper=hyper),
            make_row("barlow_twins", gap=1e-6, max_angle=0.3, note="eigenvalue 3 has 2 copies"),
            make_row(
                "infonce",
                kind="bound",
                hyper=bound,
                loss_closed=1617.5,
                lower_bound=1617.5,
                loss_trained=2437.25,
                excess=819.75,
                relative_excess=0.53,
                collapse_loss=3000.0,
                max_angle=None,
                gap=None,
                rank_closed=None,
                probe_closed=None,
                knn_closed=None,
            ),
        ],
        "reference": {"probe_raw": 0.9531, "knn_raw": 0.9801, "probe_lda": None},
        "price_of_linearity": [
            {"method": "vicreg", "relation": "knn(n_neighbors=5)", "loss_free": 0.68825, "loss_linear": 2.25}
        ],
        "notes": ["3 of 7 features are constant"],
        "run": "runs/x",
        "files": ["runs/x/run.json"],
        "figures": ["runs/x/figures/loss.png"],
    }


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    found = make_arrays("vicreg") | make_arrays("barlow_twins", seed=1) | make_arrays("infonce", seed=2)
    for absent in ("Z_closed", "singular_closed", "spectrum", "angles"):
        del found[f"infonce/{absent}"]
    found["infonce/losses"] = np.array([2800.0, 2500.0, 2437.25])
    return found | {"knn/y": np.arange(N) % 3}


@pytest.fixture
def members(payload: dict[str, Any], arrays: dict[str, np.ndarray]) -> list[Panel]:
    (found,) = panels(payload, arrays).values()
    return found


REFERENCES = {
    "free": {"loss": 2.25, "kind": "exact", "lower_bound": 2.25, "rank": 3},
    "kernel": {"loss": 2.4, "kind": "exact", "lower_bound": 2.4, "rank": 3, "kernel": "nystroem(n_landmarks=15)"},
    "linear": {"loss": 3.0, "kind": "exact", "lower_bound": 3.0, "rank": 3},
}


def watched(payload: dict[str, Any], arrays: dict[str, np.ndarray]) -> list[Panel]:
    """One method of the record as two seeds of a network trained on batches, and looked at three times."""
    row = payload["rows"][0]
    row |= {
        "model": "mlp",
        "encoder": "mlp(width=8, depth=1)",
        "loss_trained": 2.5,
        "relative_excess": 0.25 / 1.75,
        "references": REFERENCES,
        "training": {"batch_size": 16, "optimizer": "adam"},
        "seeds": {"n": 2, "losses": [2.5, 2.75], "relative_excess": {"min": 1 / 7, "median": 0.2, "max": 2 / 7}},
        "monitor_closed": {"effective_rank": 2.9, "knn": 0.95},
    }
    payload["rows"] = [row]
    looks = {
        "step": [1, 2, 5],
        "loss": [3.75, 3.0, 2.5],
        "relative_excess": [1.5 / 1.75, 0.75 / 1.75, 0.25 / 1.75],
        "max_angle": [1.5, 0.5, 0.25],
        "spectrum_drift": [0.5, 0.25, 0.0],
        "effective_rank": [2.0, 2.5, 2.75],
        "knn": [0.3, 0.8, 0.9],
    }
    for name, values in looks.items():
        arrays[f"vicreg/monitor_{name}"] = arrays[f"vicreg/monitor0_{name}"] = np.array(values, dtype=float)
        arrays[f"vicreg/monitor1_{name}"] = np.array(values) * (1.0 if name == "step" else 1.125)
    (found,) = panels(payload, arrays).values()
    return found


def save_run(path: Path, payload: dict[str, Any], arrays: dict[str, np.ndarray]) -> RunDirectory:
    with RunDirectory.create(path, payload["command"], {}, seed=0) as run:
        run.save_arrays("arrays", **arrays)
        run.write(payload)
    return run


def steps_of(axes: Any) -> np.ndarray:
    """Heights of a step line."""
    from matplotlib.patches import StepPatch

    return np.asarray([patch for patch in axes.patches if isinstance(patch, StepPatch)][-1].get_data().values)


def curve_of(axes: Any, name: str) -> np.ndarray:
    """Heights of the line of that gid."""
    return next(np.asarray(line.get_ydata(), dtype=float) for line in axes.lines if line.get_gid() == name)


def words_of(axes: Any) -> str:
    return " | ".join([axes.get_title(loc="left"), *(text.get_text() for text in axes.texts)])


# ------------------------------------------------------------------------------------------------------------ figures


def test_draw_writes_an_image_of_each_figure_and_lists_it_in_the_record(
    tmp_path: Path, payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    payload["teaser"] = {"rows": [{"n_components": 3, "rate": 0.5, "method": "vicreg", "probe": 0.5}], "chance": 0.1}
    save_run(tmp_path / "run", payload, arrays)
    found = plots.draw(tmp_path / "run")
    names = ["spectrum", "embedding", "angles", "loss", "convergence", "corruption"]
    assert [path.name for path in found] == [f"{name}.png" for name in names]
    assert set(open_run(tmp_path / "run").record["files"]) >= {f"figures/{name}.png" for name in names}
    for path in found:
        header = path.read_bytes()[:24]
        width, height = struct.unpack(">II", header[16:])
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert width == 2666  # 13.33 inches at 200 dpi
        assert height > 500
        pixels = matplotlib.image.imread(path)[..., :3]
        assert 0.8 < pixels.mean() < 0.999  # ink on white, more than a frame
        assert np.unique(pixels[::9, ::9] @ [1.0, 10.0, 100.0]).size > 20


def test_figures_drawn_while_a_run_is_written_are_its_files(
    tmp_path: Path, payload: dict[str, Any], arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "DPI", 20)
    with RunDirectory.create(tmp_path / "run", "compare", {}, seed=0) as run:
        run.save_arrays("arrays", **arrays)
        run.write(payload)
        found = plots.draw(run)
    assert {f"figures/{path.name}" for path in found} <= set(open_run(tmp_path / "run").record["files"])


def test_a_run_without_rows_or_arrays_has_no_figures(tmp_path: Path, payload: dict[str, Any]) -> None:
    with RunDirectory.create(tmp_path / "run", "compare", {}) as run:
        assert plots.draw(run) == []
        run.write(payload)
        assert plots.draw(run) == []


def test_spectrum_shows_both_sets_of_singular_values_relative_to_the_largest_predicted(members: list[Panel]) -> None:
    figure = plots.spectrum_figure(members)
    assert figure is not None
    vicreg, _, infonce = figure.axes
    np.testing.assert_allclose(steps_of(vicreg), [1.0, 0.5, 0.25])
    np.testing.assert_allclose(vicreg.lines[0].get_ydata(), np.array([1.0, 0.5, 0.25]) * (1 + 1e-9), rtol=1e-14)
    assert "rank 3 of 3 · gap 0.013" in words_of(vicreg)
    assert not infonce.patches
    np.testing.assert_allclose(infonce.lines[0].get_ydata(), [1.0, 0.5, 0.25])  # its own largest is all there is


def test_spectrum_is_logarithmic_where_it_spans_decades_and_zeros_stand_on_the_floor(
    payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    arrays["vicreg/singular_closed"] = np.array([1.0, 1e-3, 0.0])
    arrays["vicreg/singular_trained"] = np.array([1.0, 1e-3, 1e-12])
    payload["rows"] = payload["rows"][:1]
    (found,) = panels(payload, arrays).values()
    figure = plots.spectrum_figure(found)
    assert figure is not None
    (axes,) = figure.axes
    floor = axes.get_ylim()[0]
    assert axes.get_yscale() == "log"
    assert 0 < floor < 1e-3
    np.testing.assert_allclose(steps_of(axes), [1.0, 1e-3, floor])
    np.testing.assert_allclose(np.concatenate([line.get_ydata() for line in axes.lines]), [1.0, 1e-3, floor])


def test_embedding_lays_a_turned_and_scaled_copy_exactly_onto_the_closed_form(
    members: list[Panel], arrays: dict[str, np.ndarray]
) -> None:
    figure = plots.embedding_figure(members)
    assert figure is not None
    closed, trained = figure.axes[:2]
    left, right = (np.asarray(axes.collections[0].get_offsets()) for axes in (closed, trained))
    np.testing.assert_allclose(left, right, atol=ROUNDING)
    assert closed.get_xlim() == closed.get_ylim() == trained.get_xlim() == trained.get_ylim()
    # principal directions: coordinates are uncorrelated, the first the longer, distances those of the best plane
    Z = arrays["vicreg/Z_closed"] - arrays["vicreg/Z_closed"].mean(axis=0)
    values = np.sqrt(np.sort(np.linalg.eigvalsh(Z.T @ Z))[::-1][:2])
    np.testing.assert_allclose(left.T @ left, np.diag(values**2), atol=1e-10)
    assert "a lower bound only" in words_of(figure.axes[4])  # of InfoNCE there is only a trained embedding to show
    assert not figure.axes[4].collections


def test_embedding_colours_points_by_label_the_same_way_everywhere(
    members: list[Panel], arrays: dict[str, np.ndarray]
) -> None:
    figure = plots.embedding_figure(members)
    assert figure is not None
    clouds = [axes.collections[0] for axes in figure.axes if axes.collections]
    assert len(clouds) == 5  # two methods twice, InfoNCE trained only
    order = np.random.default_rng(0).permutation(N)
    for cloud in clouds:
        colours = cloud.get_facecolors()
        for code in range(3):
            of_class = colours[arrays["knn/y"][order] == code]
            np.testing.assert_allclose(of_class, np.broadcast_to(of_class[0], of_class.shape))
        np.testing.assert_allclose(colours, clouds[0].get_facecolors())
    assert len(np.unique(clouds[0].get_facecolors(), axis=0)) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "1", "2"]


def test_labels_of_a_row_come_before_those_of_its_relation(
    payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    arrays["infonce/y"] = np.zeros(5)
    (found,) = panels(payload, arrays).values()
    assert [panel.arrays["y"].size for panel in found] == [N, N, 5]


def test_regression_targets_are_coloured_continuously_with_a_colour_bar(
    payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    y = np.linspace(-2.0, 5.0, N)
    y[3] = np.nan
    (found,) = panels(payload, arrays | {"knn/y": y}).values()
    figure = plots.embedding_figure(found)
    assert figure is not None
    cloud = figure.axes[0].collections[0]
    assert cloud.get_clim() == (-2.0, 5.0)
    values = np.ma.filled(cloud.get_array(), np.nan)
    np.testing.assert_allclose(values, y[np.random.default_rng(0).permutation(N)])
    assert figure.axes[-1].get_ylabel() == "target y"
    figure.draw_without_rendering()


def test_angles_are_all_drawn_and_hollow_where_the_gap_is_closed(members: list[Panel]) -> None:
    figure = plots.angle_figure(members)
    assert figure is not None
    (axes,) = figure.axes
    clouds = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert len(clouds) == 2  # InfoNCE has no closed form to have an angle with
    for line in clouds:
        np.testing.assert_array_equal(line.get_xdata(), [4e-8, 1e-9, 1e-11])
    judged, closed_gap = clouds
    assert judged.get_markerfacecolor() == members[0].colour
    assert closed_gap.get_markerfacecolor() == "white"
    assert any(line.get_linestyle() == "--" and line.get_xdata()[0] == 1e-5 for line in axes.lines)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["InfoNCE", "Barlow Twins", "VICReg"]
    assert judged.get_ydata()[0] == 2  # on the line of its name


def test_loss_is_drawn_beside_the_attainable_minimum_and_collapse(members: list[Panel]) -> None:
    figure = plots.loss_figure(members)
    assert figure is not None
    vicreg, _, infonce = figure.axes
    np.testing.assert_array_equal(curve_of(vicreg, "losses"), [3.5, 9.0, 2.5, 2.75, 2.25 + 3e-9])
    np.testing.assert_array_equal(curve_of(vicreg, "best"), [3.5, 3.5, 2.5, 2.5, 2.25 + 3e-9])
    np.testing.assert_array_equal(curve_of(vicreg, "minimum"), [2.25, 2.25])
    np.testing.assert_array_equal(curve_of(vicreg, "collapse"), [4.0, 4.0])
    assert "minimum 2.25" in words_of(vicreg)
    assert "5 evaluations" in words_of(vicreg)
    np.testing.assert_array_equal(curve_of(infonce, "minimum"), [1617.5, 1617.5])
    assert "lower bound 1,617.5" in words_of(infonce)
    low, high = vicreg.get_ylim()
    assert low < 2.25 < 4.0 < high < 9.0  # an overshoot of the line search does not set the scale


def test_convergence_is_the_best_excess_as_a_share_of_the_way_from_collapse(members: list[Panel]) -> None:
    figure = plots.convergence_figure(members)
    assert figure is not None
    (axes,) = figure.axes
    curves = [line for line in axes.lines if len(line.get_xdata()) > 1 and line.get_marker() == "None"]
    np.testing.assert_allclose(
        curves[0].get_ydata(), np.array([1.25, 1.25, 0.25, 0.25, 3e-9]) / 1.75, rtol=1e-6
    )  # (loss - 2.25) / (4 - 2.25), never rising
    np.testing.assert_array_equal(curves[0].get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(curves[-1].get_ydata(), (np.array([2800, 2500, 2437.25]) - 1617.5) / (3000 - 1617.5))
    assert curves[-1].get_linestyle() == "--"  # over a bound


def test_a_loss_below_the_minimum_by_rounding_is_drawn_at_the_floor(
    payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    arrays["vicreg/losses"] = np.array([3.0, 2.25 - 4e-16])
    payload["rows"] = payload["rows"][:1]
    (found,) = panels(payload, arrays).values()
    figure = plots.convergence_figure(found)
    assert figure is not None
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [0.75 / 1.75, plots.SHORTEST])
    figure.draw_without_rendering()


@pytest.mark.parametrize("losses", [(2.25, 2.4, 3.0), (2.25, 2.3, 2.4), (2.25, 2.2501, 2.2502), (2.25, 2.25, 3.9)])
def test_the_words_of_references_are_crossed_by_no_line_however_close_they_lie(
    losses: tuple[float, ...], payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    found = watched(payload, arrays)
    names = ("free", "kernel", "linear")
    references = {name: {**REFERENCES[name], "loss": loss} for name, loss in zip(names, losses, strict=True)}
    payload["rows"][0]["references"] = references
    figure = plots.loss_figure(found)
    assert figure is not None
    figure.draw_without_rendering()
    (axes,) = figure.axes
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    heights = [axes.transData.transform((1, level))[1] for level in (*losses, 4.0)]
    for box in boxes:
        assert not any(box.y0 + 1 < height < box.y1 - 1 for height in heights)
        assert axes.bbox.y0 <= box.y0
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_a_networks_loss_stands_beside_its_references_each_with_a_line_of_its_own(
    payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    figure = plots.loss_figure(watched(payload, arrays))
    assert figure is not None
    (axes,) = figure.axes
    for name, level in (("minimum", 2.25), ("kernel", 2.4), ("linear", 3.0), ("collapse", 4.0)):
        np.testing.assert_array_equal(curve_of(axes, name), [level, level])
    styles = [
        line.get_linestyle() for line in axes.lines if line.get_gid() in ("minimum", "kernel", "linear", "collapse")
    ]
    dashes = [
        line._dash_pattern for line in axes.lines if line.get_gid() in ("minimum", "kernel", "linear", "collapse")
    ]
    assert len(styles) == len({str(d) for d in dashes}) == 4
    words = words_of(axes)
    for text in ("all embeddings, minimum 2.25", "kernel maps 2.4", "linear maps 3", "collapsed 4"):
        assert text in words
    # the words of lines that lie close together do not lie on each other
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"least over all embeddings", "least over kernel maps", "least over linear maps"} <= set(told)


def test_a_certified_optimum_is_drawn_with_its_proof_where_the_two_can_be_told_apart(
    payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    for lower, drawn in ((2.0, True), (2.2499, False)):
        payload["rows"] = [make_row("vicreg", kind="certified", lower_bound=lower)]
        (found,) = panels(payload, arrays).values()
        figure = plots.loss_figure(found)
        assert figure is not None
        words = words_of(figure.axes[0])
        assert "best known 2.25" in words
        assert ("proven bound 2" in words) == drawn
        told = [text.get_text() for text in figure.legends[0].get_texts()]
        assert ("proven lower bound" in told) == drawn
        if drawn:
            np.testing.assert_array_equal(curve_of(figure.axes[0], "proof"), [2.0, 2.0])


def test_losses_of_batches_are_no_minimum_so_the_whole_relation_is_followed_where_it_was_looked_at(
    payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    arrays["vicreg/losses"] = np.array([3.5, 1.0, 2.5, 2.75, 2.3])  # a lucky batch is below the minimum
    found = watched(payload, arrays)
    figure = plots.loss_figure(found)
    assert figure is not None
    np.testing.assert_array_equal(curve_of(figure.axes[0], "losses"), [3.5, 1.0, 2.5, 2.75, 2.3])
    np.testing.assert_array_equal(curve_of(figure.axes[0], "best"), [3.75, 3.0, 2.5])
    (band,) = [c for c in figure.axes[0].collections if c.get_gid() == "seeds"]
    (path,) = band.get_paths()
    low, high = (np.array([3.75, 3.0, 2.5]) * factor for factor in (1.0, 1.125))
    assert {tuple(v) for v in path.vertices} >= {*zip([1, 2, 5], low, strict=True), *zip([1, 2, 5], high, strict=True)}
    figure = plots.convergence_figure(found)
    assert figure is not None
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.array([1.5, 0.75, 0.25]) / 1.75)
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [1, 2, 5])
    assert axes.get_xlabel() == "steps"
    assert "over all embeddings = 0" in axes.get_ylabel()


def test_without_a_monitor_only_the_end_of_minibatch_training_is_known(
    payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    payload["rows"] = [payload["rows"][0] | {"training": {"batch_size": 16}, "loss_trained": 2.5}]
    (found,) = panels(payload, arrays).values()
    figure = plots.loss_figure(found)
    assert figure is not None
    np.testing.assert_array_equal(curve_of(figure.axes[0], "best"), [2.5])
    assert plots.monitor_figure(found) is None


def test_several_seeds_of_a_search_are_a_band(payload: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    payload["rows"] = payload["rows"][:1]
    arrays["vicreg/losses_low"] = np.array([3.5, 3.0, 2.5])
    arrays["vicreg/losses_high"] = np.array([3.75, 3.5, 3.25])
    (found,) = panels(payload, arrays).values()
    for make, scale in ((plots.loss_figure, lambda v: v), (plots.convergence_figure, lambda v: (v - 2.25) / 1.75)):
        figure = make(found)
        assert figure is not None
        (band,) = [c for c in figure.axes[0].collections if c.get_gid() == "seeds"]
        heights = {round(float(y), 9) for _, y in band.get_paths()[0].vertices}
        assert heights == {round(scale(v), 9) for v in (3.5, 3.0, 2.5, 3.75, 3.25)}


def test_the_monitor_shows_every_measure_with_its_optimum_and_the_other_seeds(
    payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    figure = plots.monitor_figure(watched(payload, arrays))
    assert figure is not None
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_yscale() for axes in shown] == ["log"] * 3 + ["linear"] * 2
    names = ["relative_excess", "max_angle", "spectrum_drift", "effective_rank", "knn"]
    for name, axes in zip(names, shown, strict=True):
        values = arrays[f"vicreg/monitor_{name}"]
        np.testing.assert_array_equal(curve_of(axes, f"VICReg/{name}"), np.maximum(values, plots.SHORTEST))
        thin = [line for line in axes.lines if line.get_linewidth() < 1]
        np.testing.assert_array_equal(thin[1].get_ydata(), np.maximum(values * 1.125, plots.SHORTEST))
        levels = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]
        assert levels == {"effective_rank": [2.9], "knn": [0.95]}.get(name, [])
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["VICReg", "at the optimum", "other seeds"]


def test_corruption_shows_the_mean_over_seeds_in_percent_per_dimension() -> None:
    rows = [
        {"n_components": size, "rate": rate, "method": method, "probe": probe + 0.01 * seed}
        for (size, method, probe), rate, seed in itertools.product(
            [(8, "vicreg", 0.5), (64, "vicreg", 0.9), (64, "vicreg(invariance=1.1)", 0.7)], (0.5, 0.0), (0, 2)
        )
    ]
    figure = plots.corruption_figure({"rows": rows, "chance": 0.1, "relation": "labels"}, {"probe_raw": 0.95})
    wide, narrow = figure.axes
    assert [axes.get_title(loc="left") for axes in (wide, narrow)] == ["K = 64", "K = 8"]
    np.testing.assert_allclose(wide.lines[0].get_xdata(), [0.0, 50.0])
    np.testing.assert_allclose(wide.lines[0].get_ydata(), [91.0, 91.0])
    np.testing.assert_allclose(wide.lines[1].get_ydata(), [71.0, 71.0])
    np.testing.assert_allclose(narrow.lines[0].get_ydata(), [51.0, 51.0])
    levels = [line.get_ydata()[0] for line in wide.lines if line.get_linestyle() in ("--", ":")]
    np.testing.assert_allclose(levels, [95.0, 10.0])
    assert len({line.get_color() for line in wide.lines[:2]}) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["VICReg", "VICReg, γ = 1.1"]


def test_a_method_has_one_colour_in_all_figures_and_no_two_share_one() -> None:
    names = [
        "vicreg",
        "frobenius_simclr",
        "spectral_contrastive",
        "barlow_twins",
        "infonce",
        "alpha_cl",
        "mine",
        "other",
    ]
    rows = [make_row(name, slug=f"{where}.{name}", relation=where) for where in ("knn", "labels") for name in names]
    rows += [make_row("vicreg", slug="again", relation="labels", hyper={"invariance": 9.0})]
    rows += [make_row("vicreg", slug="degree", relation="labels", hyper={"weighting": "degree"})]
    first, second = panels({"rows": rows}, {}).values()
    assert [panel.colour for panel in first] == [panel.colour for panel in second[: len(first)]]
    assert len({panel.colour for panel in second}) == len(second) == 10
    assert second[-1].label == "VICReg (degree)"
    own = [colour for key, (colour, _) in LOOKS.items() if key != ("simclr", "")]  # SimCLR is InfoNCE by its other name
    spare = [colour for colour, _ in SPARE]
    assert len({*own, *spare}) == len(own) + len(spare)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("how", ["collapsed", "unlabelled", "some labels", "empty arrays", "no numbers"])
def test_hard_cases_are_drawn_without_a_warning(how: str, size: int, arrays: dict[str, np.ndarray]) -> None:
    rows = [make_row("vicreg", n_components=size, rank_closed=size), make_row("barlow_twins", n_components=size)]
    arrays = make_arrays("vicreg", size=size) | make_arrays("barlow_twins", size=size)
    arrays["knn/y"] = np.arange(N) % 3
    if how == "collapsed":
        rows[0].update(rank_closed=0, rank_trained=0, max_angle=None, gap=None, loss_closed=4.0)
        arrays["vicreg/Z_closed"] = np.zeros((N, size))
        arrays["vicreg/Z_trained"] = np.zeros((N, size))
        arrays["vicreg/singular_closed"] = arrays["vicreg/singular_trained"] = np.zeros(size)
        arrays["vicreg/angles"] = np.zeros(0)
    elif how == "unlabelled":
        del arrays["knn/y"]
    elif how == "some labels":
        arrays["knn/y"] = np.where(np.arange(N) % 2, -1, np.arange(N) % 40)
    elif how == "empty arrays":
        arrays |= {key: np.zeros(0) for key in arrays if key.startswith("vicreg/")}
        arrays["barlow_twins/Z_trained"] = np.full((N, size), np.nan)
    else:
        measured = [key for key, value in rows[0].items() if isinstance(value, int | float)]
        rows = [{**row, **dict.fromkeys(measured)} for row in rows]
    (found,) = panels({"rows": rows, "relation": RELATION}, arrays).values()
    for make in plots.FIGURES.values():
        figure = make(found, "caption")
        if figure is not None:
            figure.draw_without_rendering()
    if how == "collapsed":
        figure = plots.embedding_figure(found)
        assert figure is not None
        assert "collapsed" in words_of(figure.axes[0])
        assert not figure.axes[0].collections


def test_nine_methods_fit_and_any_name_can_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "DPI", 20)
    names = [*(f"method_{place}_with_a_name_of_some_length" for place in range(8)), "costs $5$ and \\$"]
    rows = [make_row(name, slug=str(place)) for place, name in enumerate(names)]
    arrays: dict[str, np.ndarray] = {}
    for place in range(9):
        arrays |= make_arrays(str(place), seed=place)
    payload = {"rows": rows, "data": {"name": "$x$ データ", "n_train": N}, "relation": RELATION, "command": "compare"}
    save_run(tmp_path / "run", payload, arrays)
    monkeypatch.setattr(plots, "FIGURES", {"angles": plots.angle_figure, "convergence": plots.convergence_figure})
    assert len(plots.draw(tmp_path / "run")) == 2
    (found,) = panels(payload, arrays).values()
    figure = plots.convergence_figure(found)
    assert figure is not None
    figure.draw_without_rendering()
    extent = figure.legends[0].get_window_extent()
    assert 0 <= extent.x0 < extent.x1 <= figure.bbox.width
    figure = plots.loss_figure(found, "costs $x$ and $$")
    assert figure is not None
    figure.draw_without_rendering()
    words = [figure.texts[-1].get_text(), figure.axes[-1].get_title(loc="left")]
    assert not any(is_math_text(text) for text in words)
    assert [text.replace(r"\$", "$") for text in words] == ["costs $x$ and $$", names[-1]]  # what matplotlib shows
    boxes = [axes.get_tightbbox() for axes in figure.axes if axes.get_visible()]
    assert len(boxes) == 9
    for one, other in itertools.combinations(boxes, 2):
        assert one is not None
        assert other is not None
        assert not one.overlaps(other)


@pytest.mark.parametrize("of", ["searched", "minibatches of a network"])
def test_the_words_of_a_page_do_not_overlap(
    of: str, members: list[Panel], payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    caption = "digits · relation knn(n_neighbors=5) · " * 6
    shown = members if of == "searched" else watched(payload, arrays)
    for name, make in plots.FIGURES.items():
        figure = make(shown, caption)
        if name == "monitor" and of == "searched":
            assert figure is None  # nobody looked
            continue
        assert figure is not None
        figure.draw_without_rendering()
        renderer = FigureCanvasAgg(figure).get_renderer()
        boxes = [text.get_window_extent(renderer) for text in figure.texts]
        boxes += [legend.get_window_extent(renderer) for legend in figure.legends]
        boxes += [axes.get_tightbbox(renderer) for axes in figure.axes if axes.get_visible()]
        assert len(boxes) > 3
        for box in [*boxes, *(text.get_window_extent(renderer) for axes in figure.axes for text in axes.texts)]:
            assert 0 <= box.x0 < box.x1 <= figure.bbox.width
            assert 0 <= box.y0 < box.y1 <= figure.bbox.height
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other)


def test_figures_are_kept_apart_by_relation_model_and_dimension(
    tmp_path: Path, arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "FIGURES", {"loss": plots.loss_figure})
    monkeypatch.setattr(plots, "DPI", 20)
    rows = [
        make_row("vicreg", relation="knn(n_neighbors=5)"),
        make_row("vicreg", relation="labels", n_components=8),
        make_row("vicreg", relation="labels", n_components=8, model="free"),
    ]
    save_run(tmp_path / "run", {"command": "demo", "rows": rows}, arrays)
    names = [path.name for path in plots.draw(tmp_path / "run")]
    assert names == ["loss-knn-n_neighbors=5-linear-K3.png", "loss-labels-linear-K8.png", "loss-labels-free-K8.png"]


def test_captions_say_what_a_figure_was_made_from(payload: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    from spectral_ssl.report.panels import setting_caption

    ((group, found),) = panels(payload, arrays).items()
    caption = setting_caption(payload, group)
    assert caption == (
        "toy: 60 training samples, 7 features · relation knn(n_neighbors=5), 210 pairs · K = 3 · "
        "linear maps of the data"
    )
    figure = plots.loss_figure(found, caption)
    assert figure is not None
    assert "K = 3" in figure.texts[-1].get_text()


def test_drawing_leaves_matplotlib_as_it_was(members: list[Panel]) -> None:
    with matplotlib.rc_context({"font.size": 33.0, "axes.grid": False}):
        before = dict(matplotlib.rcParams)
        plots.spectrum_figure(members)
        assert dict(matplotlib.rcParams) == before


def test_report_offers_its_two_functions() -> None:
    assert spectral_ssl.report.draw is plots.draw
    assert spectral_ssl.report.render is tables.render
    with pytest.raises(AttributeError, match="has no attribute 'paint'"):
        _ = spectral_ssl.report.paint


def test_report_imports_neither_pyplot_nor_torch_and_waits_with_matplotlib() -> None:
    program = (
        "import sys, spectral_ssl.report, spectral_ssl.report.plots, spectral_ssl.report.tables; "
        "print([name for name in ('matplotlib', 'torch', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ------------------------------------------------------------------------------------------------------------- tables


def shown(payload: Any, width: int = 100) -> str:
    stream = io.StringIO()
    tables.render(payload, Console(file=stream, width=width))
    return stream.getvalue()


def flat(text: str) -> str:
    """Without line breaks."""
    return " ".join(text.split())


def cells(text: str, start: str) -> list[str]:
    """The cells of the table line that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(start))
    return line.removeprefix(start).split()


def test_compare_prints_its_numbers_for_people(payload: dict[str, Any]) -> None:
    text = shown(payload, width=140)
    assert cells(text, "VICReg ") == [
        *("exact", "γ", "0.184", "2.25", "2.25", "2e-9", "4e-8", "0.013"),
        *("3", "0.912", "0.875/0.750", "12", "ms/1.6", "s"),
    ]
    assert cells(text, "InfoNCE ")[:9] == ["bound", "τ", "0.5", ">", "1,617.5", "2,437.25", "0.53", "-", "-"]
    assert "0.3*" in cells(text, "Barlow Twins ")  # the gap is closed: not judged, and said so
    assert "* angle not judged" in text
    words = flat(text)
    assert "toy: 80 samples, 7 features, 3 classes, 60 train and 20 test" in words
    assert "relation knn(n_neighbors=5) · K = 3 · linear maps of the data" in words
    assert "- degrees differ by a factor of 3" in words
    assert "4 pairs that cross the split were dropped" in words
    assert "linear probe on raw features 0.953, kNN on raw features 0.980" in words
    assert "- 3 of 7 features are constant" in words
    assert "- Barlow Twins: eigenvalue 3 has 2 copies" in words
    assert "0.68825" in words
    assert "written to runs/x" in words
    assert "figures/: loss.png" in words


def test_a_ridge_is_told_in_header_table_price_and_captions(
    payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    from spectral_ssl.report.panels import setting_caption

    assert "ridge" not in flat(shown(payload))
    payload["rows"] = [row | {"ridge": 5.0} for row in payload["rows"][:2]]
    words = flat(shown(payload, width=140))
    assert "K = 3 · linear maps of the data, ridge 5 " in words
    assert "losses include the ridge" in words
    assert "and over linear maps with their ridge: what the penalty adds is part of the price" in words
    (group,) = panels(payload, arrays)
    assert setting_caption(payload, group).endswith("linear maps of the data, ridge 5")


def test_scores_of_regression_are_called_by_their_name(payload: dict[str, Any]) -> None:
    assert "R²" not in shown(payload, width=140)
    payload["data"] |= {"has_labels": True, "n_classes": None}
    text = shown(payload, width=140)
    assert "probe R²" in text
    assert "kNN R²" in text
    assert "linear probe on raw features R² 0.953, kNN on raw features R² 0.980" in flat(text)
    assert "rank, probe R² and kNN R²: closed form/trained" in flat(text)
    payload["data"] |= {"has_labels": False}
    assert "R²" not in shown(payload, width=140)


def test_a_certified_optimum_is_told_with_its_bound_and_judged_by_it_alone() -> None:
    inside = make_row("barlow_twins", kind="certified", lower_bound=2.0, loss_trained=2.125, relative_excess=-0.07)
    assert tables.verdict([inside]) == [
        "certified, the optimum lies between a proven bound and the number given: Barlow Twins 2 to 2.125"
    ]
    below = make_row("barlow_twins", kind="certified", lower_bound=2.0, loss_trained=1.9, relative_excess=-0.2)
    (_, alarm) = tables.verdict([below])
    assert alarm == "trained BELOW its proven bound, which cannot be, please report it: Barlow Twins"
    words = flat(shown({"command": "compare", "rows": [inside]}, width=140))
    assert "4e-8*" in words  # its angle is not judged, and said so
    assert "or the optimum certified only" in words


def test_a_network_is_told_beside_its_references_and_judged_by_none(
    payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    watched(payload, arrays)
    payload["recipe"] = ["encoder mlp(width=8, depth=1)", "trained by adam", "2 seeds"]
    text = shown(payload, width=160)
    heads = [title for title in re.split(r"  +", next(line for line in text.splitlines() if "excess" in line)) if title]
    for title in ("all embeddings", "kernel maps", "linear maps", "trained", "over seeds"):
        assert any(title in head for head in heads)
    assert cells(text, "VICReg ")[2:9] == ["0.184", "2.25", "2.4", "3", "2.5", "0.14", "0.14"]
    words = flat(text)
    assert "encoder mlp(width=8, depth=1), trained by adam, 2 seeds" in words
    assert "above the least loss over all embeddings, as a share of the way to collapse: VICReg 0.14" in words
    assert "above the least loss over kernel maps: VICReg" in words
    assert "below the least loss over linear maps: VICReg" in words
    assert "trained to" not in words
    assert "4e-8*" in words  # its angle to the free optimum is shown, and not judged


def test_the_columns_of_networks_and_seeds_are_absent_elsewhere(payload: dict[str, Any]) -> None:
    text = flat(shown(payload, width=160))
    assert "loss closed trained excess angle" in text
    for word in ("over seeds", "kernel maps", "all embeddings trained"):
        assert word not in text.split("what linear maps cost")[0]


def test_rows_that_share_a_name_are_told_apart_in_sentences() -> None:
    rows = [make_row("infonce", kind="bound", hyper={"temperature": tau}, note=f"at {tau}") for tau in (0.5, 0.1)]
    rows += [make_row("vicreg", relation="labels", kind="bound"), make_row("vicreg", kind="bound")]
    (told,) = tables.verdict(rows)
    knn = "knn(n_neighbors=5)"
    assert told.endswith(f"InfoNCE, τ = 0.5 ({knn}), InfoNCE, τ = 0.1 ({knn}) and VICReg (labels, {knn})")
    assert "- InfoNCE, τ = 0.1 (knn(n_neighbors=5)): at 0.1" in flat(shown({"command": "compare", "rows": rows}, 160))


def test_minibatch_training_is_told_by_how_far_it_ends_above_the_closed_form() -> None:
    row = make_row("vicreg", training={"batch_size": 64}, relative_excess=0.026, converged=False)
    assert tables.verdict([row]) == [
        "trained on batches, above the closed form as a share of the way to collapse: VICReg 0.026"
    ]
    below = make_row("vicreg", training={"batch_size": 64}, relative_excess=-1e-3)
    assert "BELOW" in tables.verdict([below])[1]


def test_the_verdict_is_in_words() -> None:
    rows = [
        make_row("vicreg", relative_excess=3e-14, max_angle=2e-7),
        make_row("barlow_twins", relative_excess=-1e-16, max_angle=0.5, gap=1e-5),
        make_row("infonce", kind="bound", relative_excess=0.5, max_angle=None),
    ]
    assert tables.verdict(rows) == [
        "2 of 2 exact methods trained to their closed form: largest relative excess 3e-14, "
        "largest angle 2e-7 rad where the gap is open",
        "trained only, no closed form (excess is over a lower bound): InfoNCE",
    ]
    rows = [
        make_row("vicreg", relative_excess=0.02, max_angle=0.1, converged=False),
        make_row("vicreg", relative_excess=-1e-3, relation="labels", max_angle=None, rank_closed=0),
    ]
    assert tables.verdict(rows) == [
        "0 of 2 exact runs trained to their closed form: largest relative excess 0.02, "
        "largest angle 0.1 rad where the gap is open",
        "ended above the closed form: VICReg (knn(n_neighbors=5))",
        "angle above 1e-5 although the gap is open: VICReg (knn(n_neighbors=5))",
        "trained BELOW the closed form, which cannot be, please report it: VICReg (labels)",
        "stopped before convergence: VICReg (knn(n_neighbors=5))",
        "collapsed, the optimum is Z = 0: VICReg (labels)",
    ]
    assert tables.verdict([]) == []


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_tables_fit_the_terminal_and_keep_the_verdict(width: int, payload: dict[str, Any]) -> None:
    text = shown(payload, width)
    assert max(map(len, text.splitlines())) <= width
    words = flat(text)
    assert "2 of 2 exact methods trained to their closed form" in words
    assert "VICReg" in words
    if width < 100:
        assert "γ 0.184" in words  # the settings column went, what it said did not
    assert cells(text, "Barlow Twins ")[-1 if width == 40 else -2 :]  # one line per method: no cell is broken


def test_a_stream_that_is_no_terminal_gets_plain_words(payload: dict[str, Any]) -> None:
    assert "\x1b" not in shown(payload)
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")  # an error on the first Greek letter
    tables.render(payload, Console(file=stream, width=100))
    stream.flush()
    text = buffer.getvalue().decode("ascii")
    assert "gamma 0.184" in text
    assert "?" not in text


def test_text_of_the_user_is_shown_as_it_is(payload: dict[str, Any]) -> None:
    payload["notes"] = ["[bold]not markup[/bold] [/]"]
    payload["rows"][0]["note"] = "[red]"
    text = shown(payload)
    assert "- [bold]not markup[/bold] [/]" in text
    assert "- VICReg: [red]" in text


def test_values_from_memory_read_like_those_from_the_record(payload: dict[str, Any]) -> None:
    direct = {**payload, "rows": [{**row, "effective_rank": np.float64(2.5)} for row in payload["rows"]]}
    direct["rows"][0] |= {"rank_closed": np.int64(3), "max_angle": np.float64(4e-8), "gap": float("nan")}
    line = cells(shown(direct, 140), "VICReg ")
    assert line[:8] == ["exact", "γ", "0.184", "2.25", "2.25", "2e-9", "4e-8", "-"]


def test_rows_without_numbers_are_dashes() -> None:
    empty = {"command": "compare", "rows": [{"method": "vicreg"}, {"method": "mine", "loss_closed": None}]}
    text = shown(empty)
    assert cells(text, "VICReg ") == ["-", "-"]  # columns that nobody fills are not shown
    assert "trained to" not in text
    assert "nothing was compared" in shown({"command": "compare", "rows": []})


def test_methods_that_differ_in_a_setting_are_told_apart(payload: dict[str, Any]) -> None:
    payload["rows"] = [make_row("vicreg", hyper={"invariance": g}) for g in (0.5, 2.0)]
    text = shown(payload)
    assert "VICReg, γ = 0.5" in text
    assert "VICReg, γ = 2" in text


def test_demo_prints_each_relation_and_the_corruption_table(payload: dict[str, Any]) -> None:
    demo = {key: value for key, value in payload.items() if key != "relation"} | {
        "command": "demo",
        "relations": [RELATION, {**RELATION, "name": "labels", "text": "labels", "findings": ["10 components"]}],
        "rows": [*payload["rows"], make_row("vicreg", relation="labels")],
        "teaser": {
            "relation": "labels",
            "chance": 0.1,
            "rows": [
                {"n_components": size, "rate": rate, "method": "vicreg(invariance=1.1)", "probe": 0.9 - rate / size}
                for size in (8, 64)
                for rate in (0.0, 0.4)
            ],
        },
    }
    text = shown(demo)
    assert text.index("relation knn(n_neighbors=5)") < text.index("relation labels · K = 3")
    assert "- 10 components" in text
    assert cells(text, "64  VICReg, γ 1.1 ") == ["0.900", "0.894"]
    assert cells(text, " 8  VICReg, γ 1.1 ") == ["0.900", "0.850"]
    assert "chance 0.100" in text


def test_explain_prints_the_plan() -> None:
    plan = {
        "method": "vicreg",
        "model": "linear",
        "pencil": "laplacian",
        "solver": "dense generalised eigh, 7 x 7",
        "closed_form": True,
        "kind": "exact",
        "memory_mb": 12.4,
        "seconds_estimate": 0.25,
        "note": "a note",
    }
    other = plan | {
        "method": "infonce",
        "closed_form": False,
        "pencil": None,
        "memory_mb": 2500,
        "seconds_estimate": 2.5,
    }
    payload = {"command": "explain", "data": {"name": "toy"}, "relation": RELATION, "plan": [plan, other]}
    text = shown(payload | {"findings": RELATION["findings"]})
    line = " ".join(cells(text, "VICReg "))
    assert line == "linear yes exact laplacian dense generalised eigh, 7 x 7 12 MB 0.2 s"
    assert cells(text, "InfoNCE ")[:4] == ["linear", "no", "exact", "-"]
    assert "compare would take about 2.8 s and up to 2.4 GB" in text
    assert text.count("degrees differ") == 1
    assert "a note" in text


def test_audit_prints_losses_beside_what_is_attainable() -> None:
    row = {
        "method": "vicreg",
        "loss": 409.126,
        "attainable": 2.5279,
        "attainable_linear_head": 4.96476,
        "excess": 406.598,
        "relative_excess": 164.47,
        "kind": "exact",
        "note": "",
        "hyper": {"invariance": 3.01},
    }
    near = row | {"method": "barlow_twins", "relative_excess": 0.25, "attainable_linear_head": None}
    summary = {"n_samples": 1797, "n_components": 5, "rank": 4, "effective_rank": 3.456, "collapsed": False}
    text = shown({"command": "audit", "rows": [row, near], "summary": summary, "notes": ["be careful"]})
    assert cells(text, "VICReg ") == ["exact", "γ", "3.01", "409.126", "2.5279", "4.96476", "406.6", "164"]
    assert "1,797 samples, 5 components, rank 4, effective rank 3.46" in text
    assert "closest to the optimum of Barlow Twins: 0.25 of the way to collapse" in text
    assert "- be careful" in text


def test_audit_crowns_no_method_at_collapse() -> None:
    row = {"method": "vicreg", "loss": 3.0, "attainable": 2.0, "kind": "exact", "hyper": {}, "note": ""}
    for best, words in ((0.999, "closest to the optimum of VICReg: 0.999"), (1.0, "at or beyond collapse for every")):
        rows = [row | {"relative_excess": best}, row | {"method": "barlow_twins", "relative_excess": 7.5}]
        text = shown({"command": "audit", "rows": rows, "summary": {}})
        assert words in text
        assert ("closest" in text) == (best < 1)


def test_audit_shows_how_far_a_proof_reaches_where_there_is_no_closed_form() -> None:
    row = {
        "method": "infonce", "loss": 900.0, "attainable": 800.0, "excess": 100.0, "relative_excess": 0.4,
        "kind": "certified", "lower_bound": 799.5, "gap": 100.5, "hyper": {"temperature": 0.5}, "note": "",
    }  # fmt: skip
    text = shown({"command": "audit", "rows": [row], "summary": {}}, width=140)
    assert "proven within" in text
    assert cells(text, "InfoNCE ")[-1] == "100.5"
    exact = row | {"kind": "exact", "gap": 100.0}
    assert "proven within" not in shown({"command": "audit", "rows": [exact], "summary": {}}, width=140)


def test_runs_are_listed_and_shown_with_their_result(
    tmp_path: Path, payload: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    save_run(tmp_path / "first", payload, arrays)
    text = shown(runs_list(root=tmp_path))
    assert re.search(r"^first +done +\d{4}-\d\d-\d\d \d\d:\d\d +[\d.e-]+ +0 +1$", text, re.MULTILINE)
    text = shown(runs_show("first", root=tmp_path))
    assert re.search(r"^command +compare *$", text, re.MULTILINE)
    assert "2 of 2 exact methods trained to their closed form" in flat(text)
    assert "none" in shown({"tables": {"nothing": []}})


def test_payloads_of_no_known_kind_are_printed_in_full() -> None:
    text = shown({"answer": 42, "deep": {"a_b": 1e-9}, "rows": [{"x": 1.5, "y": None}], "words": ["one", [2, 3]]})
    for part in ("answer: 42", "a b: 1e-9", "1.5  -", "- one", "- 2, 3"):
        assert part in text


# -------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (float("-inf"), "-inf"),
        (True, "yes"),
        (1797, "1,797"),
        (0.0, "0"),
        (17076.69857633846, "17,076.7"),
        (999999.7, "1,000,000"),
        (-6.677104642518126, "-6.6771"),
        (0.9533333, "0.953333"),
        (2.1e-26, "2.1e-26"),
        (-5e-5, "-5e-5"),
        (3.2e8, "3.2e8"),
        ("text", "text"),
    ],
)
def test_numbers_are_written_for_people(value: Any, text: str) -> None:
    assert number(value) == text


def test_methods_are_named_by_what_sets_them_apart() -> None:
    assert label({"method": "vicreg", "hyper": {"weighting": "degree"}}) == "VICReg (degree)"
    assert label({"method": "barlow_twins", "hyper": {"normalized": False}}) == "Barlow Twins (unnormalised)"
    assert label({"method": "barlow_twins(normalized=False)"}) == "Barlow Twins (unnormalised)"
    assert label({"method": "of_mine"}) == "of_mine"
    assert short_hyper({"hyper": {"variance": 1.0, "invariance": 0.18368, "form": "squared"}}) == "γ 0.184"
    assert short_hyper({"hyper": {"variance": 2.0, "weighting": "degree", "extra": None}}) == "α 2"
    rows = [{"method": "vicreg", "hyper": {"invariance": g, "variance": 1.0}} for g in (1.0, 3.0)]
    assert distinct_labels(rows) == ["VICReg, γ = 1", "VICReg, γ = 3"]
