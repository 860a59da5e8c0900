"""Samples of a torch Dataset or DataLoader, without torch: anything with its methods will do.

Images of tensors are (channels, height, width), torch's order, and become rows of (height, width, channels); images of
numpy or pillow are taken as they lie.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._checks import ImageShape, check_int
from spectral_ssl.data._memory import check_memory
from spectral_ssl.data.dataset import Dataset
from spectral_ssl.errors import DataError, SpectralSSLError, SpectralWarning

__all__ = ["from_torch"]

COLOURS = (1, 3, 4)
CHECK_EVERY = 1024  # originals read between two looks at the memory, where nobody knows how many will come

Sample = tuple[list[npt.NDArray[Any]], Any, bool]  # views of one original, its label, whether they are tensors


def from_torch(
    dataset_or_loader: Any,
    *,
    limit: int | None = None,
    name: str = "torch data",
) -> Dataset:
    """A torch Dataset or DataLoader as a Dataset, read once from its beginning.

    A sample is x, or (x, y) with a label, or several views of one original: (xa, xb), ((xa, xb), y), (xa, xb, y).
    Entries of the shape of the first are views; one of fewer axes is the label. Views are rows of one `source`, in
    turn, so that `relations.views` relates them. Random transforms are drawn once, by torch's own generators: call
    torch.manual_seed first to repeat them.

    meta: `origin` (the class), `n_views`, `order` ("shuffled" where the loader's sampler draws at random).

    Args:
        dataset_or_loader: With __getitem__ and __len__, or __iter__; a DataLoader gives its batches, in its order.
        limit: At most so many originals, the first ones.
        name: Name of the data set.

    Raises:
        DataError: An object that is neither; samples that cannot be read, of another form, or that differ in shape.
        ResourceError: The rows do not fit into memory, or an endless stream without a limit.
    """
    what = f"data {name!r}"
    if limit is not None:
        check_int(limit, f"{what}: limit", low=1)
    loader = _is_loader(dataset_or_loader)
    known = _length(getattr(dataset_or_loader, "sampler", None) if loader else dataset_or_loader)
    expected = min((n for n in (known, limit) if n is not None), default=None)
    samples = itertools.islice(_samples(dataset_or_loader, loader, what), limit)
    views, labels, source, from_tensor = _collected(samples, expected, what)
    if not views:
        raise DataError(f"{what}: {type(dataset_or_loader).__name__} gave no sample")
    image_shape, axes = _layout(views[0].shape, from_tensor)
    X = np.empty((len(views), views[0].size))
    for i, view in enumerate(views):
        X[i] = view.transpose(axes).ravel()
    counts = np.bincount(source)
    meta: dict[str, Any] = {
        "origin": f"{type(dataset_or_loader).__module__}.{type(dataset_or_loader).__qualname__}",
        "n_views": int(counts[0]) if (counts == counts[0]).all() else counts.tolist(),
        "order": "shuffled" if loader and _is_shuffled(dataset_or_loader) else "as stored",
    }
    if meta["order"] == "shuffled":
        warnings.warn(
            f"{what}: this loader shuffles, so row i is not sample i of its data set; pass shuffle=False where pairs "
            "or labels are named by row",
            SpectralWarning,
            stacklevel=2,
        )
    y: Any = None if labels[0] is None else labels
    return Dataset(
        name=name,
        X=X,
        y=y,
        source=np.array(source) if len(views) > len(counts) else None,
        image_shape=image_shape,
        meta=meta,
    )


def _collected(
    samples: Iterable[Sample], expected: int | None, what: str
) -> tuple[list[npt.NDArray[Any]], list[Any], list[int], bool]:
    """All views in turn, the label and the number of the original of each, and whether they came as tensors."""
    rows: list[npt.NDArray[Any]] = []
    labels: list[Any] = []
    source: list[int] = []
    from_tensor = False
    for number, (views, label, tensor) in enumerate(samples):
        if number == 0:
            from_tensor = tensor
        if number % CHECK_EVERY == 0 and (number == 0 or expected is None):
            _check_room(number + CHECK_EVERY if expected is None else expected, views, what)
        for view in views:
            if view.dtype.kind not in "fiub":
                raise DataError(f"{what}: sample {number} holds {view.dtype.str}, not numbers; let it give tensors")
            if view.shape != (rows or views)[0].shape:
                raise DataError(
                    f"{what}: sample {number} has shape {view.shape}, the first has {(rows or views)[0].shape}; "
                    "resize or pad the samples to one shape"
                )
        if labels and (label is None) != (labels[0] is None):
            raise DataError(f"{what}: some samples have a label and some have none; give all of them one")
        rows += views
        labels += [label] * len(views)
        source += [number] * len(views)
    return rows, labels, source, from_tensor


# --- what came -------------------------------------------------------------------------------------------------------


def _is_loader(thing: Any) -> bool:
    return all(hasattr(thing, name) for name in ("dataset", "batch_size", "collate_fn", "__iter__"))


def _is_shuffled(loader: Any) -> bool:
    """By the name of the sampler; one of the user's own is taken for what it says."""
    sampler = getattr(loader, "sampler", None)
    inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    return any("Random" in type(one).__name__ or getattr(one, "shuffle", False) is True for one in (sampler, inner))


def _length(thing: Any) -> int | None:
    try:
        return len(thing)
    except (TypeError, NotImplementedError):
        return None


def _samples(thing: Any, loader: bool, what: str) -> Iterator[Sample]:
    if loader and (thing.batch_size is not None or getattr(thing, "batch_sampler", None) is not None):
        for where, batch in _given(thing, f"{what}: batch"):
            yield from _unbatched(batch, where)
        return
    for where, item in _given(_items(thing, loader, what), f"{what}: sample"):
        yield _sample(item, where)


def _given(entries: Iterable[Any], what: str) -> Iterator[tuple[str, Any]]:
    """(words for messages, entry) in turn; what the user's own code raises becomes a DataError that names the entry."""
    for number in itertools.count():
        try:
            if number == 0:
                stream = iter(entries)
            entry = next(stream)
        except StopIteration:
            return
        except (SpectralSSLError, MemoryError):
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]  # of a worker's error the last line says it
            raise DataError(f"{what} {number} cannot be read: {type(error).__name__}: {lines[-1]}") from error
        yield f"{what} {number}", entry


def _items(thing: Any, loader: bool, what: str) -> Iterable[Any]:
    if not loader and hasattr(thing, "__getitem__") and _length(thing) is not None and not isinstance(thing, dict):
        return (thing[i] for i in range(len(thing)))
    if hasattr(thing, "__iter__") and not isinstance(thing, (dict, str, bytes)):
        entries: Iterable[Any] = thing
        return entries
    raise DataError(
        f"{what}: {type(thing).__name__} is neither a torch Dataset (__getitem__ and __len__, or __iter__) nor a "
        "DataLoader; for arrays use Dataset(name='mine', X=X)"
    )


def _sample(item: Any, what: str) -> Sample:
    """One sample: its views and its label."""
    views, label = _parts(item, 0, what)
    arrays = [_array(view, what) for view in views]
    return arrays, None if label is None else _label(_array(label, what), what), _is_tensor(views[0])


def _unbatched(batch: Any, what: str) -> Iterator[Sample]:
    """The samples of a collated batch: each entry has one axis more, of the samples."""
    views, label = _parts(batch, 1, what)
    arrays = [_array(view, what) for view in views]
    n_samples = arrays[0].shape[0] if arrays[0].ndim else 0
    values = None if label is None else _array(label, what)
    for array in [*arrays, *([] if values is None else [values])]:
        if array.ndim == 0 or array.shape[0] != n_samples:
            raise DataError(f"{what}: entries of shape {array.shape} and {arrays[0].shape} are no batch of samples")
    for i in range(n_samples):
        yield [array[i] for array in arrays], None if values is None else _label(values[i], what), _is_tensor(views[0])


def _parts(item: Any, axes: int, what: str) -> tuple[list[Any], Any]:
    """Views and label: what has the shape of the first entry is a view, what has fewer axes is the label.

    axes: 1 if the entries are batches, 0 if they are samples.
    """
    if isinstance(item, dict) or hasattr(item, "keys"):
        raise DataError(
            f"{what} is a mapping with the keys {', '.join(map(str, item))}; wrap the data set so that it gives (x, y)"
        )
    if not _is_several(item):
        return [item], None
    entries = list(item)
    if not entries:
        raise DataError(f"{what} is empty")
    if _is_several(entries[0]):  # ((xa, xb), y)
        views, rest = list(entries[0]), entries[1:]
    else:
        shape = _array(entries[0], what).shape
        same = [len(shape) > axes and _array(entry, what).shape == shape for entry in entries]
        n_views = next((k for k, is_view in enumerate(same) if not is_view and k > 0), len(entries))
        views, rest = entries[:n_views], entries[n_views:]
    shapes = [_array(entry, what).shape for entry in [*views, *rest]]
    if len(rest) > 1 or (rest and len(shapes[-1]) >= max(len(shapes[0]), 1 + axes)):
        raise DataError(
            f"{what} has entries of shape {', '.join(map(str, shapes))}; a sample is x, (x, y), or views of one shape "
            "with or without a label: ((xa, xb), y)"
        )
    return views, rest[0] if rest else None


def _is_several(item: Any) -> bool:
    """A tuple or list of entries; one of plain numbers is a sample written out."""
    if not isinstance(item, (tuple, list)):
        return False
    return not item or not all(isinstance(entry, (int, float, np.number)) for entry in item)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _array(value: Any, what: str) -> npt.NDArray[Any]:
    """A tensor, array, picture, number or text as an array."""
    try:
        if _is_tensor(value):
            value = value.detach().cpu()
            try:
                return np.asarray(value.numpy())
            except TypeError:  # bfloat16 is no type of numpy
                return np.asarray(value.float().numpy())
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise DataError(f"{what}: {type(value).__name__} cannot be read as an array: {error}") from None


def _label(value: npt.NDArray[Any], what: str) -> Any:
    if value.ndim:
        hint = "one-hot labels: give y.argmax()" if value.ndim == 1 and value.size > 1 else "give one label per sample"
        raise DataError(f"{what}: a label has shape {value.shape}; {hint}")
    return value.item()


# --- rows ------------------------------------------------------------------------------------------------------------


def _check_room(n_originals: int, views: Sequence[npt.NDArray[Any]], what: str) -> None:
    n_rows, n_features = n_originals * len(views), views[0].size
    check_memory(
        n_rows * n_features * (8.0 + views[0].itemsize),
        f"{what}: {n_rows:,} rows of {n_features:,} features",
        "take a part with limit=",
    )


def _layout(shape: tuple[int, ...], from_tensor: bool) -> tuple[ImageShape | None, tuple[int, ...]]:
    """The image shape of one view, and the order of its axes that puts channels last."""
    axes = tuple(range(len(shape)))
    if len(shape) == 2:
        return (shape[0], shape[1]), axes
    if len(shape) != 3:
        return None, axes
    if from_tensor:
        axes = (1, 2, 0)
    height, width, channels = (shape[axis] for axis in axes)
    if channels not in COLOURS:
        return None, (0, 1, 2)
    return (height, width) if channels == 1 else (height, width, channels), axes
