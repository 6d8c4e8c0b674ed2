"""A small line without axes, as the attribute `d` of an SVG path."""

from collections.abc import Sequence

WIDTH = 120
HEIGHT = 28


def sparkline(values: Sequence[float]) -> str:
    """The outline of a filled line over the values; empty where there is nothing to see."""
    most = max(values, default=0)
    if most <= 0 or len(values) < 2:
        return ""
    across = WIDTH / (len(values) - 1)
    points = (
        f"{number * across:.1f} {HEIGHT - value / most * (HEIGHT - 2):.1f}"
        for number, value in enumerate(values)
    )
    return f"M0 {HEIGHT} L{' L'.join(points)} L{WIDTH} {HEIGHT} Z"
