"""`demo`: the whole story on the bundled digits, offline, in under a minute."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

from spectral_ssl.comparison import linear_probe_score
from spectral_ssl.data import load_dataset
from spectral_ssl.errors import SpectralWarning
from spectral_ssl.experiments.compare import (
    ALL_METHODS,
    add_row,
    finish,
    price_of_linearity,
    reference_scores,
)
from spectral_ssl.experiments.rows import make_row, method_name, parse_methods
from spectral_ssl.experiments.setting import Setting, data_summary, make_setting
from spectral_ssl.methods import VICReg
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.relations import corrupt
from spectral_ssl.runs import RunDirectory
from spectral_ssl.solve import optimum
from spectral_ssl.spectrum import Spectra

__all__ = ["corruption_rows", "demo"]

RELATIONS_SHOWN = ("labels", "knn", "views")
METHODS_SHOWN = f"{ALL_METHODS}, barlow_twins(normalized=False), infonce"
TEASER_METHODS = "vicreg, vicreg(invariance=1.1), frobenius_simclr, spectral_contrastive, barlow_twins"
TEASER_RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
TEASER_DIMENSIONS = (64, 8)
INFONCE_ORIGINALS = 400


def demo(*, seed: int = 0, out: Path | None = None, progress: Progress = SILENT) -> dict[str, Any]:
    """Digits with three relations: every method in closed form against trained, and what misaligned pairs do to each.

    Args:
        seed: Seed of the split, the views, the corruption and the training.
        out: The run directory; left out, a new one under runs/.
    """
    dataset = load_dataset("digits")
    chosen = parse_methods(METHODS_SHOWN)
    K = 8
    with RunDirectory.create(out, "demo", {"seed": seed, "out": out}, seed) as run:
        payload: dict[str, Any] = {
            "command": "demo",
            "methods": METHODS_SHOWN,
            "n_components": K,
            "relations": [],
            "rows": [],
            "price_of_linearity": [],
            "notes": [],
        }
        arrays: dict[str, Any] = {}
        with progress.task("demo", total=len(RELATIONS_SHOWN) * len(chosen) + 1) as task:
            for relation in RELATIONS_SHOWN:
                setting = make_setting(dataset, relation, seed=seed)
                if "data" not in payload:
                    payload["data"] = data_summary(setting, dataset)
                    payload["reference"] = reference_scores(setting)
                payload["relations"].append(setting.summary())
                payload["notes"] += setting.notes
                spectra = Spectra(setting.graph, X=setting.data.X)
                first = len(payload["rows"])
                for method in chosen:
                    row = make_row(method, setting, K, spectra=spectra, seed=seed, infonce_originals=INFONCE_ORIGINALS)
                    add_row(payload, arrays, row)
                    task.advance(text=f"{relation}, {row['method']}")
                payload["price_of_linearity"] += price_of_linearity(chosen, payload["rows"][first:], setting, K)
                run.save_arrays("arrays", **arrays)
                run.write(payload)
            payload["teaser"] = {
                "relation": "labels",
                "rows": corruption_rows(
                    make_setting(dataset, "labels", seed=seed), TEASER_METHODS, TEASER_DIMENSIONS, TEASER_RATES, seed
                ),
                "probe_raw": payload["reference"]["probe_raw"],
                "chance": payload["reference"]["majority"],
            }
            task.advance(text="aligned against corrupted")
        payload["notes"] += dataset.describe()
        payload["versions"] = run.record["versions"]
        payload["run"] = str(run.path)
        finish(run, payload, figures=True)
    return payload


def corruption_rows(
    setting: Setting,
    methods: str,
    dimensions: tuple[int, ...],
    rates: tuple[float, ...],
    seed: int,
    how: Literal["rewire", "wrong_class"] = "rewire",
) -> list[dict[str, Any]]:
    """Held-out probe accuracy of every closed form while a growing share of the relation is led astray.

    Closed forms only: at every rate one relation, its moments, and one factorisation per pencil serve all methods and
    dimensions. K above the rank of the data is allowed on purpose: there small invariance keeps what misaligned pairs
    would throw away.
    """
    test = setting.probe_test
    assert test is not None
    rows = []
    for rate in rates:
        graph = corrupt(setting.graph, rate, how=how, y=setting.data.y, seed=seed)
        spectra = Spectra(graph, X=setting.data.X)
        for method in parse_methods(methods):
            for K in dimensions:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SpectralWarning)  # K > rank is the point here
                    best = optimum(method, spectra, K)
                embedding = best.embedding
                rows.append(
                    {
                        "n_components": K,
                        "rate": rate,
                        "method": label_of(method),
                        "probe": linear_probe_score(
                            *(embedding.transform(setting.probe_train.X), setting.probe_train.y),
                            *(embedding.transform(test.X), test.y),
                            classification=True,
                        ),
                        "rank": best.rank,
                        "loss": best.loss,
                        "invariance": best.method.hyper.get("invariance"),
                    }
                )
    return rows


def label_of(method: Any) -> str:
    """The name in a legend: VICReg tells its invariance where it was set."""
    if isinstance(method, VICReg) and method.invariance is not None:
        return f"vicreg(invariance={method.invariance:g})"
    return method_name(method)
