"""`audit`: any representation and a relation. Which closed form is it like, and how far from what each could attain?"""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from spectral_ssl.comparison import effective_rank, exact_rank
from spectral_ssl.data import Dataset, read_array
from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import DataError, NotClosedForm, NumericalError, ResourceError, SpectralWarning
from spectral_ssl.experiments.audit_parts import (
    against_optimum,
    collapse_record,
    filter_record,
    label_record,
    sphere_record,
)
from spectral_ssl.experiments.audit_words import audit_findings
from spectral_ssl.experiments.compare import ALL_METHODS, finish
from spectral_ssl.experiments.proofs import Proof, best_bound, certificate_of, solve_free
from spectral_ssl.experiments.rows import method_name, parse_methods, relative_excess
from spectral_ssl.experiments.setting import check_spread, load_data, make_setting
from spectral_ssl.graph import Graph
from spectral_ssl.methods import Method
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.runs import RunDirectory
from spectral_ssl.solve import optimum
from spectral_ssl.spectrum import Spectra
from spectral_ssl.theory.criteria import duality

__all__ = ["audit", "audit_row"]

NEEDS_NO_ROWS = ("labels", "pairs", "sequence", "views", "coupled")  # relations that do not compare the rows they join
AGAINST = (
    "max_angle", "angles", "spectral_gap", "energy_in_range", "procrustes", "linear_cka", "singular_attainable",
)  # fmt: skip
LINEAR_MAX = 1500  # features: three dense pencils of that size are some 5 s
COLLAPSED = 1.5  # effective rank below this, for K >= 2, is called collapse


def audit(
    representation: Path,
    *,
    data: str | None = None,
    labels: Path | None = None,
    relation: str = "knn",
    pairs: Path | None = None,
    methods: str = ALL_METHODS,
    standardize: bool = False,
    figures: bool = True,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """What a representation Z is, from whatever model: the filter it resembles, and how far it is from each optimum.

    Its energy along the eigenvectors of the relation is fitted by the filter of every closed form. Then collapse,
    alignment and uniformity, what a probe reads off it, and each method's loss at Z beside the least any embedding of
    that size attains: "linear head" is the least loss reachable from Z by a K x K linear map, which separates scale and
    rotation from lost information. Any Z certifies InfoNCE: its rows say how far Z can be from the least loss, by the
    best proof at hand. The relation is built on the data where given, else on Z itself.

    Args:
        representation: An npy, npz or csv file of Z, one row per sample.
        data: The samples Z was made from: a data set by name or a file; needed by most relations.
        labels: A file of labels, one per row.
        relation: The positive pairs, as for compare.
        pairs: A csv or npz file of pairs i, j[, weight], for --relation pairs.
        methods: Methods by name, as for compare.
        standardize: Bring every feature of the data to mean 0 and variance 1 before relating.
        figures: Draw figures into the run directory.
        out: The run directory; left out, a new one under runs/.
    """
    chosen = parse_methods(methods)
    Z = Dataset(name=Path(representation).stem, X=read_array(representation))
    if relation.startswith("views") and (data is None or load_data(data).source is None):
        raise DataError(
            "the relation 'views' would augment the data, but Z has rows for the data as they are; give data with a "
            "source column, or a pair list with --relation pairs --pairs FILE"
        )
    base = Z if data is None else load_data(data, labels)
    if data is None and labels is not None:
        from spectral_ssl.data import read_labels

        base = replace(base, y=read_labels(labels))
    if base.n_samples != Z.n_samples:
        raise DataError(
            f"the representation has {Z.n_samples} rows, the data {base.n_samples}; they must match row by row"
        )
    if Z.n_features > Z.n_samples - 1:
        raise DataError(
            f"the representation has {Z.n_features} columns for {Z.n_samples} rows, and its optima have at most "
            f"{Z.n_samples - 1}, the rows less one; give more rows, or its first principal components"
        )
    check_spread(Z)
    setting = make_setting(base, relation, pairs=pairs, standardize=standardize, test_size=0.0)
    graph, K = setting.graph, Z.n_features
    config = {
        "representation": str(representation),
        "data": data,
        "labels": labels,
        "relation": relation,
        "pairs": pairs,
        "methods": methods,
        "standardize": standardize,
        "figures": figures,
    }
    effective = effective_rank(Z.X - Z.X.mean(axis=0))
    payload: dict[str, Any] = {
        "command": "audit",
        "relation": setting.summary(),
        "summary": {
            "n_samples": Z.n_samples,
            "n_components": K,
            "rank": exact_rank(Z.X),
            "effective_rank": effective,
            "collapsed": bool(K >= 2 and effective < COLLAPSED),
            "duality": asdict(duality(Z.X)),
        },
        "data": {"name": Z.name, "n_samples": Z.n_samples},
        "rows": [],
        "notes": list(setting.notes),
    }
    if payload["summary"]["collapsed"]:
        payload["notes"].append(f"Z is close to collapse: effective rank {effective:.2f} of {K} components")
    if data is None and setting.relation.split("(")[0] not in NEEDS_NO_ROWS:
        payload["notes"].append("no data: the relation joins neighbours in Z, which Z then resembles the more")
    with RunDirectory.create(out, "audit", config) as run:
        free, head = Spectra(graph), Spectra(graph, X=Z.X)
        with progress.task("audit", total=len(chosen) + 1) as task:
            _describe(payload, Z, base if data is None else setting.data, free, linear=data is not None)
            run.write(payload)
            task.advance(text="filters")
            for method in chosen:
                try:
                    payload["rows"].append(audit_row(method, Z, graph, free, head))
                except (ResourceError, DataError) as error:  # one method must not cost the others their rows
                    payload["notes"].append(f"{method_name(method)} left out: {error}")
                run.write(payload)
                task.advance(text=method_name(method))
        payload["findings"] = audit_findings(payload)
        payload["versions"] = run.record["versions"]
        payload["run"] = str(run.path)
        finish(run, payload, figures)
    return payload


def _describe(payload: dict[str, Any], Z: Dataset, base: Dataset, free: Spectra, linear: bool) -> None:
    """What there is to say about Z before any loss. linear: base has rows that Z may be a linear map of."""
    if wide := linear and base.n_features > LINEAR_MAX:
        payload["notes"].append(
            f"{base.n_features:,} features: filters over linear maps are fitted up to {LINEAR_MAX:,} only"
        )
    try:
        payload["filters"] = filter_record(Z.X, free, base.X if linear and not wide else None)
    except (ResourceError, NumericalError) as error:
        payload["notes"].append(f"filters left out: {error}")
    else:
        if undecided := payload["filters"]["undecided"]:
            payload["notes"].append(f"{undecided}, so that the directions of an optimum there, and the fits, are open")
    payload["collapse"] = collapse_record(Z.X)
    assert free.graph is not None
    payload["sphere"] = sphere_record(Z.X, free.graph)
    payload["labels"], told = label_record(Z.X, base, free)
    payload["notes"] += [told] if told else []


def audit_row(method: Method, Z: Dataset, graph: Graph, free: Spectra, head: Spectra) -> dict[str, Any]:
    """One method: loss at Z, least over all embeddings, least over linear heads of Z, at the same hyper-parameters.

    Where the minimum is over |Z|^2 <= radius (InfoNCE of dot products, alpha-CL), a longer Z is judged at that length.
    What convexity proves from Z itself is told for InfoNCE at every size, and the row is judged by the best proof at
    hand.
    """
    K = Z.n_features
    best, lower, notes = _attainable(method, Z, graph, free, head)
    method = best.method if best is not None else method
    if best is None and None in method.hyper.values():
        method = method.resolve(free.of(method.pencil, K), K)
    X, told = _admissible(method, Z.X)
    notes += told
    loss = float(method.loss(X, graph))
    bound = best_bound(method, graph, K, free=best)
    certificate = certificate_of(method, X, graph)
    if certificate is not None and certificate.lower_bound > bound.value:
        bound = Proof(certificate.lower_bound, "the certificate of Z itself")
    attainable = best.loss if best is not None else bound.value
    known = math.isfinite(attainable)
    collapse = method.collapse_loss(graph, K)
    if bound.known and (best is None or best.kind != "exact"):
        share = relative_excess(loss, bound.value, collapse)
        notes.append(
            f"proven: Z is at most {loss - bound.value:,.4g} above the least loss of any embedding of its size, "
            f"{share:.2g} of the way to collapse, by {bound.words}"
        )
    return {
        "method": method_name(method),
        "hyper": method.hyper,
        "loss": loss,
        "attainable": attainable if known else None,
        "attainable_linear_head": lower.loss if lower is not None else None,
        "loss_collapse": collapse,
        "excess": loss - attainable if known else None,
        "relative_excess": relative_excess(loss, attainable, collapse) if known else None,
        "relative_excess_linear_head": relative_excess(lower.loss, attainable, collapse)
        if lower is not None and known
        else None,
        "terms": {k: float(v) for k, v in method.loss_terms(X, graph).items()},
        "kind": best.kind if best is not None else "bound",
        "lower_bound": bound.value if bound.known else None,
        "gap": loss - bound.value if bound.known else None,
        "bound_from": bound.words if bound.known else None,
        "certificate": None
        if certificate is None
        else {
            "value": certificate.value,
            "lower_bound": certificate.lower_bound,
            "gap": certificate.gap,
            "statement": certificate.statement,
        },
        "rank_attainable": best.rank if best is not None else None,
        **(against_optimum(method, Z.X, best, graph) if best is not None else dict.fromkeys(AGAINST)),
        "note": "; ".join(notes),
    }


def _attainable(
    method: Method, Z: Dataset, graph: Graph, free: Spectra, head: Spectra
) -> tuple[Optimum | None, Optimum | None, list[str]]:
    """The optimum over all embeddings, that over linear heads of Z, and what there is to say where one is missing."""
    K, best, lower, notes = Z.n_features, None, None, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SpectralWarning)
        try:
            best = solve_free(method, free, K)
        except (NotClosedForm, NumericalError) as error:
            notes.append(str(error))
        if best is not None and not method.pairwise:  # a head of dot products has a ball of its own
            try:
                lower = optimum(best.method, head, K)
            except (NumericalError, DataError):  # a Z of low rank; others have no closed form there, and say nothing
                notes.append(f"no linear head: Z has rank {exact_rank(Z.X - Z.X.mean(axis=0))} of {K} columns")
            except NotClosedForm:
                pass
    return best, lower, [*notes, *dict.fromkeys(str(w.message) for w in caught)]


def _admissible(method: Method, Z: Array) -> tuple[Array, list[str]]:
    """Z where the method's minimum is taken over, and what was done to bring it there."""
    size = float((Z**2).sum())
    if method.ball is None or size <= method.ball:
        return Z, []
    factor = math.sqrt(method.ball / size)
    return factor * Z, [
        f"|Z|^2 = {size:.6g} exceeds radius={method.ball:g}: Z was judged at {factor:.3g} of its length"
    ]
