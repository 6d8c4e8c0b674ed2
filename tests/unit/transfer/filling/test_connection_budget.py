"""Connections beside a download's own: bounded for all, and for each host."""

from entrepot.protocol.identifiers import Origin
from entrepot.transfer.filling.connection_budget import ConnectionBudget


def test_one_host_leaves_connections_to_the_others() -> None:
    """Promise 8: however many downloads of one drip, others have some to spare."""
    host, other = (Origin("https", f"{name}.example.test", 443) for name in ("drips", "moves"))
    budget = ConnectionBudget(16, 12)
    assert sum(budget.take(host) for _ in range(100)) == 12
    assert sum(budget.take(other) for _ in range(100)) == 4
    assert budget.left == 0
    budget.give(host)
    assert budget.take(host)
    assert not budget.take(host)
