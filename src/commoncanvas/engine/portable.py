"""Send exceptions from one process to another."""

from __future__ import annotations

import pickle
import traceback


def portable(error: Exception) -> Exception:
    """The exception with its traceback as a note. If pickle can't restore it: a RuntimeError that quotes it."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        quoted = RuntimeError(f"{type(error).__name__}: {error}")
        quoted.add_note(error.__notes__[-1])
        return quoted
    return error
