"""The command line's machinery, on toy commands: what becomes an option, what is printed where, which exit code."""

import json
import os
import signal
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from spectral_ssl import cli
from spectral_ssl._version import __version__
from spectral_ssl.cli import COMMANDS, Entry, main
from spectral_ssl.errors import DataError, NotClosedForm, NumericalError, ResourceError, SpectralWarning
from spectral_ssl.progress import SILENT, Progress

ROOT = Path(__file__).parent.parent


def toy(
    *,
    data: str = "digits",
    n_components: int = 8,
    model: Literal["linear", "free"] = "linear",
    rates: Sequence[float] = (0.0, 0.5),
    invariance: float | None = None,
    normalized: bool = True,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Answer what was understood.

    A second paragraph: with a colon.

    Args:
        data: A name, or
            a file.
        n_components: How many.
        model: What is optimised: W or Z.
        rates: Corruption.
        invariance: Its weight.
        normalized (bool): Unit columns.
        seed: Of the random choices.
        out: Run directory.
        progress: Where work reports to.

    Returns:
        data: not an option.
    """
    progress.note("working")
    given = {key: value for key, value in locals().items() if key != "progress"}
    return {**given, "loss": float("nan"), "tables": {"t": [{"x": 1}]}}


def words(files: Sequence[str], first: int = 1, *, must: str) -> dict[str, Any]:
    """Take arguments.

    Args:
        files: Some files.
        first: Where to begin.
        must: Has no default.
    """
    return {"files": list(files), "first": first, "must": must}


def fail(*, kind: str) -> dict[str, Any]:
    """Fail.

    Args:
        kind: How.
    """
    if kind == "terminate":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    errors: dict[str, BaseException] = {
        "data": DataError("no such file"),
        "theory": NotClosedForm("hinge has none"),
        "numerical": NumericalError("did not converge"),
        "resource": ResourceError("needs 80 GB"),
        "memory": MemoryError(),
        "gpu": type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"),
        "interrupt": KeyboardInterrupt(),
        "disk": OSError(28, "No space left on device", "a.png"),
        "denied": PermissionError(13, "Permission denied", "a.png"),
        "bug": KeyError("mu"),
    }
    raise errors[kind]


def warn() -> dict[str, Any]:
    """Warn."""
    for _ in range(3):
        warnings.warn("2 samples are isolated", SpectralWarning, stacklevel=1)
    warnings.warn("overflow", RuntimeWarning, stacklevel=1)
    return {"ok": True}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setattr(
        cli,
        "COMMANDS",
        {
            "toy": Entry(f"{__name__}:toy", "A toy."),
            "words": Entry(f"{__name__}:words", "Arguments."),
            "fail": Entry(f"{__name__}:fail", "Fails."),
            "warn": Entry(f"{__name__}:warn", "Warns."),
            "group one": Entry(f"{__name__}:toy", "First of a group."),
            "group two": Entry("no.such.module:function", "Broken."),
        },
    )

    def render(payload: dict[str, Any], console: Any) -> None:
        console.print("rendered", *payload)

    monkeypatch.setitem(sys.modules, "spectral_ssl.report.tables", types.SimpleNamespace(render=render))

    def call(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        return (code, *capsys.readouterr())

    return call


Run = Callable[..., tuple[int, str, str]]


def answer(run: Run, *argv: str) -> dict[str, Any]:
    code, out, _ = run(*argv, "--json")
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


# ------------------------------------------------------------------------------------------- from words to arguments


def test_defaults_are_the_functions_own(run: Run) -> None:
    assert answer(run, "toy") == json.loads(json.dumps({**toy(), "loss": None}))


def test_every_kind_of_option(run: Run) -> None:
    found = answer(
        run, "toy", "--data", "a.csv", "--n-components=2", "--model", "free", "--rates", "0,0.25, 1",
        "--invariance", "0.5", "--no-normalized", "--seed", "7", "--out", "x/y",
    )  # fmt: skip
    expected = toy(data="a.csv", n_components=2, model="free", rates=(0, 0.25, 1), invariance=0.5, normalized=False)
    assert found == json.loads(json.dumps({**expected, "seed": 7, "out": "x/y", "loss": None}))
    assert answer(run, "toy", "--invariance", "none")["invariance"] is None


def test_positional_parameters_are_arguments(run: Run) -> None:
    assert answer(run, "words", "a", "b", "3", "--must", "x") == {"files": ["a", "b"], "first": 3, "must": "x"}
    code, _, err = run("words", "a", "1")
    assert (code, err) == (2, "error: --must must be given. See spectral-ssl words --help\n")
    code, _, err = run("words")
    assert code == 2
    assert "FILES" in err


def test_commands_of_a_group(run: Run) -> None:
    assert answer(run, "group", "one", "--seed", "3")["seed"] == 3
    code, out, _ = run("group")
    assert code == 0
    assert "First of a group." in out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["tyo"], "no such command 'tyo'; did you mean 'toy'? (known: fail, group, toy, warn, words)"),
        (["group", "on"], "no such command 'on'; did you mean 'one'?"),
        (["toy", "--n-component", "3"], "--n-components"),
        (["toy", "--progress", "x"], "--progress"),
        (["toy", "--n-components", "many"], "--n-components must be an integer, got 'many'"),
        (["toy", "--model", "lineer"], "--model must be one of linear, free, got 'lineer'"),
        (["toy", "--rates", "0,x"], "--rates must be a list, each a number, got '0,x'"),
        (["toy", "extra"], "extra"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_usage_errors_are_one_line_with_code_2(run: Run, argv: list[str], said: str) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_help_shows_types_defaults_and_docstring(run: Run) -> None:
    code, out, _ = run("toy", "--help")
    text = " ".join(out.split())
    assert code == 0
    for expected in (
        "Answer what was understood. A second paragraph: with a colon.",
        "--data TEXT A name, or a file. [default: digits]",
        "--n-components INTEGER How many. [default: 8]",
        "--model linear|free What is optimised: W or Z. [default: linear]",
        "--rates NUMBER,... Corruption. [default: 0.0,0.5]",
        "--invariance NUMBER Its weight.",
        "--normalized / --no-normalized Unit columns. [default: on]",
        "Common options: --seed INTEGER",
        "--out PATH Run directory.",
    ):
        assert expected in text
    assert "progress" not in text
    assert "not an option" not in text
    arguments = " ".join(run("words", "--help")[1].split())
    assert "Arguments: FILES... Some files. [FIRST] Where to begin. Options: --must TEXT" in arguments


def test_completion_offers_commands_options_and_choices(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def complete(line: str, place: int) -> str:
        monkeypatch.setenv("_SPECTRAL_SSL_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(place))
        with pytest.raises(SystemExit):
            main([])
        return capture()

    def capture() -> str:
        monkeypatch.delenv("_SPECTRAL_SSL_COMPLETE")
        return run("--version")[1]

    assert "plain,toy" in complete("spectral-ssl t", 1)
    assert "plain,--n-components" in complete("spectral-ssl toy --n", 2)
    assert "plain,free" in complete("spectral-ssl toy --model f", 3)


# ------------------------------------------------------------------------------------------------- configuration files


def test_flags_win_over_the_file_and_the_file_over_defaults(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('n-components = 3\nmodel = "free"\nrates = [1]\nnormalized = false\n')
    found = answer(run, "toy", "--config", str(tmp_path / "c.toml"), "--n-components", "8", "--normalized")
    assert (found["n_components"], found["model"], found["rates"], found["normalized"]) == (8, "free", [1.0], True)


def test_json_file_and_null(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"invariance": null, "n_components": 5, "data": "5"}')
    found = answer(run, "toy", "--config", str(tmp_path / "c.json"))
    assert (found["invariance"], found["n_components"], found["data"]) == (None, 5, "5")
    (tmp_path / "c.json").write_text('{"invariance": 0.5}')
    assert answer(run, "toy", "--config", str(tmp_path / "c.json"), "--invariance", "none")["invariance"] is None


def test_a_file_can_give_what_has_no_default(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"must": "x"}')
    assert answer(run, "words", "a", "1", "--config", str(tmp_path / "c.json"))["must"] == "x"


def test_the_record_of_a_run_repeats_it(run: Run, tmp_path: Path) -> None:
    record = {"schema": "spectral_ssl.run/1", "config": {"n_components": 3, "out": "old", "invariance": None}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    found = answer(run, "toy", "--config", str(tmp_path / "run.json"))
    assert (found["n_components"], found["out"]) == (3, None)


def test_a_record_fills_arguments_and_gives_another_command_what_it_has(run: Run, tmp_path: Path) -> None:
    record = {
        "schema": "spectral_ssl.run/1",
        "command": "words",
        "config": {"files": ["a", "b"], "first": 4, "must": "x"},
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    file = str(tmp_path / "run.json")
    assert answer(run, "words", "--config", file) == {"files": ["a", "b"], "first": 4, "must": "x"}
    assert answer(run, "words", "c", "5", "--config", file) == {"files": ["c"], "first": 5, "must": "x"}
    code, _, err = run("words", "--must", "x")
    assert (code, err) == (2, "error: FILES must be given. See spectral-ssl words --help\n")
    record = {"schema": "spectral_ssl.run/1", "command": "words", "config": {"n_components": 3, "must": "x"}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert answer(run, "toy", "--config", file)["n_components"] == 3  # "must" is no option of toy
    assert answer(run, "group", "one", "--config", file)["n_components"] == 3
    (tmp_path / "run.json").write_text(json.dumps(record | {"command": "group one"}))
    code, _, err = run("group", "one", "--config", file)  # its own record says what it cannot repeat
    assert code == 2
    assert "there is no option 'must'" in err


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.json", '{"n_component": 3}', "there is no option 'n_component'; did you mean 'n_components'"),
        ("c.json", '{"progress": 3}', "there is no option 'progress'"),
        ("c.json", '{"n_components": "3"}', "n_components must be an integer, got '3'"),
        ("c.json", '{"n_components": null}', "n_components must be an integer, got None"),
        ("c.toml", "rates = 1", "rates must be a list, each a number, got 1"),
        ("c.toml", "[toy]\nseed = 1", "there is no option 'toy'"),
        ("c.json", "seed = 1", "not valid JSON (a TOML file must be named *.toml)"),
        ("c.toml", "{", "not valid TOML"),
        ("c.json", "[1]", "must hold option values by name"),
        ("c.json", "\xff", "not valid JSON"),
        (None, "", "cannot read the file"),
    ],
)
def test_bad_files_are_data_errors(run: Run, tmp_path: Path, name: str | None, text: str, said: str) -> None:
    if name:
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    code, _, err = run("toy", "--config", str(tmp_path / (name or "none.json")))
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


# ------------------------------------------------------------------------------------------------ what goes where


def test_json_alone_on_standard_output(run: Run) -> None:
    code, out, err = run("toy", "--json")
    assert code == 0
    assert json.loads(out)["loss"] is None  # NaN is not JSON
    assert err == "working\n"


def test_quiet(run: Run) -> None:
    assert run("toy", "--json", "--quiet")[2] == ""


def test_tables_are_rendered_for_people(run: Run) -> None:
    code, out, _ = run("toy")
    assert code == 0
    assert out.split()[:3] == ["rendered", "data", "n_components"]


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("data", 2, "no such file"),
        ("theory", 2, "hinge has none"),
        ("numerical", 3, "did not converge"),
        ("resource", 4, "needs 80 GB"),
        ("memory", 4, "out of memory"),
        ("gpu", 4, "out of memory (CUDA out of memory)"),
        ("interrupt", 130, "interrupted"),
        ("terminate", 130, "interrupted"),
        ("disk", 4, "No space left on device: a.png"),
        ("denied", 2, "Permission denied: a.png"),
        ("bug", 1, "KeyError: 'mu'. This is a bug in spectral_ssl"),
    ],
)
def test_exit_codes(run: Run, kind: str, code: int, said: str) -> None:
    found, out, err = run("fail", "--kind", kind)
    assert (found, out) == (code, "")
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1
    found, out, err = run("fail", "--kind", kind, "--json", "--debug")
    details = json.loads(out)["error"]
    assert found == code == details["exit_code"]
    assert said in details["message"]
    assert "Traceback" in err


def test_signals_are_as_they_were_afterwards(run: Run) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run("toy", "--json")
    assert signal.getsignal(signal.SIGTERM) is before


def test_usage_errors_as_json(run: Run) -> None:
    code, out, _ = run("toy", "--json", "--nonsense")
    assert code == json.loads(out)["error"]["exit_code"] == 2


def test_a_broken_command_is_a_bug_not_a_usage_error(run: Run) -> None:
    code, _, err = run("group", "two")
    assert code == 1
    assert "ModuleNotFoundError" in err


def test_warnings_are_one_line_each_once(run: Run) -> None:
    code, out, err = run("warn", "--json")
    assert (code, json.loads(out)) == (0, {"ok": True})
    lines = err.splitlines()
    assert lines[0] == "warning: 2 samples are isolated"
    assert lines[1].startswith("warning: RuntimeWarning: overflow (")
    assert len(lines) == 2


# --------------------------------------------------------------------------------------------- in a process of its own


def spectral_ssl(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spectral_ssl", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False, **options)


def test_version() -> None:
    done = spectral_ssl("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"spectral-ssl {__version__}\n", "")


@pytest.mark.parametrize("argv", [[], ["--help"], ["--version"], ["runs"], ["runs", "list", "--help"]])
def test_quick_commands_import_nothing_heavy(argv: list[str]) -> None:
    program = (
        "import sys; from spectral_ssl.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'sklearn', 'scipy', 'networkx', 'matplotlib'};"
        "print(heavy & set(sys.modules), file=sys.stderr);"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", program, *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "set()\n")
    assert done.stdout


def test_runs_end_to_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    record = {
        "schema": "spectral_ssl.run/1", "command": "compare", "status": "done", "created": "2026-01-31T00:00:00+00:00",
        "config": {"seed": 0}, "files": [], "result": {"loss": 0.5},
    }  # fmt: skip
    (tmp_path / "a" / "run.json").write_text(json.dumps(record))
    done = spectral_ssl("runs", "list", "--root", str(tmp_path), "--json")
    assert [row["run"] for row in json.loads(done.stdout)["runs"]] == ["a"]
    done = spectral_ssl("runs", "remove", "a", "--root", str(tmp_path), stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "add --yes" in done.stderr
    done = spectral_ssl("runs", "remove", "a", "--root", str(tmp_path), "--yes", "--json")
    assert json.loads(done.stdout)["removed"] == [str(tmp_path / "a")]
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(os.name == "nt", reason="pipes break differently on Windows")
def test_a_reader_who_leaves_early_is_not_an_error() -> None:
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        command = [sys.executable, "-m", "spectral_ssl", "runs", "list", "--root", "/nowhere", "--json"]
        done = subprocess.run(
            command, stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=120, cwd=ROOT, check=False, env=buffered
        )
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------------------------------------- the real commands


def test_experiments_are_a_group_with_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    experiments = [name.removeprefix("experiment ") for name in COMMANDS if name.startswith("experiment ")]
    assert len(experiments) >= 10
    for argv in (["experiment"], ["experiment", "--help"]):
        assert main(argv) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert cli.GROUPS["experiment"] in shown
        assert all(name in shown for name in experiments)
    assert main(["experiment", "hinges"]) == 2
    assert "no such command 'hinges'; did you mean 'hinge'?" in capsys.readouterr().err
    assert main(["experiment", "hinge", "--rato", "2"]) == 2
    assert "--ratio" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_called_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    command = cli._command(name, COMMANDS[name])
    assert command.help
    for parameter in command.params:
        text = getattr(parameter, "description", None) or getattr(parameter, "help", None) or ""
        assert text.split(" [default")[0], f"{name}: {parameter.name} has no line under Args:"
        assert (parameter.opts[0] if parameter.opts[0].startswith("--") else str(parameter.name).upper()) in shown
