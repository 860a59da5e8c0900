"""`alpha`: contrastive learning as pair importance and PCA, rule by rule; alpha frozen, and alpha moving with W."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg, spec
from spectral_ssl.alpha_cl import (
    AlphaRule,
    Contrast,
    Nce,
    PairLoss,
    ascend_live,
    contrastive_covariance,
    disordered_share,
    effective_negatives,
    entropy_form,
    live_optimum,
    parse_rules,
)
from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.errors import DataError, NotClosedForm
from spectral_ssl.experiments.frame import check_list, experiment, reach, times
from spectral_ssl.experiments.probes import probe_scores
from spectral_ssl.experiments.setting import Setting, load_data, make_setting, subsample
from spectral_ssl.progress import SILENT, Progress

__all__ = ["alpha"]

RULES_SHOWN = "infonce(eps=0), infonce, r_gamma(temperature=1e-5), r_s, direct, triplet, uniform"
TEMPERATURES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
WIDTH = 16  # columns of W, unless said or the data have fewer directions
LEVEL = 1e-3  # eigenvalues of C this near the largest, of the largest, are level with it
STILL = 1e-5  # residual at which gradient ascent ends
COUNTED = 1e-4  # directions with less of |W|^2 are not counted: of the order of that residual
DRAWN_PAIRS = 500  # of a rule, in the figure of alpha against distance
DRAWN_VALUES = 24  # eigenvalues that a row keeps
INSIDE = 1e-6  # share of the radius that |W|_F^2 is below it, from which W is inside the ball
UNIFORM = 0.995  # share of the negatives that counts, above which alpha is called uniform


def alpha(
    *,
    data: str = "digits",
    labels: Path | None = None,
    relation: str = "views",
    pairs: Path | None = None,
    rules: str = RULES_SHOWN,
    n_components: int | None = None,
    n_originals: int = 100,
    anchors: Literal["two", "one"] = "two",
    half_squared: bool = True,
    radius: float | None = None,
    temperatures: Sequence[float] = TEMPERATURES,
    transforms: str | None = None,
    standardize: bool = False,
    test_size: float = 0.25,
    max_iter: int = 500,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Contrastive learning of a linear layer as alpha-CL: pair importance alpha, and PCA of its covariance C_alpha.

    With alpha frozen at the start the best W with |W|_F^2 = radius is the first eigenvector of C_alpha: rank 1. Then W
    is trained with alpha moving along, and judged against PCA of the C_alpha it ends with: the energy it captures, the
    angle of its directions to the top eigenspace, how many eigenvalues alpha has levelled, and, for convex losses, a
    certificate of how far from its least the loss can be.

    Args:
        data: A data set by name, or a file.
        labels: A file of labels, one per row of the data.
        relation: Positive pairs that join every row with exactly one other: views, or pairs of a list, say.
        pairs: A csv or npz file of pairs i, j, for --relation pairs.
        rules: How alpha is set, as in "infonce(temperature=0.3, eps=0), direct(p=4)": infonce, mine, triplet,
            soft_triplet, tuplet, lifted_structured, modified_triplet, linear, r_h, r_gamma, r_s, direct, uniform.
        n_components: Columns of W, and of the PCA beside it; left out, 16, or as many as the data have features.
        n_originals: All rows are contrasted with all others, so at most this many originals train W (0: all).
        anchors: Whose negatives count: rows of both views, against all other rows (two), or those of the first view,
            against the others of it (one).
        half_squared: d^2 = |z - z'|^2 / 2, as 1 - cos on the sphere; without the half a temperature means twice as
            much.
        radius: Of |W|_F^2; left out, what gives the data's first principal direction variance 1, so that d^2 is 1 on
            average and temperatures mean what they mean for cosines.
        temperatures: Where the rank of the first rule that is certified and has a temperature is followed, as in
            0.1,0.5,2; "" for nowhere.
        transforms: How views are made, as in "shift(pixels=1), noise(scale=0.2)".
        standardize: Bring every feature to mean 0 and variance 1 first.
        test_size: Share of the originals held out for the probes.
        max_iter: Steps of gradient ascent.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Seed of the split, the views, the subsample and the start of W.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    chosen = parse_rules(rules)
    names = [spec.format_call(*call) for call in spec.parse_calls(rules)]
    values = check_list(temperatures, "temperatures", 0.0, strict=True) if temperatures else []
    for name, number, low in (("n_originals", n_originals, 0), ("max_iter", max_iter, 1)):
        if number < low:
            raise DataError(f"{name} must be at least {low}, got {number}")
    if n_originals == 1:
        raise DataError("n_originals must be 0, for all, or at least 2: one has no other to be contrasted with; got 1")
    if radius is not None and not 0 < radius < math.inf:
        raise DataError(f"radius, the bound of |W|_F^2, must be a positive number, got {radius!r}")
    dataset = load_data(data, labels)
    whole = make_setting(
        dataset, relation, pairs=pairs, transforms=transforms, standardize=standardize, test_size=test_size, seed=seed
    )
    setting = subsample(whole, n_originals, seed) if whole.rebuild else _paired(whole, n_originals, seed)
    work = _work(
        setting, whole if whole.rebuild else setting, anchors, half_squared, radius, n_components, max_iter, seed
    )
    swept = next((k for k, rule in enumerate(chosen) if _certified(rule) and hasattr(rule, "temperature")), None)
    if swept is None:
        if values and tuple(temperatures) != TEMPERATURES:
            raise DataError(
                f"temperatures are of the first rule that is certified and has one, and none of {rules!r} is; leave "
                "--temperatures out, or add infonce to --rules"
            )
        values = []
    with experiment(
        "",
        config,
        question="What does a contrastive rule make of a linear layer, and is it PCA?",
        zero_line="PCA of C_alpha at the trained alpha; of a convex loss, its certified minimum",
        steps=len(chosen) + len(values),
        progress=progress,
        setting=whole,
        original=dataset,
        notes=() if setting is whole else setting.notes,
        command="alpha",
    ) as report:
        report.payload |= {
            "relation": setting.summary(),
            "setting": f"{setting.data.n_samples // 2} originals trained on, {work.contrast.n_anchors} anchors, "
            f"{work.contrast.n_negatives} negatives each, |W|_F² = {work.radius:.3g}, K = {work.K}",
            "n_negatives": work.contrast.n_negatives,
            "sweep": [],
        }
        said: list[str] = []
        for place, (rule, name) in enumerate(zip(chosen, names, strict=True)):
            row, arrays, notes, of_probes = _row(rule, name, work)
            row["slug"] = f"{place + 1}-{name.split('(')[0]}"
            report.add(row, **arrays)
            said += [f"{name}: {note}" for note in notes]
            report.task.advance()
        for value in values:
            assert swept is not None
            cooled: Any = replace(chosen[swept], temperature=value)  # type: ignore[type-var]
            report.payload["sweep"].append(_swept(cooled, names[swept], work))
            report.task.advance()
        report.payload["notes"] += [*said, *([of_probes] if of_probes else [])]
        report.payload["answer"] = _answer(report.payload["rows"], report.payload["sweep"])
    return report.payload


# ------------------------------------------------------------------------------------------------------------ one layer


@dataclass(frozen=True, eq=False)
class _Work:
    """What all rules share: rows X (2N, D), who is contrasted with whom, the ball, the start W (D, K), the probes."""

    X: Array
    contrast: Contrast
    radius: float
    K: int
    start: Array
    max_iter: int
    probes: Setting

    @property
    def h(self) -> float:
        return 0.5 if self.contrast.half_squared else 1.0


def _work(
    setting: Setting,
    whole: Setting,
    anchors: Literal["two", "one"],
    half_squared: bool,
    radius: float | None,
    n_components: int | None,
    max_iter: int,
    seed: int,
) -> _Work:
    contrast = Contrast.of_graph(setting.graph, views=anchors, half_squared=half_squared)
    X = np.array(setting.data.X, dtype=np.float64)
    D = X.shape[1]
    if not np.ptp(X, axis=0).any():
        raise DataError("all rows of the data are equal: there is nothing to contrast")
    K = min(WIDTH, linalg.rank(X - X.mean(axis=0))) if n_components is None else n_components
    if not 1 <= K <= D:
        raise DataError(f"n_components must be from 1 to {D}, the number of features, got {K}")
    spread = float(linalg.eigh(np.cov(X.T, bias=True).reshape(D, D))[0][-1])
    ball = 1 / spread if radius is None else radius
    start = np.random.default_rng(seed).standard_normal((D, K))
    start *= math.sqrt(ball) / np.linalg.norm(start)
    return _Work(X, contrast, ball, K, start, max_iter, whole)


def _paired(whole: Setting, n_pairs: int, seed: int) -> Setting:
    """Over the rows of a pair list that have their partner among the training rows, at most so many pairs (0: all)."""
    A = whole.graph.to_csr()
    i, j = A.nonzero()
    first, second = i[i < j], j[i < j]
    if np.bincount(np.concatenate([first, second]), minlength=2).max() > 1:
        return whole  # no matching, which the contrast says
    notes = []
    if alone := whole.data.n_samples - 2 * first.size:
        notes.append(f"{alone:,} training rows without a partner among them were left out")
    if 0 < n_pairs < first.size:
        notes.append(f"a seeded subsample of {n_pairs} of {first.size:,} pairs")
        chosen = np.random.default_rng(seed).choice(first.size, size=n_pairs, replace=False)
        first, second = first[chosen], second[chosen]
    rows = np.sort(np.concatenate([first, second]))
    if rows.size in (0, whole.data.n_samples):
        return whole
    fewer = whole.data.subset(rows)
    return replace(whole, data=fewer, graph=whole.graph.subgraph(rows), notes=tuple(notes))


def _certified(rule: AlphaRule) -> bool:
    return rule.fixed or (isinstance(rule, PairLoss) and rule.convex)


def _row(rule: AlphaRule, name: str, work: _Work) -> tuple[dict[str, Any], dict[str, Array], list[str], str]:
    """A rule's row, its arrays, what has to be said of it, and of its probes."""
    X, contrast, h, r = work.X, work.contrast, work.h, work.radius
    ascent = ascend_live(
        X, contrast, rule, radius=r, n_components=work.K, start=work.start, max_iter=work.max_iter, tol=STILL
    )
    W, best = ascent.W, None
    if _certified(rule):
        best = live_optimum(X, contrast, rule, radius=r)
        assert best.embedding.W is not None
        W = best.embedding.W
    mean = X.mean(axis=0)
    Z = (X - mean) @ W
    weights = rule.alpha(Z, contrast) if best is None else best.alpha
    C = contrastive_covariance(X, contrast, weights)
    values, V = (a[..., ::-1] for a in linalg.eigh(C))
    top = float(values[0])
    level = int((values >= top - LEVEL * abs(top)).sum())
    U, s = linalg.range_basis(W, W.shape[1])
    rank = best.rank if best is not None else int((s**2 > COUNTED * r).sum())
    inside = float((W**2).sum()) < (1 - INSIDE) * r
    energy = h * float(np.trace(W.T @ C @ W))
    G = W @ W.T
    size = float(np.linalg.norm(C)) * float(np.linalg.norm(G))
    sines = linalg.principal_sines(U[:, :rank], V[:, :level]) if 0 < rank <= level else None

    start = rule.alpha(X @ work.start, contrast)
    frozen = contrastive_covariance(X, contrast, start)
    first, F = (a[..., ::-1] for a in linalg.eigh(frozen))
    W_frozen = math.sqrt(r) * F[:, :1] * (first[0] > 0)

    embeddings = {
        "live": Embedding(Z=Z, W=W, mean=mean),
        "frozen": Embedding(Z=(X - mean) @ W_frozen, W=W_frozen, mean=mean),
        "pca": Embedding(Z=(X - mean) @ V[:, : work.K], W=V[:, : work.K], mean=mean),
    }
    scores, told = probe_scores(work.probes, embeddings)
    negative, _ = contrast.distances(Z)
    counted = effective_negatives(weights).numpy()
    disordered = disordered_share(weights, negative)
    row: dict[str, Any] = {
        "rule": name,
        "rank": rank,
        "multiplicity": level,
        "energy": energy / (h * r * top) if top > 0 and not inside else None,
        "gap": None if best is None else best.gap,
        "probe": scores.get("probe_live"),
        "probe_frozen": scores.get("probe_frozen"),
        "probe_pca": scores.get("probe_pca"),
        "effective_negatives": float(np.median(counted)),
        "trained_excess": None,
        "loss": None,
        "loss_frozen": None,
        "loss_collapsed": None,
        "angle": None if sines is None else float(np.arcsin(sines.max(initial=0.0))),
        "inside": float((W**2).sum()) if inside else None,
        "residual": float(np.linalg.norm(C @ G - top * G)) / max(size, 1e-300),
        "lambda_max": top,
        "row_sum": rule.row_sum,
        "disordered": disordered,
        "judged": "diagnostic" if best is None else best.kind,
        "spectrum": (values / abs(top or 1.0))[:DRAWN_VALUES].tolist(),
        "spectrum_frozen": (first / abs(float(first[0]) or 1.0))[:DRAWN_VALUES].tolist(),
        "counted": counted.tolist(),
        "weights": _sampled(negative.numpy(), np.asarray(weights)),
    }
    if isinstance(rule, PairLoss):
        collapse, frozen_loss = (float(rule.loss(Y, contrast)) for Y in (np.zeros_like(Z), embeddings["frozen"].Z))
        row |= {"loss": float(rule.loss(Z, contrast)), "loss_frozen": frozen_loss, "loss_collapsed": collapse}
        if best is not None:
            away = max(collapse - best.lower_bound, 1e-300)
            row["trained_excess"] = (float(rule.loss(ascent.Z, contrast)) - best.lower_bound) / away
    notes = _notes(rule, row, ascent.message, ascent.converged, contrast.n_negatives, best, r)
    return row, {"Z": Z, "W": W, "eigenvalues": values}, notes, told


def _sampled(distances: Array, weights: Array) -> list[list[float]]:
    """[d^2, alpha m / row sum] of seeded pairs: 1 is what uniform alpha has."""
    d, w = distances, weights * weights.shape[1] / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    chosen = np.random.default_rng(0).choice(d.size, size=min(DRAWN_PAIRS, d.size), replace=False)
    found: list[list[float]] = np.column_stack([d.ravel()[chosen], w.ravel()[chosen]]).tolist()
    return found


def _swept(rule: AlphaRule, name: str, work: _Work) -> dict[str, Any]:
    """Rank, levelled eigenvalues and effective negatives of a rule at another temperature."""
    call, options = spec.parse_call(name)
    best = live_optimum(work.X, work.contrast, rule, radius=work.radius)
    values = best.eigenvalues
    return {
        "rule": spec.format_call(call, {key: value for key, value in options.items() if key != "temperature"}),
        "temperature": float(getattr(rule, "temperature", math.nan)),
        "rank": best.rank,
        "multiplicity": int((values >= values[0] - LEVEL * abs(float(values[0]))).sum()),
        "effective_negatives": float(np.median(effective_negatives(best.alpha).numpy())),
        "gap": best.gap,
        "converged": best.converged,
    }


# ------------------------------------------------------------------------------------------------------------- in words


def _notes(
    rule: AlphaRule, row: Mapping[str, Any], message: str, converged: bool, m: int, best: Any, radius: float
) -> list[str]:
    notes = []
    if row["lambda_max"] <= 0:
        notes.append(
            f"C_alpha has no positive eigenvalue (largest {row['lambda_max']:.3g}): every direction loses and W "
            "collapses; positives are farther apart than negatives"
        )
    elif row["inside"]:
        notes.append(
            f"it ends inside the ball, at |W|_F^2 = {row['inside']:.3g} of a radius of {radius:.3g}: there C_alpha W "
            "is 0, and PCA of C_alpha says nothing of it; a smaller --radius binds"
        )
    if row["disordered"] > 0:
        notes.append(
            f"alpha is not monotone: for {100 * row['disordered']:.0f} % of the anchors a farther negative weighs more "
            "than a nearer one"
        )
    if not rule.has_loss:
        notes.append(
            "no loss stands behind this rule: nothing certifies where it stands still, other starts may differ"
        )
    elif not _certified(rule):
        notes.append("not convex in u: where it stands still need not be the minimum")
    if _moving_set(rule):
        eps = f"eps = {rule.eps:g}: " if isinstance(rule, Nce) else ""
        notes.append(
            f"{eps}the row sum of alpha depends on the encoder, so that the max-min game with entropy has no fixed "
            "feasible set; the certificate is of its Fenchel form, whose set is fixed"
        )
    if m > 1 and not rule.fixed and row["effective_negatives"] > UNIFORM * m:
        notes.append(
            f"alpha is nearly uniform ({row['effective_negatives']:.4g} of {m} negatives count): PCA of the data's own "
            "covariance within noise; a lower temperature tells negatives apart"
        )
    if not converged:
        notes.append(f"gradient ascent {message}")
    if best is not None and not best.converged:
        notes.append(f"certificate: {best.message}")
    return notes


def _moving_set(rule: AlphaRule) -> bool:
    """Whether the entropy form of a rule has a feasible set that depends on the encoder."""
    try:
        return not entropy_form(rule, _some_u()).fixed_set
    except NotClosedForm:
        return False


def _some_u() -> Any:
    return Contrast.of(2).u(np.zeros((4, 1)))


def _answer(rows: Sequence[Mapping[str, Any]], sweep: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    equal = sum(row["rank"] == row["multiplicity"] for row in rows)
    if any(row["rank"] != 1 or row["multiplicity"] > 1 for row in rows):
        parts.append(
            f"alpha frozen: rank 1; alpha live: rank {reach([row['rank'] for row in rows])}, as many as eigenvalues of "
            f"C_alpha are level with the largest for {equal} of {len(rows)} rules"
        )
    else:
        parts.append("rank 1 for every rule, alpha frozen or live: PCA of C_alpha")
    if within := [row["rule"] for row in rows if row["inside"]]:
        parts.append(f"inside the ball, where PCA of C_alpha says nothing: {', '.join(within)}")
    captured = [row["energy"] for row in rows if row["energy"] is not None]
    if captured:
        parts.append(f"at least {100 * min(captured):.4g} % of the energy that PCA of C_alpha has is captured")
    excess = [row["trained_excess"] for row in rows if row["trained_excess"] is not None]
    if excess:
        parts.append(
            f"gradient ascent ends at most {times(max(max(excess), 0.0))} of the way above the certified minimum"
        )
    probed = [row for row in rows if row["probe"] is not None]
    if probed:
        best = max(probed, key=lambda row: row["probe"])
        parts.append(
            f"best probe {best['probe']:.3f} ({best['rule']}; {best['probe_frozen']:.3f} with its alpha frozen, "
            f"{best['probe_pca']:.3f} by PCA of C_alpha)"
        )
    if len(sweep) > 1:
        low, high = sweep[0], sweep[-1]
        parts.append(
            f"{low['rule']}: rank {low['rank']} at temperature {low['temperature']:g}, {high['rank']} at "
            f"{high['temperature']:g}"
        )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
