"""The command line. Each command imports the heavy packages that it uses."""

from __future__ import annotations

import atexit
import gc
import os
import sys

from cyclopts import CycloptsError

from commoncanvas.cli.arena_statistics import app as arena_app
from commoncanvas.cli.catalog import app as catalog_app
from commoncanvas.cli.compare import compare
from commoncanvas.cli.credentials import credentials
from commoncanvas.cli.evaluate import evaluate
from commoncanvas.cli.memorisation import memorisation, sources
from commoncanvas.cli.models import app
from commoncanvas.cli.release import app as release_app
from commoncanvas.cli.searching import index, search
from commoncanvas.cli.serve import serve
from commoncanvas.cli.studies import app as studies_app
from commoncanvas.cli.takedown import takedown
from commoncanvas.core.console import say
from commoncanvas.core.errors import CommonCanvasError, TrainingStopped
from commoncanvas.core.extras import missing_extra
from commoncanvas.core.files import why, with_remedy

__all__ = ["app", "main"]

DEBUG = "COMMONCANVAS_DEBUG"

app.command(arena_app)
catalog_app.command(takedown)
app.command(catalog_app)
catalog_app.command(index)
catalog_app.command(search)
app.command(release_app)
app.command(credentials)
app.command(compare)
app.command(evaluate)
app.command(memorisation)
app.command(sources)
app.command(serve)
app.command(studies_app)


def main() -> None:
    """Run the command line. A user's error is one line on stderr, with exit code 2; `--debug` shows the traceback."""
    # Hide the libraries' own progress bars and advice: they are for developers.
    for name, value in {
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "critical",  # it raises its errors as exceptions too
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }.items():
        os.environ.setdefault(name, value)
    # At the end, the garbage collector would look at every object of the libraries once more: a second for torch's.
    atexit.register(gc.freeze)
    words = sys.argv[1:]
    if "--debug" in words:
        os.environ[DEBUG] = "1"  # the demo's child processes read it too
    words = [word for word in words if word != "--debug"]
    try:
        app(words, exit_on_error=False, print_error=False)
    except TrainingStopped as stopped:
        say(str(stopped))
        sys.exit(128 + stopped.signal)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader (`| head`) closed the pipe: don't flush to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (CommonCanvasError, CycloptsError, ModuleNotFoundError, OSError) as error:
        named = missing_extra(error) if isinstance(error, ModuleNotFoundError) else error
        if named is None or os.environ.get(DEBUG):
            raise
        say(f"commoncanvas: {_message(named)}", style="red")
        sys.exit(2)


def _message(error: Exception) -> str:
    if isinstance(error, OSError):
        if error.filename is not None:
            # A file that is missing, can't be written, or has the name of a folder to be made.
            return f"{error.filename}: {why(error)}"
        if ".rs:" in str(error):
            from commoncanvas.table.lance_errors import reason

            return reason(error)
        return with_remedy(str(error))
    return str(error) or type(error).__name__
