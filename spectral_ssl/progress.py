"""How long work tells its reader where it is: one channel, three listeners.

Library functions take ``progress: Progress = SILENT`` and say ``note("...")`` or open a ``task``; they never print.

    with progress.task("train vicreg", total=2000) as task:
        for step in ...:
            task.advance(text=f"loss {loss:.4g}")

The command line passes `choose(quiet)`: a live bar on a terminal, plain lines in a log file, nothing with ``--quiet``.
All of it goes to standard error, so standard output stays free for results.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    import rich.console
    import rich.progress

__all__ = ["SILENT", "Plain", "Progress", "Rich", "Silent", "Task", "choose"]


class Task(Protocol):
    """One piece of work under way."""

    def advance(self, n: int = 1, text: str = "") -> None:
        """`n` more units are done; `text` says how it stands (``loss 0.31``)."""


class Progress(Protocol):
    """Where work reports to."""

    def note(self, text: str) -> None:
        """One line worth reading, once."""

    def task(self, name: str, total: int | None = None) -> AbstractContextManager[Task]:
        """Open a piece of work of `total` units (None: unknown)."""


class Silent:
    """Says nothing: the default everywhere in the library."""

    def note(self, text: str) -> None:
        return

    @contextlib.contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Task]:
        yield _SilentTask()


class _SilentTask:
    def advance(self, n: int = 1, text: str = "") -> None:
        return


SILENT = Silent()


class Plain:
    """Plain lines on a stream: at most one every `interval` seconds per task, and one when the task is done."""

    def __init__(self, stream: TextIO, interval: float = 2.0) -> None:
        self.stream = stream
        self.interval = interval

    def note(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    @contextlib.contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Task]:
        task = _PlainTask(self, name, total)
        yield task
        task.say("done")  # not reached when the work raised: the error has the last word


class _PlainTask:
    def __init__(self, channel: Plain, name: str, total: int | None) -> None:
        self.channel = channel
        self.name = name
        self.total = total
        self.done = 0
        self.text = ""
        self.started = self.said = time.monotonic()

    def advance(self, n: int = 1, text: str = "") -> None:
        self.done += n
        self.text = text or self.text
        if time.monotonic() - self.said >= self.channel.interval:
            self.say(f"{self.done}/{self.total}" if self.total else str(self.done))

    def say(self, state: str) -> None:
        self.said = time.monotonic()
        tail = f", {self.text}" if self.text else ""
        self.channel.note(f"{self.name}: {state}{tail} ({self.said - self.started:.1f} s)")


class Rich:
    """Live bars on a terminal; they appear with the first open task and go when the last one closes."""

    def __init__(self, console: rich.console.Console | None = None) -> None:
        from rich.console import Console

        self.console = console or Console(stderr=True)
        self._bars: rich.progress.Progress | None = None
        self._open = 0

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    @contextlib.contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Task]:
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        if self._bars is None:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
            )
            self._bars.start()
        bars = self._bars
        self._open += 1
        row = bars.add_task(escape(name), total=total, text="")
        try:
            yield _RichTask(bars, row)
        finally:
            bars.remove_task(row)
            self._open -= 1
            if self._open == 0:
                bars.stop()
                self._bars = None


class _RichTask:
    def __init__(self, bars: rich.progress.Progress, row: rich.progress.TaskID) -> None:
        self._bars = bars
        self._row = row

    def advance(self, n: int = 1, text: str = "") -> None:
        if text:
            from rich.markup import escape

            self._bars.update(self._row, advance=n, text=escape(text))
        else:
            self._bars.advance(self._row, n)


def choose(quiet: bool = False) -> Progress:
    """The channel that suits where standard error goes."""
    if quiet:
        return SILENT
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Rich()
    return Plain(sys.stderr)
