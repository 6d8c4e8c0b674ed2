"""The table of metrics in ``docs/metrics.md``, as Markdown."""

from entrepot.metrics.metrics import FAMILIES


def metrics_table() -> str:
    """Every metric of our own: its name, type, labels and meaning; ends with a newline."""
    rows = [
        (
            f"`{family.name}`",
            family.kind.value,
            ", ".join(f"`{label}`" for label in family.labels),
            family.meaning,
        )
        for family in FAMILIES
    ]
    lines = [("metric", "type", "labels", "meaning"), ("---",) * 4, *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
