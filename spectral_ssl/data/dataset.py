"""`Dataset`: samples, what is known of them, and which rows are views of one original.

Symbols: N samples (rows of X), D features. A *source* is an original sample; rows of one source are its views and are
never separated by a split, because a model that saw one view has seen the sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._checks import (
    FloatArray,
    ImageShape,
    IntArray,
    as_codes,
    as_index,
    as_labels,
    as_matrix,
    check_image_shape,
    check_real,
    frozen,
    generator,
    missing_labels,
    row_blocks,
)
from spectral_ssl.data._memory import check_memory
from spectral_ssl.errors import DataError

__all__ = ["Dataset", "as_dataset", "as_rows", "as_samples"]

SCALE_RATIO = 1e3  # feature spreads further apart than this make Euclidean neighbours a matter of one feature


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples X (N, D) with optional labels, sources, modalities, styles and image shape. Arrays are read-only.

    Args:
        name: How the data set is called in messages and reports.
        X: (N, D) real numbers, N >= 2. Stored as float64, C-contiguous. Input that is so already is not copied: do not
            change it afterwards. The one exception are float32 entries that lie in a file (numpy.memmap): they stay
            where they are, and as they are; `subset` and `as_rows` give float64.
        y: (N,) whole numbers or text, which are classes, or floats, which are regression targets. Missing: -1, "" (or
            None), NaN.
        source: (N,) ids of originals, any hashable values; equal ids are views of one original. Stored as codes 0 ..
            n_sources-1 in order of first appearance. None: every row is its own original.
        modality: (N,) whole numbers >= 0, the modality a row belongs to (see `couple`).
        image_shape: (height, width) if a row is a grey image, (height, width, channels) if it is a colour image, in
            row-major order with the channels of a pixel side by side; the product is D.
        meta: Provenance and, for synthetic sets, known answers. `meta["full_set_only"]` lists keys that hold for the
            whole set and not for a subset (eigenvectors, for example): `subset` drops these.
        style: (N,) whole numbers >= 0, a known nuisance factor of a row, in competition with its label (see `styled`).

    Raises:
        DataError: An argument that is not of this form; the message counts the bad entries and names the first.
    """

    name: str
    X: FloatArray  # (N, D)
    y: npt.NDArray[Any] | None = None  # (N,)
    source: IntArray | None = None  # (N,)
    modality: IntArray | None = None  # (N,)
    image_shape: ImageShape | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    style: IntArray | None = None  # (N,)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DataError(
                f"name must be a non-empty string, got {self.name!r}; X comes second: Dataset(name='mine', X=X)"
            )
        what = f"data {self.name!r}"
        X = as_matrix(self.X, what, keep_maps=True)
        n_samples = len(X)
        if not isinstance(self.meta, Mapping):
            raise DataError(f"{what}: meta must be a mapping, got {type(self.meta).__name__}")
        checked: dict[str, Any] = {"X": X, "meta": dict(self.meta)}
        if self.y is not None:
            checked["y"] = as_labels(self.y, n_samples, what)
        if self.source is not None:
            checked["source"] = as_codes(self.source, n_samples, what)
        for key in ("modality", "style"):
            if getattr(self, key) is not None:
                checked[key] = _as_numbers(getattr(self, key), n_samples, f"{what}: {key}")
        if self.image_shape is not None:
            checked["image_shape"] = check_image_shape(self.image_shape, X.shape[1], what)
        for key, value in checked.items():
            object.__setattr__(self, key, value)

    def __repr__(self) -> str:
        words = [f"{self.n_samples} samples x {self.n_features} features"]
        if self.image_shape is not None:
            words.append(f"images {' x '.join(map(str, self.image_shape))}")
        if self.y is not None:
            words.append(f"{len(self.classes)} classes" if self.is_classification else "regression targets")
        if self.source is not None:
            words.append(f"{self.n_sources} sources")
        if self.modality is not None:
            words.append(f"{len(np.unique(self.modality))} modalities")
        if self.style is not None:
            words.append(f"{len(np.unique(self.style))} styles")
        return f"Dataset({self.name!r}: {', '.join(words)})"

    @property
    def n_samples(self) -> int:
        """N."""
        return int(self.X.shape[0])

    @property
    def n_features(self) -> int:
        """D."""
        return int(self.X.shape[1])

    @cached_property
    def n_sources(self) -> int:
        """Number of originals: N where no sources are given."""
        return self.n_samples if self.source is None else int(self.source.max()) + 1

    @property
    def is_classification(self) -> bool:
        """True where y holds classes (whole numbers or text), False for regression targets and for y=None."""
        return self.y is not None and self.y.dtype.kind != "f"

    @cached_property
    def labelled(self) -> npt.NDArray[np.bool_]:  # (N,)
        """Rows whose label is known; all False where y is None."""
        known = np.zeros(self.n_samples, dtype=bool) if self.y is None else ~missing_labels(self.y)
        return frozen(known)

    @cached_property
    def classes(self) -> npt.NDArray[Any]:  # (C,)
        """The distinct known classes, sorted; empty where y is None.

        Raises:
            DataError: y holds regression targets.
        """
        if self.y is None:
            return frozen(np.empty(0, dtype=np.int64))
        if not self.is_classification:
            raise DataError(
                f"data {self.name!r}: y holds floats, which are regression targets, not classes; "
                "if they are classes, pass y.astype(int)"
            )
        return frozen(np.unique(self.y[self.labelled]))

    @cached_property
    def class_codes(self) -> IntArray:  # (N,)
        """Position of every row's label in `classes`; -1 where it is not known (everywhere if y is None).

        Raises:
            DataError: y holds regression targets.
        """
        codes = np.full(self.n_samples, -1, dtype=np.int64)
        if self.y is not None:
            codes[self.labelled] = np.searchsorted(self.classes, self.y[self.labelled])
        return frozen(codes)

    def subset(
        self,
        index: npt.ArrayLike,  # (M,) row numbers or (N,) mask
    ) -> Dataset:
        """The rows `index`, in that order. Rows of one source stay rows of one source; codes are numbered anew.

        Keys of `meta` named in `meta["full_set_only"]` are dropped.

        Raises:
            DataError: Row numbers outside 0 .. N-1 or named twice, a mask of the wrong length, fewer than 2 rows left.
            ResourceError: The rows of a mapped file do not fit into memory.
        """
        rows = as_index(index, self.n_samples, f"data {self.name!r}: subset")
        if len(rows) < 2:
            raise DataError(f"data {self.name!r}: subset keeps {len(rows)} rows; at least 2 are needed")
        check_memory(8.0 * len(rows) * self.n_features, f"data {self.name!r}: a subset of {len(rows):,} rows")
        dropped = {"full_set_only", *self.meta.get("full_set_only", ())}
        return Dataset(
            name=self.name,
            X=self.X[rows],
            y=None if self.y is None else self.y[rows],
            source=None if self.source is None else self.source[rows],
            modality=None if self.modality is None else self.modality[rows],
            image_shape=self.image_shape,
            meta={key: value for key, value in self.meta.items() if key not in dropped},
            style=None if self.style is None else self.style[rows],
        )

    def split(
        self,
        test_size: float = 0.25,
        seed: int = 0,
    ) -> tuple[IntArray, IntArray]:
        """Row numbers (train, test), both sorted: whole sources on one side, the same answer for the same seed.

        round(test_size * n_sources) sources are drawn for the test side (at least 1, at most all but 1). Where y holds
        classes and every class has at least 2 sources, they are drawn class by class in proportion (largest
        remainders), every class keeps at least one source on the train side, and has one on the test side when there
        are enough test sources. The class of a source is the most frequent class of its rows; sources without a label
        are a class of their own here. `test_size=0` puts all rows on the train side.

        Raises:
            DataError: test_size outside [0, 1), seed not a whole number >= 0, a single source.
        """
        what = f"data {self.name!r}: split"
        fraction = check_real(
            test_size, f"{what}: test_size (a fraction of the sources)", low=0, high=1, open_high=True
        )
        rng = generator(seed, what)
        if fraction == 0:
            return np.arange(self.n_samples), np.empty(0, dtype=np.int64)
        n_sources = self.n_sources
        if n_sources < 2:
            raise DataError(
                f"{what}: all rows are views of one source, which cannot lie on both sides; pass test_size=0"
            )
        n_test = min(max(round(fraction * n_sources), 1), n_sources - 1)
        strata = self._source_classes()
        counts = np.bincount(strata, minlength=1 + (len(self.classes) if self.is_classification else 0))
        if (counts[1:] < 2).any():
            strata, counts = np.zeros_like(strata), np.array([n_sources])
        n_drawn = _allocate(n_test, counts)
        order = rng.permutation(n_sources)
        order = order[np.argsort(strata[order], kind="stable")]  # stratum by stratum, shuffled within
        rank = np.arange(n_sources) - np.repeat(np.cumsum(counts) - counts, counts)
        in_test = np.zeros(n_sources, dtype=bool)
        in_test[order] = rank < n_drawn[strata[order]]
        rows_in_test = in_test if self.source is None else in_test[self.source]
        return np.flatnonzero(~rows_in_test), np.flatnonzero(rows_in_test)

    def _source_classes(self) -> IntArray:  # (n_sources,)
        """Stratum of every source: 0 without a known class, else 1 + its most frequent class (the first on a tie)."""
        strata = np.zeros(self.n_sources, dtype=np.int64)
        if not self.is_classification or not self.labelled.any():
            return strata
        source = np.arange(self.n_samples) if self.source is None else self.source
        n_classes = len(self.classes)
        pairs = source[self.labelled] * n_classes + self.class_codes[self.labelled]
        distinct, votes = np.unique(pairs, return_counts=True)
        order = np.lexsort((-distinct, votes))  # the winner of a source comes last and so stays
        strata[distinct[order] // n_classes] = distinct[order] % n_classes + 1
        return strata

    def describe(self) -> list[str]:
        """What a careful reader would want to know of these data, in words; empty where nothing is unusual.

        Costs a few passes over X: constant features, duplicate rows, feature scales, labels, sources.
        """
        return [*self._describe_features(), *self._describe_labels(), *self._describe_sources()]

    def _describe_features(self) -> list[str]:
        words = []
        constant = np.flatnonzero(self.X.min(axis=0) == self.X.max(axis=0))
        if constant.size:
            words.append(
                f"{constant.size} of {self.n_features} features are constant (first: column {constant[0]}); "
                "they carry nothing and lower the rank"
            )
        n_distinct = _count_distinct_rows(self.X)
        if n_distinct < self.n_samples:
            words.append(
                f"{self.n_samples - n_distinct} of {self.n_samples} rows repeat an earlier row exactly; neighbours "
                "at distance 0 and equal rows on both sides of a split are possible"
            )
        spread = np.delete(_spread(self.X), constant)
        if self.image_shape is None and spread.size and spread.max() > SCALE_RATIO * spread.min():
            words.append(
                f"feature standard deviations range from {spread.min():.3g} to {spread.max():.3g}; Euclidean "
                "neighbours see the largest only; standardise the features unless their scales are comparable"
            )
        return words

    def _describe_labels(self) -> list[str]:
        if self.y is None:
            return []
        words = []
        n_missing = self.n_samples - int(np.count_nonzero(self.labelled))
        if n_missing:
            mark = {"f": "NaN", "U": "an empty string"}.get(self.y.dtype.kind, "-1")
            words.append(
                f"{n_missing} of {self.n_samples} rows are unlabelled (y is {mark})"
                + ("; if -1 is one of your classes, number the classes from 0" if mark == "-1" else "")
            )
        if not self.is_classification:
            known = np.unique(self.y[self.labelled])
            if 0 < len(known) <= 20 and (known == np.round(known)).all():
                words.append(
                    f"y holds floats with {len(known)} distinct whole values; floats are regression targets, pass "
                    "y.astype(int) if they are classes"
                )
            return words
        counts = np.bincount(self.class_codes[self.labelled], minlength=len(self.classes))
        if len(counts) == 1:
            words.append(f"only one class ({self.classes[0]!s}); probes and label relations say nothing")
        lonely = np.flatnonzero(counts == 1)
        if lonely.size:
            words.append(
                f"{lonely.size} of {len(counts)} classes have a single row (first: {self.classes[lonely[0]]!s}); "
                "a split cannot be stratified"
            )
        return words

    def _describe_sources(self) -> list[str]:
        if self.source is None:
            return []
        words = []
        n_single = int(np.count_nonzero(np.bincount(self.source) == 1))
        if n_single:
            words.append(f"{n_single} of {self.n_sources} sources have a single row, so no positive pair")
        if self.is_classification:
            source, code = self.source[self.labelled], self.class_codes[self.labelled]
            lowest, highest = np.full(self.n_sources, len(self.classes)), np.full(self.n_sources, -1)
            np.minimum.at(lowest, source, code)
            np.maximum.at(highest, source, code)
            n_mixed = int(np.count_nonzero(lowest < highest))
            if n_mixed:
                words.append(f"{n_mixed} of {self.n_sources} sources have rows of different classes")
        return words

    def fingerprint(self) -> str:
        """16 hexadecimal digits of sha256 over X, y, source, modality and style: equal contents, equal fingerprint.

        The name, image shape and meta do not enter.
        """
        digest = hashlib.sha256(f"X{self.X.shape}".encode())
        for rows in row_blocks(self.X):
            digest.update(self.X[rows].astype("<f8", copy=False).data)
        for key in ("y", "source", "modality", "style"):
            array = getattr(self, key)
            if array is None:
                continue
            digest.update(f"{key}{array.dtype.kind}".encode())
            if array.dtype.kind == "U":  # by contents, not by the width of the array's cells
                for label in array.tolist():
                    digest.update(f"{len(label)}:{label}".encode())
            else:
                digest.update(array.astype(f"<{array.dtype.kind}8", copy=False).tobytes())
        return digest.hexdigest()[:16]


def as_dataset(
    data: Dataset | npt.ArrayLike,  # a Dataset, or X (N, D)
    *,
    name: str = "data",
) -> Dataset:
    """A Dataset as it is; an array (N, D) as a Dataset of that name.

    Raises:
        DataError: An array that `Dataset` refuses.
    """
    return data if isinstance(data, Dataset) else Dataset(name=name, X=data)  # type: ignore[arg-type]


def as_rows(
    X: Dataset | npt.ArrayLike,  # a Dataset, or (n, D)
    n_features: int | None = None,
) -> FloatArray:  # (n, D)
    """New samples as a finite, read-only (n, D) float64 array; n = 0 is allowed, no sample has an empty answer.

    Raises:
        DataError: What `as_matrix` refuses (sparse, text, one axis, NaN), or another number of features.
    """
    X = as_matrix(X.X if isinstance(X, Dataset) else X, "new samples", min_rows=0)
    if n_features is not None and X.shape[1] != n_features:
        raise DataError(f"X has shape {X.shape}, but the map takes {n_features} features")
    return X


def as_samples(
    X: Dataset | npt.ArrayLike,  # a Dataset, or (N, D)
    name: str = "X",
) -> FloatArray:  # (N, D)
    """The samples a solver is given, float64 whatever a mapped file holds. Raises DataError as `as_dataset` does."""
    return as_rows(as_dataset(X, name=name))


def _as_numbers(numbers: object, n_rows: int, what: str) -> IntArray:
    array = np.asarray(numbers)
    if array.shape != (n_rows,):
        raise DataError(f"{what} must have shape ({n_rows},), got {array.shape}; one number per row")
    if array.dtype.kind not in "iu" or int(array.min()) < 0:
        raise DataError(f"{what} must hold whole numbers 0, 1, ..., got dtype {array.dtype}, {array.min()!r}")
    return frozen(array.astype(np.int64))


def _spread(X: FloatArray) -> FloatArray:  # (N, D) -> (D,)
    """Standard deviations by blocks of float64: X itself may lie in a file, and be float32."""
    mean = sum(X[rows].sum(axis=0, dtype=np.float64) for rows in row_blocks(X)) / len(X)
    squares = sum(((X[rows] - mean) ** 2).sum(axis=0) for rows in row_blocks(X))
    return np.asarray(np.sqrt(squares / len(X)))


def _count_distinct_rows(X: FloatArray) -> int:
    """By 64-bit hashes: two unequal rows among a million are taken for equal with probability 3e-8."""
    row_bytes = np.dtype((np.void, X.shape[1] * X.itemsize))
    block = max(1, 2**20 // X.shape[1])
    hashes: set[int] = set()
    for start in range(0, len(X), block):
        rows = X[start : start + block] + 0.0  # -0.0 becomes 0.0
        hashes.update(map(hash, rows.view(row_bytes).ravel().tolist()))
    return len(hashes)


def _allocate(n_test: int, counts: IntArray) -> IntArray:
    """How many test sources each stratum gives: proportional, by largest remainders, within bounds.

    Stratum 0 (no class) may give all or none. Every other stratum keeps one source for training, and gives at least one
    where n_test allows.
    """
    classes = np.arange(len(counts)) > 0
    highest = np.where(classes, counts - 1, counts)
    lowest = np.where(classes & (n_test >= np.count_nonzero(counts[1:])), np.minimum(1, highest), 0)
    n_test = min(n_test, int(highest.sum()))
    quota = n_test * counts / counts.sum()
    drawn: IntArray = np.clip(np.floor(quota).astype(np.int64), lowest, highest)
    while (short := n_test - int(drawn.sum())) != 0:
        step = 1 if short > 0 else -1
        free = drawn < highest if step > 0 else drawn > lowest
        neediest = np.argsort(np.where(free, -step * (quota - drawn), np.inf), kind="stable")
        drawn[neediest[: min(abs(short), np.count_nonzero(free))]] += step
    return drawn
