"""Samples of torch data sets and loaders: every form a sample comes in, against the arrays they were made of."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_ssl as ss
from spectral_ssl import data as ssd
from spectral_ssl.errors import DataError, ResourceError, SpectralWarning

torch = pytest.importorskip("torch")
from torch.utils.data import (  # noqa: E402
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

X = np.random.default_rng(0).standard_normal((11, 4))
Y = np.arange(11) % 3


class Items(Dataset):
    """The samples a function makes of i."""

    def __init__(self, make, n: int = 11) -> None:
        self.make, self.n = make, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int):
        return self.make(i)


class Stream(IterableDataset):
    def __init__(self, make, n: int | None = 11) -> None:
        self.make, self.n = make, n

    def __iter__(self):
        i = 0
        while self.n is None or i < self.n:
            yield self.make(i)
            i += 1


def tensor(row) -> torch.Tensor:
    return torch.as_tensor(np.asarray(row))


ONE_VIEW = {
    "tensor": lambda i: tensor(X[i]),
    "array": lambda i: X[i],
    "one entry": lambda i: (tensor(X[i]),),
    "with a number": lambda i: (tensor(X[i]), int(Y[i])),
    "with a tensor": lambda i: (tensor(X[i]), torch.tensor(Y[i])),
    "list": lambda i: [tensor(X[i]), int(Y[i])],
}
HOLDERS = {
    "data set": Items,
    "stream": Stream,
    "loader": lambda make: DataLoader(Items(make), batch_size=4),
    "loader of a stream": lambda make: DataLoader(Stream(make), batch_size=4),
    "loader without batches": lambda make: DataLoader(Items(make), batch_size=None),
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS.keys())
@pytest.mark.parametrize("form", ONE_VIEW)
def test_samples_of_one_view(form, hold) -> None:
    data = ssd.from_torch(hold(ONE_VIEW[form]))
    np.testing.assert_array_equal(data.X, X)
    assert data.source is None
    assert (data.y is None) == (form in ("tensor", "array", "one entry"))
    if data.y is not None:
        assert data.y.tolist() == Y.tolist()
    part = ssd.from_torch(hold(ONE_VIEW[form]), limit=6, name="mine")
    np.testing.assert_array_equal(part.X, X[:6])
    assert part.name == "mine"


SEVERAL = {
    "two in a pair": lambda i: ((tensor(X[i]), tensor(X[i] + 1)), int(Y[i])),
    "two and a label": lambda i: (tensor(X[i]), tensor(X[i] + 1), int(Y[i])),
    "two without": lambda i: [tensor(X[i]), tensor(X[i] + 1)],
    "pair of lists": lambda i: ([X[i], X[i] + 1], torch.tensor(int(Y[i]))),
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS.keys())
@pytest.mark.parametrize("form", SEVERAL)
def test_views_of_one_original_are_rows_of_one_source(form, hold) -> None:
    data = ssd.from_torch(hold(SEVERAL[form]))
    assert data.source.tolist() == [i // 2 for i in range(22)]
    np.testing.assert_array_equal(data.X[::2], X)
    np.testing.assert_array_equal(data.X[1::2], X + 1)
    if form != "two without":
        assert data.y.tolist() == np.repeat(Y, 2).tolist()
    A = ss.relations.views(data).to_csr().toarray()
    np.testing.assert_array_equal((A - np.diag(np.diag(A))) > 0, np.kron(np.eye(11), [[0, 1], [1, 0]]) > 0)


def test_three_views_and_labels_of_text() -> None:
    data = ssd.from_torch(Items(lambda i: ((X[i], X[i], -X[i]), "ab"[i % 2])))
    assert data.meta["n_views"] == 3
    assert data.n_sources == 11
    assert data.y.tolist() == np.repeat(list("abababababa"), 3).tolist()
    loader = DataLoader(Items(lambda i: (tensor(X[i]), "ab"[i % 2])), batch_size=3)
    assert ssd.from_torch(loader).y.tolist() == list("abababababa")


def test_tensor_images_become_rows_with_channels_last() -> None:
    images = torch.arange(11 * 3 * 2 * 5, dtype=torch.float32).reshape(11, 3, 2, 5)
    for held in (TensorDataset(images), DataLoader(TensorDataset(images), batch_size=4)):
        data = ssd.from_torch(held)
        assert data.image_shape == (2, 5, 3)
        assert all(
            data.X[n, (r * 5 + c) * 3 + k] == images[n, k, r, c].item()
            for n in range(11) for k in range(3) for r in range(2) for c in range(5)
        )  # fmt: skip
    grey = ssd.from_torch(TensorDataset(images[:, :1]))
    assert grey.image_shape == (2, 5)
    np.testing.assert_array_equal(grey.X, images[:, 0].reshape(11, -1))
    arrays = ssd.from_torch(Items(lambda i: images[i].permute(1, 2, 0).numpy()))
    np.testing.assert_array_equal(arrays.X, ssd.from_torch(TensorDataset(images)).X)
    assert ssd.from_torch(TensorDataset(torch.ones(4, 7, 2, 5))).image_shape is None  # seven channels are no colours


def test_pictures_are_taken_as_they_lie() -> None:
    Image = pytest.importorskip("PIL.Image")
    array = np.arange(30, dtype=np.uint8).reshape(2, 5, 3)
    data = ssd.from_torch(Items(lambda i: (Image.fromarray(array + np.uint8(i)), i % 2)))
    assert data.image_shape == (2, 5, 3)
    assert data.X[4].tolist() == (array.ravel() + 4.0).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.uint8, torch.int64])
def test_entries_of_any_type_become_float64_exactly(dtype) -> None:
    values = torch.arange(8).reshape(4, 2).to(dtype)
    assert ssd.from_torch(TensorDataset(values)).X.tolist() == values.double().tolist()


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS.keys())
def test_one_feature_beside_a_label_is_no_second_view(hold) -> None:
    data = ssd.from_torch(hold(lambda i: (torch.tensor(X[i, 0]), torch.tensor(Y[i]))))
    assert data.X.tolist() == X[:, :1].tolist()
    assert data.y.tolist() == Y.tolist()


def test_tensors_with_a_gradient_are_detached() -> None:
    values = torch.ones(3, 2, requires_grad=True)
    assert ssd.from_torch(TensorDataset(values)).X.tolist() == [[1, 1]] * 3


def test_a_loader_that_shuffles_is_read_in_its_order_and_says_so() -> None:
    held = TensorDataset(torch.arange(20.0)[:, None], torch.arange(20))
    for loader in (
        DataLoader(held, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(3)),
        DataLoader(held, batch_size=4, sampler=SubsetRandomSampler(range(20))),
    ):
        with pytest.warns(SpectralWarning, match="this loader shuffles, so row i is not sample i"):
            data = ssd.from_torch(loader)
        assert data.meta["order"] == "shuffled"
        assert data.X[:, 0].tolist() != list(range(20))
        assert sorted(data.X[:, 0].tolist()) == list(range(20))
        assert data.y.tolist() == data.X[:, 0].tolist()  # a label stays with its row
    assert ssd.from_torch(DataLoader(held, batch_size=4)).meta["order"] == "as stored"
    assert ssd.from_torch(DataLoader(held, batch_size=6, drop_last=True)).n_samples == 18
    assert ssd.from_torch(Subset(held, [3, 1])).y.tolist() == [3, 1]


BAD = {
    "an array": (np.float64(3), "float64 is neither a torch Dataset"),
    "a dictionary": ({"x": 1}, "dict is neither a torch Dataset"),
    "nothing in it": (Items(lambda i: X[i], 0), "gave no sample"),
    "mappings": (Items(lambda i: {"image": X[i], "label": 1}), "sample 0 is a mapping with the keys image, label"),
    "ragged": (Items(lambda i: X[i][: 4 - i // 5]), r"sample 5 has shape \(3,\), the first has \(4,\)"),
    "ragged views": (Items(lambda i: ((X[i], X[i][:2]), 1)), r"sample 0 has shape \(2,\), the first has \(4,\)"),
    "one-hot": (Items(lambda i: (np.ones((2, 3)), np.eye(3)[1])), "a label has shape .3,.; one-hot labels"),
    "two labels": (Items(lambda i: (X[i], 1, 2)), r"entries of shape \(4,\), \(\), \(\)"),
    "other target": (Items(lambda i: (X[i], X[i][:2])), r"entries of shape \(4,\), \(2,\); a sample is x"),
    "labels missing": (Items(lambda i: (X[i], 1) if i else X[i]), "some samples have a label and some have none"),
    "text": (Items(lambda i: "abc"), "sample 0 holds <U3, not numbers"),
    "empty tuple": (Items(lambda i: ()), "sample 0 is empty"),
    "nan": (Items(lambda i: X[i] * np.nan), "NaN or infinite"),
}


@pytest.mark.parametrize(("held", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_no_data_set_says_why(held, message) -> None:
    with pytest.raises(DataError, match=message) as caught:
        ssd.from_torch(held)
    assert "\n" not in str(caught.value)


def keyed(i: int):
    return ({} if i == 5 else {0: X[i]})[0]


@pytest.mark.parametrize("workers", [None, 0, 1])
def test_a_data_set_that_raises_names_the_sample(workers) -> None:
    held = Items(keyed)
    if workers is not None:
        held = DataLoader(held, batch_size=2, num_workers=workers)
    item = "sample 5" if workers is None else "batch 2"
    with pytest.raises(DataError, match=f"{item} cannot be read: KeyError: .*0") as caught:
        ssd.from_torch(held)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)  # where it came from stays to be seen


def test_an_endless_stream_ends_at_its_limit_or_at_the_memory(monkeypatch) -> None:
    endless = Stream(lambda i: torch.ones(100), n=None)
    assert ssd.from_torch(endless, limit=5).n_samples == 5
    monkeypatch.setattr("spectral_ssl.data._memory.available_memory", lambda: 6e6)
    with pytest.raises(ResourceError, match="take a part with limit="):
        ssd.from_torch(endless)
    with pytest.raises(ResourceError, match="1,000,000 rows of 4 features needs"):
        ssd.from_torch(Items(lambda i: X[0], 1_000_000))
    with pytest.raises(DataError, match="limit must be a whole number at least 1, got 0"):
        ssd.from_torch(endless, limit=0)
