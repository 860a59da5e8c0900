"""What a function, an object or a network is, as a short hash of its content: no other passes for it in a checkpoint.

Of a function: its code, constants, defaults, what it closes over, and the plain values and functions of its own module
that it reads. Of an object: its class with the code of its methods, and its attributes. Of a network: its parts, in
the same way, without the values of parameters and buffers.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from spectral_ssl.errors import DataError

__all__ = ["fingerprint", "name_of", "structure"]

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), torch.dtype, torch.device, np.dtype)
NAMED = (type, types.ModuleType, types.BuiltinFunctionType, types.MethodDescriptorType, np.ufunc)
ARRAYS = (torch.Tensor, np.ndarray, np.generic)
VALUES = (*PLAIN, *NAMED, *ARRAYS, tuple, frozenset, types.CodeType)  # whether two of them are one says nothing
OWN = set(vars(torch.nn.Module()))  # bookkeeping of every module


def fingerprint(thing: Any) -> str:
    """A hash of `thing`, the same in every process. Raises DataError where its content cannot be told."""
    h = hashlib.blake2b(digest_size=6)
    try:
        for word in _words(thing, {}):
            h.update(f"{len(word)}:".encode() + word)
    except DataError:
        raise
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:  # sparse tensors, cells not filled, ...
        raise DataError(f"the content of {_label(thing)} cannot be told: {error}") from error
    return h.hexdigest()


def name_of(function: Callable[..., Any] | None) -> str | None:
    """A function by name and content. Raises DataError where that cannot be told."""
    if function is None:
        return None
    name = _label(function.func if isinstance(function, functools.partial) else function)
    try:
        return f"{name} ({fingerprint(function)})"
    except DataError as error:
        raise DataError(
            f"a checkpoint must know its run again, and {name} holds what cannot be recognised ({error}); leave "
            "checkpoint= out, or pass a function that holds numbers, arrays and functions"
        ) from error


def structure(network: torch.nn.Module) -> str:
    """A network by its parts with their modes, and which parameters are trained; attributes that cannot be told count
    by their kind."""
    parts = [
        [name, part.training, _methods(type(part)), {k: _or_kind(v) for k, v in vars(part).items() if k not in OWN}]
        for name, part in network.named_modules()
    ]
    tensors = [
        [name, list(t.shape), t.dtype, t.requires_grad]
        for name, t in (*network.named_parameters(), *network.named_buffers())
    ]
    return f"{type(network).__name__} ({fingerprint([parts, tensors])})"


def _or_kind(value: Any) -> str:
    try:
        return fingerprint(type(value) if isinstance(value, torch.Tensor) else value)
    except DataError:
        return _label(type(value))


def _label(thing: Any) -> str:
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def _methods(kind: type) -> list[Any]:
    """A class by name, and the methods of it and those it descends from, torch's own left out."""
    own = [c for c in kind.__mro__ if c is not object and not c.__module__.startswith("torch.")]
    return [_label(kind), [[name, f] for c in own for name, f in vars(c).items() if isinstance(f, types.FunctionType)]]


def _words(thing: Any, seen: dict[int, tuple[int, Any]]) -> Iterator[bytes]:
    """The content of `thing`; what was met before, by its number."""
    if not isinstance(thing, VALUES):
        if id(thing) in seen:
            yield f"#{seen[id(thing)][0]}".encode()
            return
        seen[id(thing)] = len(seen), thing
    yield _label(type(thing)).encode()
    if isinstance(thing, PLAIN):
        yield repr(thing).encode()
        return
    for part in _parts(thing):
        yield from _words(part, seen)
    yield b"."


def _parts(thing: Any) -> Iterable[Any]:
    if isinstance(thing, ARRAYS):
        if isinstance(thing, torch.Tensor):
            array = thing.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        else:
            array = np.asarray(thing)
        if array.dtype.hasobject:
            raise DataError("the content of an array of objects cannot be told")
        return [thing.dtype, list(thing.shape), array.tobytes()]
    if isinstance(thing, list | tuple):
        return thing
    if isinstance(thing, set | frozenset):
        return sorted(fingerprint(item) for item in thing)
    if isinstance(thing, Mapping):
        return [part for item in thing.items() for part in item]
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, types.MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, types.FunctionType):
        closure = [cell.cell_contents for cell in thing.__closure__ or ()]
        return [_label(thing), thing.__code__, thing.__defaults__, thing.__kwdefaults__, closure, _read(thing)]
    if isinstance(thing, types.CodeType):
        return [thing.co_code, thing.co_consts, thing.co_names, thing.co_varnames, thing.co_freevars]
    if isinstance(thing, NAMED):
        return [getattr(thing, "__module__", ""), getattr(thing, "__qualname__", thing.__name__)]
    if dataclasses.is_dataclass(thing):
        held: Any = {field.name: getattr(thing, field.name, None) for field in dataclasses.fields(thing)}
    else:
        held = object.__getstate__(thing)  # attributes and slots, whatever its class makes of them for pickle
    if held is None:
        raise DataError(f"the content of {_label(type(thing))} cannot be told")
    return [_methods(type(thing)), held]


def _read(function: types.FunctionType) -> dict[str, Any]:
    """Plain values and functions of its own module that a function reads."""
    names: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names |= set(code.co_names)
        codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    found = {name: function.__globals__[name] for name in sorted(names & set(function.__globals__))}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, PLAIN)
        or (isinstance(value, types.FunctionType) and value.__module__ == function.__module__)
    }
