"""The command line. Heavy packages are imported by the commands that use them."""

from __future__ import annotations

import os
import sys

from cyclopts import CycloptsError

from commoncanvas.cli.catalog import app as catalog_app
from commoncanvas.cli.models import app
from commoncanvas.cli.studies import app as studies_app
from commoncanvas.core.console import say
from commoncanvas.core.errors import CommonCanvasError, TrainingStopped
from commoncanvas.core.files import why, with_remedy

__all__ = ["app", "main"]

DEBUG = "COMMONCANVAS_DEBUG"

app.command(catalog_app)
app.command(studies_app)


def main() -> None:
    """Run the command line; a user's error is one line on stderr and exit code 2 (`--debug` shows the traceback)."""
    # The libraries' own bars and advice are for their developers.
    for name, value in {
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "critical",  # its errors come as exceptions too
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }.items():
        os.environ.setdefault(name, value)
    words = sys.argv[1:]
    if "--debug" in words:
        os.environ[DEBUG] = "1"  # for the processes of the demo's stages too
    words = [word for word in words if word != "--debug"]
    try:
        app(words, exit_on_error=False, print_error=False)
    except TrainingStopped as stopped:
        say(str(stopped))
        sys.exit(128 + stopped.signal)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; nothing is left to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (CommonCanvasError, CycloptsError, OSError) as error:
        if os.environ.get(DEBUG):
            raise
        say(f"commoncanvas: {_message(error)}", style="red")
        sys.exit(2)


def _message(error: Exception) -> str:
    if isinstance(error, OSError):
        if error.filename is not None:
            # A file that isn't there, can't be written, or is in the way of a folder.
            return f"{error.filename}: {why(error)}"
        if ".rs:" in str(error):
            from commoncanvas.table.lance_errors import reason

            return reason(error)
        return with_remedy(str(error))
    return str(error) or type(error).__name__
