"""Output on the terminal: progress bars and notices go to stderr, results to stdout."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import StringIO
from typing import IO, TYPE_CHECKING, Any

from commoncanvas.core.text import counted, one_line, visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.progress import Progress, Task, TaskID


def console(file: IO[str] | None = None) -> Console:
    """The terminal. It prints plain text: markup is not interpreted."""
    from rich.console import Console

    return Console(
        file=file or sys.stderr, highlight=False, markup=False, emoji=False, soft_wrap=file is None
    )


def say(text: str, *, title: str = "", style: str = "") -> None:
    """Print `title` and `text` as one line on stderr. Markup and control characters in them have no effect."""
    from rich.text import Text

    words = [(one_line(title, None), "bold cyan"), (one_line(text, None), style)]
    console().print(Text(" ").join(Text(word, how) for word, how in words if word))


NOTEBOOK_WIDTH = 120
"""Characters of a line in a notebook."""


def print_table(shown: RenderableType, file: IO[str] | None = None) -> None:
    """Print a rendered report on stdout, or to `file`. Control characters in it are replaced."""
    console(file or sys.stdout).print(_Visible(shown), crop=False)


@dataclass(frozen=True, repr=False)
class Printed(ABC):
    """A command's result, as a dataclass. Python's `print` and prompt show the same table as the terminal."""

    def to_dict(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return asdict(self)

    @abstractmethod
    def render(self) -> RenderableType:
        """The table that the terminal shows."""

    def __str__(self) -> str:
        written = StringIO()
        print_table(self.render(), written)
        return "\n".join(line.rstrip() for line in written.getvalue().rstrip().split("\n"))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from rich.console import Console

        recorder = Console(file=StringIO(), record=True, width=NOTEBOOK_WIDTH, highlight=False, markup=False)
        recorder.print(_Visible(self.render()), crop=False)
        return recorder.export_html(
            inline_styles=True, code_format='<pre style="white-space: pre">{code}</pre>'
        )


class _Visible:
    def __init__(self, shown: RenderableType) -> None:
        self.shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        for segment in console.render(self.shown, options):
            yield Segment(visible(segment.text), segment.style, segment.control)


class Bar:
    """One running progress bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, count: int = 1) -> None:
        self._progress.advance(self._task, count)

    def note(self, text: str) -> None:
        """Show `text`, such as a loss or a number of failures, at the end of the bar."""
        self._progress.update(self._task, note=one_line(text))


def rate(per_s: float, unit: str) -> str:
    """Format a rate; `unit` is a plural: 146 images/s, 2.5 steps/s, 4.0 s/step."""
    if 0 < per_s < 1:
        return f"{1 / per_s:,.1f} s/{unit.removesuffix('s')}"
    return f"{per_s:,.{1 if 0 < per_s < 10 else 0}f} {unit}/s"


@contextmanager
def progress(
    description: str, total: int | None, unit: str = "images", completed: int = 0, shown: bool = True
) -> Iterator[Bar]:
    """A bar with count, rate and time left; if stderr is not a terminal, one summary line at the end.

    `completed`: items that an earlier run finished. `shown=False` prints nothing.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(rate(task.finished_speed or task.speed or 0.0, unit), style="cyan")

    screen = console()
    began = time.monotonic()
    bar = Progress(
        TextColumn("{task.description:<12}", style="bold", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=screen,
        disable=not (shown and screen.is_terminal),
    )
    with bar:
        task = bar.add_task(one_line(description), total=total, completed=completed, note="")
        yield Bar(bar, task)
        state = bar.tasks[0]
    if shown and not screen.is_terminal:
        seconds = time.monotonic() - began
        done = state.completed - completed
        speed = rate(done / seconds if seconds else 0.0, unit)
        note = f"  {state.fields['note']}" if state.fields["note"] else ""
        say(f"{description}: {counted(round(done), unit)} in {seconds:,.1f} s ({speed}){note}")
