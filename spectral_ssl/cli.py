"""The command ``spectral-ssl``, generated from Python functions.

A command is a plain function and one line of `COMMANDS`. Its keyword-only parameters become options, its positional
ones arguments; annotations give the types, the docstring's ``Args:`` the help. A parameter called ``progress`` is
handed in and is no option. The function returns a dictionary ready for JSON, which is printed as tables or, with
``--json``, as it is.

A command's module is imported when that command is called, so ``--version`` and ``--help`` stay quick.

Exit codes: 0 done, 1 a bug in spectral_ssl, 2 usage or data, 3 a computation failed, 4 memory or disk, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import importlib
import inspect
import json
import os
import re
import signal
import sys
import threading
import tomllib
import traceback
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from spectral_ssl._version import __version__
from spectral_ssl.errors import DataError, SpectralSSLError, SpectralWarning, did_you_mean
from spectral_ssl.spec import Option, coerce, from_text, metavar, options_of

__all__ = ["COMMANDS", "main"]

PROGRAM = "spectral-ssl"
PIPED_WIDTH = 120  # columns of tables that go to a file or a pipe
ABOUT = (
    "Say in closed form what SimCLR, VICReg and Barlow Twins will learn from data and a relation between samples, then "
    "train the real losses and show the gap."
)


class Entry(NamedTuple):
    target: str  # "module:function", imported when the command is called
    summary: str  # its line in the list of commands


COMMANDS: dict[str, Entry] = {
    "demo": Entry("spectral_ssl.experiments:demo", "The whole story on embedded data, offline."),
    "explain": Entry("spectral_ssl.experiments:explain", "Dry run: the relation's health, solver, memory and time."),
    "compare": Entry("spectral_ssl.experiments:compare_methods", "Closed form against trained, method by method."),
    "path": Entry(
        "spectral_ssl.experiments.path:path",
        "A method along its hyper-parameter: rank, loss, best value, from one solve.",
    ),
    "audit": Entry("spectral_ssl.experiments:audit", "Which closed form a representation is, and how far from each."),
    "align": Entry("spectral_ssl.experiments.align:align", "Wrong pairs, few labels: which method, which invariance."),
    "alpha": Entry("spectral_ssl.experiments.alpha_cl:alpha", "alpha-CL: which negatives count, and is it PCA?"),
    "forecast": Entry("spectral_ssl.experiments.forecast:forecast", "Relations ranked before any is trained on."),
    "bounds": Entry(
        "spectral_ssl.experiments.surrogate:bounds", "What the contrastive risk says of classifiers, by negatives."
    ),
    "converge": Entry(
        "spectral_ssl.experiments.convergence:converge", "Gradient descent of wide encoders against its envelopes."
    ),
    "augment": Entry(
        "spectral_ssl.experiments.augmentation:augment",
        "Augmentation sets ranked by 1 - sigma; certificates of the error.",
    ),
    "experiment batch-size": Entry(
        "spectral_ssl.experiments.practice:batch_size", "Excess of minibatch training by batch size."
    ),
    "experiment minibatch-bias": Entry(
        "spectral_ssl.experiments.practice:minibatch_bias",
        "Where the minibatch optimum itself sits.",
    ),
    "experiment branches": Entry(
        "spectral_ssl.experiments.branches:branches", "Covariances per branch against pooled ones."
    ),
    "experiment hinge": Entry(
        "spectral_ssl.experiments.regimes:hinge", "The hinge on the variance against its square."
    ),
    "experiment normalisation": Entry(
        "spectral_ssl.experiments.regimes:normalisation", "Unit rows, BatchNorm, standardised inputs."
    ),
    "experiment projector-width": Entry(
        "spectral_ssl.experiments.projector:projector_width",
        "Excess, rank and probes by projector width.",
    ),
    "experiment linearisation": Entry(
        "spectral_ssl.experiments.infonce:linearisation", "InfoNCE near a uniform relation."
    ),
    "experiment frobenius-warm-start": Entry(
        "spectral_ssl.experiments.infonce:frobenius_warm_start", "The Frobenius solution under exact InfoNCE."
    ),
    "experiment temperature-rank": Entry(
        "spectral_ssl.experiments.temperature:temperature_rank", "Rank of SimCLR's certified optimum by temperature."
    ),
    "experiment alpha-alternation": Entry(
        "spectral_ssl.experiments.alternation:alpha_alternation",
        "alpha and PCA answer each other: cycles, and what damping mends.",
    ),
    "experiment price-of-dimension": Entry(
        "spectral_ssl.experiments.infonce:price_of_dimension", "What K dimensions cost InfoNCE, with proven bounds."
    ),
    "experiment convergence-negatives": Entry(
        "spectral_ssl.experiments.convergence_studies:convergence_negatives", "Wide encoders by their negatives."
    ),
    "experiment convergence-widths": Entry(
        "spectral_ssl.experiments.convergence_studies:convergence_widths", "Envelope, kernel and motion by width."
    ),
    "experiment alpha-relu": Entry(
        "spectral_ssl.experiments.composition:alpha_relu", "Two-layer ReLU nets: composition, ranks, symbols covered."
    ),
    "reproduce E1": Entry(
        "spectral_ssl.experiments.reproduce.closed_form:agreement",
        "Trained against closed form: four losses, an irregular graph.",
    ),
    "reproduce E2": Entry(
        "spectral_ssl.experiments.reproduce.invariance:gamma_path",
        "VICReg's invariance path, and SimCLR's place on it.",
    ),
    "reproduce E3": Entry(
        "spectral_ssl.experiments.reproduce.ranks:rank_by_method", "Ranks on ever noisier label pairs."
    ),
    "reproduce E4": Entry(
        "spectral_ssl.experiments.reproduce.mixing:misalignment", "Probe error from aligned to misaligned pairs."
    ),
    "reproduce E5": Entry(
        "spectral_ssl.experiments.reproduce.low_data:few_labels", "Few labels and noisy ones: peak and ridge risk."
    ),
    "reproduce E6": Entry(
        "spectral_ssl.experiments.reproduce.hinge:hinge_spectrum", "Covariance under the hinge, by its weight."
    ),
    "reproduce E7": Entry(
        "spectral_ssl.experiments.reproduce.redundancy:redundancy_sweep",
        "Barlow Twins' redundancy, and collapse at small lambda K.",
    ),
    "reproduce E8": Entry(
        "spectral_ssl.experiments.reproduce.stepwise:stepwise_learning", "Stepwise learning from small starts."
    ),
    "reproduce E9": Entry(
        "spectral_ssl.experiments.reproduce.practice:batch_bias", "Minibatches of augmented digits: bias by batch size."
    ),
    "reproduce bounds-curves": Entry(
        "spectral_ssl.experiments.reproduce.surrogate_curves:bound_curves",
        "The surrogate gap without data: optimal values, rivals' coefficients.",
    ),
    "reproduce bounds-trajectories": Entry(
        "spectral_ssl.experiments.reproduce.surrogate_training:bound_trajectories",
        "Both risks in training, inside the band, for every K.",
    ),
    "reproduce augmentation-richness": Entry(
        "spectral_ssl.experiments.reproduce.augmentation:richness",
        "1 - sigma and errors as transforms are added, and over pairs of them.",
    ),
    "reproduce augmentation-strength": Entry(
        "spectral_ssl.experiments.reproduce.augmentation:strength",
        "1 - sigma and errors as a transform grows stronger.",
    ),
    "reproduce alpha-cifar10": Entry(
        "spectral_ssl.experiments.reproduce.images:alpha_cifar10", "alpha-CL's rules against InfoNCE on CIFAR-10 files."
    ),
    "reproduce alpha-cifar100": Entry(
        "spectral_ssl.experiments.reproduce.images:alpha_cifar100", "The same on CIFAR-100 files."
    ),
    "reproduce alpha-stl10": Entry(
        "spectral_ssl.experiments.reproduce.images:alpha_stl10", "The same on STL-10 files, unlabelled images included."
    ),
    "runs list": Entry("spectral_ssl.runs:runs_list", "List the runs in a directory."),
    "runs show": Entry("spectral_ssl.runs:runs_show", "Show one run: configuration, state, tables."),
    "runs compare": Entry("spectral_ssl.runs:runs_compare", "Compare two runs, number by number."),
    "runs remove": Entry("spectral_ssl.runs:runs_remove", "Delete runs."),
}
GROUPS: dict[str, str] = {
    "experiment": "How practice departs from theory, measured: the closed form is the zero line of every figure.",
    "reproduce": "Shapes that the closed forms predict, beside what is measured on data of our own: was each seen?",
    "runs": "List, show, compare and remove run directories.",
}


# ------------------------------------------------------------------------------------------------ running a command


@dataclasses.dataclass(frozen=True)
class Job:
    """A command line, understood."""

    function: Callable[..., Mapping[str, Any]]
    arguments: dict[str, Any]
    as_json: bool
    quiet: bool

    def run(self) -> None:
        from spectral_ssl.progress import choose

        extra = {"progress": choose(self.quiet)} if "progress" in options_of(self.function) else {}
        payload = self.function(**self.arguments, **extra)
        if self.as_json:
            from spectral_ssl.runs import to_jsonable

            print(json.dumps(to_jsonable(payload), allow_nan=False, indent=2, ensure_ascii=False))
        else:
            from rich.console import Console

            from spectral_ssl.report.tables import render

            render(payload, Console(width=None if sys.stdout.isatty() else PIPED_WIDTH))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and answer its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        with _one_line_warnings(), _terminate_as_interrupt():
            job = _group().main(words, prog_name=PROGRAM, standalone_mode=False)
            if isinstance(job, Job):  # otherwise --help or --version: printed already
                job.run()
            sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again at exit
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in words:
            traceback.print_exception(error)
        code, message = _explain(error)
        print(f"error: {message}", file=sys.stderr)
        if "--json" in words:
            details = {"type": type(error).__name__, "message": message, "exit_code": code}
            print(json.dumps({"error": details}, indent=2, ensure_ascii=False))
        return code


def _explain(error: BaseException) -> tuple[int, str]:
    """Exit code and sentence of an error."""
    if isinstance(error, SpectralSSLError):
        return error.exit_code, str(error)
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else PROGRAM
        return 2, f"{error.format_message()} See {command} --help"
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return 130, "interrupted"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        return 4, f"out of memory ({error or 'an allocation failed'}); use fewer samples or a smaller batch"
    if isinstance(error, OSError) and error.errno is not None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return 4 if full else 2, f"{error.strerror}: {error.filename or 'no file named'}"
    report = "This is a bug in spectral_ssl: please report it with what --debug shows"
    return 1, f"{type(error).__name__}: {error}. {report}"


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Let a batch system's SIGTERM end a run as Ctrl-C does: the record says so and finished parts are kept."""
    if threading.current_thread() is not threading.main_thread():  # the only one that may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Warnings as ``warning: ...`` on standard error, each text once."""
    seen: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        ours = issubclass(category, SpectralWarning)
        text = str(message) if ours else f"{category.__name__}: {message} ({filename}:{lineno})"
        if text not in seen:
            seen.add(text)
            print(f"warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", SpectralWarning)
        warnings.showwarning = show
        yield


# --------------------------------------------------------------------------------------- from functions to commands


class _Group(click.Group):
    """A list of commands that imports a command's module only when that command is called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no such command {name!r}; {did_you_mean(name, self.commands)}.", ctx)
        found, command, rest = super().resolve_command(ctx, args)
        if isinstance(command, _Stub):
            command = _command(name, command.entry)
        return found, command, rest


class _Stub(click.Command):
    """A command's line in the list."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.summary)
        self.entry = entry


def _group(path: str = "") -> _Group:
    commands: dict[str, click.Command] = {}
    for full_name, entry in COMMANDS.items():
        head, _, tail = full_name.removeprefix(path).partition(" ")
        if full_name.startswith(path) and head not in commands:
            commands[head] = _group(f"{path}{head} ") if tail else _Stub(head, entry)
    group = _Group(path.strip() or PROGRAM, commands=commands, help=GROUPS.get(path.strip(), ABOUT))
    if not path:
        group = click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")(group)
    return group


class _Command(click.Command):
    """Help in two parts: what is particular to this command, and what all commands share."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], "Common options": []}
        for param in self.get_params(ctx):
            if isinstance(param, _Argument):
                rows["Arguments"].append((param.make_metavar(ctx), param.description))
            elif record := param.get_help_record(ctx):
                rows["Common options" if param.opts[0] in COMMON else "Options"].append(record)
        for title, lines in rows.items():
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)


class _Argument(click.Argument):
    """An argument with a help text (click has had its own since 8.5)."""

    def __init__(self, name: str, description: str, **attributes: Any) -> None:
        super().__init__([name], **attributes)
        self.description = description


class _Value(click.ParamType):  # type: ignore[type-arg]  # generic for type checkers only, and only since click 8.5
    """Text read by a parameter's annotation."""

    name = "value"

    def __init__(self, hint: Any) -> None:
        self.hint = hint

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        place = param.get_error_hint(ctx) if param and ctx else "value"
        return from_text(value, self.hint, place.strip("'"))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        words = metavar(self.hint).split("|")
        return [CompletionItem(word) for word in words if not word.isupper() and word.startswith(incomplete)]


COMMON = ("--seed", "--out", "--config", "--json", "--quiet", "--debug", "--help")  # mean the same in every command


def _command(name: str, entry: Entry) -> click.Command:
    """The command made from the signature and docstring of a function."""
    module, _, attribute = entry.target.partition(":")
    function: Callable[..., Mapping[str, Any]] = getattr(importlib.import_module(module), attribute)
    text, helps = read_docstring(inspect.getdoc(function) or "")
    options = {key: option for key, option in options_of(function).items() if key != "progress"}
    switches: list[click.Parameter] = [
        click.Option(["--config"], metavar="FILE", help="Read options from JSON, TOML or a run's run.json; flags win."),
        click.Option(["--json"], is_flag=True, help="Print the result as JSON; the rest goes to standard error."),
        click.Option(["--quiet"], is_flag=True, help="Say nothing while working."),
        click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."),
    ]

    @click.pass_context
    def understand(
        ctx: click.Context, /, config: str | None, json: bool, quiet: bool, debug: bool, **values: Any
    ) -> Job:
        # Only understood here, run later: click would put its own words to Ctrl-C and broken pipes.
        arguments = read_config(Path(config), options, ctx.command_path.removeprefix(f"{PROGRAM} ")) if config else {}
        for key, value in values.items():
            if ctx.get_parameter_source(key) is ParameterSource.COMMANDLINE:
                arguments[key] = value
        missing = [
            key.upper() if option.positional else _flag(key)
            for key, option in options.items()
            if option.required and key not in arguments
        ]
        if missing:
            raise click.UsageError(f"{', '.join(missing)} must be given.", ctx)
        return Job(function, arguments, as_json=json, quiet=quiet)

    return _Command(
        name,
        callback=understand,
        params=[*(_parameter(option, helps.get(option.name, "")) for option in options.values()), *switches],
        help=text,
    )


def _parameter(option: Option, help: str) -> click.Parameter:
    """One argument or option. Defaults are only shown here: what is not given is left to the function."""
    placeholder = metavar(option.hint)
    if not placeholder:
        raise TypeError(f"the annotation of parameter {option.name!r} has no part that can be written as text")
    if option.positional:
        several = placeholder.endswith(",...")  # a list is given as several words
        hint = typing.get_args(option.hint)[0] if several else option.hint
        nargs = -1 if several else 1
        # never required by click: a configuration file may give it
        shown = option.name.upper() + "..." * several
        shown = shown if option.required else f"[{shown}]"
        return _Argument(option.name, help, type=_Value(hint), nargs=nargs, required=False, metavar=shown)
    if not (option.required or option.default is None):
        help = f"{help} [default: {_shown(option.default)}]".lstrip()
    if placeholder == "BOOLEAN":
        return click.Option([f"{_flag(option.name)}/--no-{_flag(option.name)[2:]}"], default=None, help=help)
    return click.Option([_flag(option.name)], type=_Value(option.hint), metavar=placeholder, help=help)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return ",".join(map(str, default)) if isinstance(default, list | tuple) else str(default)


def read_docstring(docstring: str) -> tuple[str, dict[str, str]]:
    """(text before the first section, the lines of ``Args:`` by parameter)."""
    text, *sections = re.split(r"^(\w[\w ]*):\n(?=[ \t])", docstring, flags=re.MULTILINE)
    found = dict(zip(sections[::2], sections[1::2], strict=True)).get("Args", "")
    entries = re.findall(r"^(\w+)(?: \([^)\n]*\))?: *(.*(?:\n[ \t]+.*)*)", inspect.cleandoc(found), flags=re.MULTILINE)
    return text.strip(), {name: " ".join(words.split()) for name, words in entries}


def read_config(path: Path, options: Mapping[str, Option], command: str) -> dict[str, Any]:
    """Option values from a JSON or TOML file, checked against the annotations.

    The record of a run (run.json) counts as its configuration, so that a run can be repeated; where it wrote to
    (``out``) is left to the new run. Of another command's run the options that this command has are taken.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise DataError(f"--config {path}: cannot read the file ({error.strerror})") from None
    except ValueError as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON (a TOML file must be named *.toml)"
        raise DataError(f"--config {path}: not valid {kind}: {error}") from None
    if isinstance(content, dict) and str(content.get("schema", "")).startswith("spectral_ssl.run/"):
        other = content.get("command") != command
        content = content.get("config")
        if isinstance(content, dict):
            content = {k: v for k, v in content.items() if k != "out" and not (other and k not in options)}
    if not isinstance(content, dict):
        raise DataError(f'--config {path}: must hold option values by name, such as {{"seed": 0}}')
    values = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in options:
            raise DataError(f"--config {path}: there is no option {key!r}; {did_you_mean(key, options)}")
        values[name] = coerce(value, options[name].hint, f"--config {path}: {key}")
    return values
