"""Exceptions on their way from one process to another."""

from __future__ import annotations

import pickle
import traceback


def portable(error: Exception) -> Exception:
    """The same exception with its traceback as a note; a RuntimeError that quotes it if pickle can't make it anew."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        quoted = RuntimeError(f"{type(error).__name__}: {error}")
        quoted.add_note(error.__notes__[-1])
        return quoted
    return error
