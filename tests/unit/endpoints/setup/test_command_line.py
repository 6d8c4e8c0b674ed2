"""The line that is copied to clients."""

from entrepot.endpoints.setup.cache_address import CacheAddress
from entrepot.endpoints.setup.command_line import setup_line

CACHE = CacheAddress("2001:db8::7", 3128)


def test_the_line_fetches_the_script_and_hands_it_the_fingerprint() -> None:
    """By curl, or by wget where there is no curl."""
    script = "http://[2001:db8::7]:3128/setup | sudo sh -s -- --fingerprint AB:CD"
    assert setup_line(CACHE, "AB:CD") == f"curl -fsS {script}"
    assert setup_line(CACHE, "AB:CD", fetch="wget") == f"wget -qO- {script}"
    assert setup_line(CACHE, "AB:CD", "--for", "k3s").endswith(" --fingerprint AB:CD --for k3s")
