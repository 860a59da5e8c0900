"""`demo`: the whole story on the bundled digits, offline, in under a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spectral_ssl.data import load_dataset
from spectral_ssl.experiments.compare import (
    ALL_METHODS,
    add_row,
    finish,
    price_of_linearity,
    reference_scores,
)
from spectral_ssl.experiments.misalignment import corruption_rows
from spectral_ssl.experiments.rows import make_row, parse_methods
from spectral_ssl.experiments.setting import data_summary, make_setting
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.runs import RunDirectory
from spectral_ssl.spectrum import Spectra

__all__ = ["demo"]

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
