"""Format numbers for people: counts, percentages, figures, durations, sizes. Pure."""

from __future__ import annotations


def count(value: int | None) -> str:
    return "—" if value is None else f"{value:,}"


def percent(share: float | None) -> str:
    """0.469 -> '46.9 %', with a non-breaking space."""
    return "—" if share is None else f"{100 * share:.1f}\u00a0%"


def ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def figure(value: float | None) -> str:
    """About three significant digits: 0.0413, 0.613, 12.3, 4,120; a dash for None."""
    if value is None:
        return "—"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    size = abs(value)
    return f"{value:.{4 if size < 0.1 else 3 if size < 1 else 2 if size < 10 else 1}f}"


def duration(seconds: float | None) -> str:
    """12.3 -> '12 s', 83 -> '1 min 23 s', 5000 -> '1 h 23 min'."""
    if seconds is None:
        return "—"
    whole = round(seconds)
    if whole < 10:
        return f"{seconds:.1f}\u00a0s"
    if whole < 60:
        return f"{whole}\u00a0s"
    if whole < 3600:
        return f"{whole // 60}\u00a0min {whole % 60:02d}\u00a0s"
    return f"{whole // 3600}\u00a0h {whole % 3600 // 60:02d}\u00a0min"


def size(count: float) -> str:
    """Format bytes: `1.2 GB`."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:,.0f} {unit}" if count >= 100 or unit == "B" else f"{count:,.1f} {unit}"
