"""How a page says numbers: bytes, seconds, points."""

from __future__ import annotations

from datetime import datetime, timedelta

from coldfusion.records import Gain

UNITS = ("kB", "MB", "GB", "TB")


def size_text(size: float) -> str:
    """`1.2 MB`: decimal, as the Hub says it."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in UNITS:
        size /= 1000
        if size < 999.5:
            return f"{size:.3g} {unit}"
    return f"{size:,.0f} {UNITS[-1]}"


def span_text(span: timedelta) -> str:
    """`2 h 5 min`: two units at most."""
    seconds = round(span.total_seconds())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def moment_text(moment: datetime) -> str:
    """`2026-11-25 12:00 UTC`: the Hub's clock, which is in UTC."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def count_text(count: int, what: str) -> str:
    """`1 round`, `1,000 rounds`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def signed(value: float, digits: int = 1) -> str:
    """`+1.2`; no sign before a zero."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def interval_text(gain: Gain) -> str:
    """Whether an interval tells anything."""
    return f"the 95 % interval {'excludes' if gain.excludes_zero else 'includes'} zero"
