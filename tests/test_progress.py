"""Progress: every listener hears the same work, and none of it reaches standard output."""

import io
import sys

import pytest
from rich.console import Console

from spectral_ssl.progress import SILENT, Plain, Progress, Rich, Silent, choose


def work(progress: Progress) -> None:
    progress.note("the relation has 3 components")
    with progress.task("train [vicreg]", total=3) as task:
        for step in range(3):
            task.advance(text=f"loss {step}")
    with progress.task("search") as task:
        task.advance(5)


def test_silent_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    work(SILENT)
    assert capsys.readouterr() == ("", "")


def test_plain_lines_are_limited_in_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 2.5, 2.5, 3.0, 4.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    with Plain(stream, interval=2.0).task("train", total=10) as task:
        task.advance(text="loss 3")  # at 1.0: too early
        task.advance(4, text="loss 2")  # at 2.5: a line
        task.advance()  # at 3.0: too early again
    assert stream.getvalue() == "train: 5/10, loss 2 (2.5 s)\ntrain: done, loss 2 (4.0 s)\n"


def test_plain_without_a_total_counts() -> None:
    stream = io.StringIO()
    with Plain(stream, interval=0.0).task("search") as task:
        task.advance(5)
    assert stream.getvalue().startswith("search: 5 (")


def test_plain_does_not_call_failed_work_done() -> None:
    stream = io.StringIO()
    with pytest.raises(ZeroDivisionError), Plain(stream).task("train"):
        raise ZeroDivisionError
    assert stream.getvalue() == ""


def test_rich_shows_the_work_and_clears_it() -> None:
    stream = io.StringIO()
    progress = Rich(Console(file=stream, force_terminal=True, width=100))
    progress.note("the [relation] has 3 components")
    with progress.task("train [vicreg]", total=3) as task:
        task.advance(2, text="loss [red]")
        assert progress._bars is not None
        progress._bars.refresh()  # the display draws itself ten times a second; this test does not wait for it
    for words in ("the [relation] has 3 components", "train [vicreg]", "2/3", "loss [red]"):
        assert words in stream.getvalue()
    work(progress)
    assert progress._bars is None


def test_rich_shares_one_display_between_open_tasks() -> None:
    progress = Rich(Console(file=io.StringIO(), force_terminal=True))
    with progress.task("outer", total=2):
        outer = progress._bars
        with pytest.raises(ZeroDivisionError), progress.task("inner"):
            raise ZeroDivisionError
        assert progress._bars is outer  # a second live display would be an error of rich
        assert outer is not None
        assert len(outer.tasks) == 1
    assert progress._bars is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_channel_suits_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(choose(), Rich)
    assert isinstance(choose(quiet=True), Silent)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(choose(), Plain)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(choose(), Plain)


def test_plain_goes_to_standard_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    work(choose())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "the relation has 3 components"
