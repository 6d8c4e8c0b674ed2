"""What becomes of blobs that are read in parts: for all registries, and for one."""

from dataclasses import replace
from pathlib import Path

from entrepot.config.options import OPTIONS, Fill
from entrepot.config.registry_tables import Surroundings, read_registries
from entrepot.config.settings import Config
from entrepot.protocol.identifiers import Origin


def test_a_registry_may_differ() -> None:
    """Its table counts, whatever the option says."""
    around = Surroundings({}, Path("/"), exposed=True)
    tables = read_registries(
        {"models.example.test": {"fill": "asked"}, "r.example.test": {}}, around
    )
    config = Config(data=Path("/data"), accounts=tuple(tables))
    models, other = (Origin("https", f"{name}.example.test", 443) for name in ("models", "r"))
    assert (config.completes(models), config.completes(other)) == (False, True)
    assert not replace(config, fill=Fill.ASKED).completes(other)


def test_the_option_takes_two_words() -> None:
    """As they stand in the documentation."""
    (option,) = (option for option in OPTIONS if option.name == "fill")
    assert [option.read(word) for word in ("whole", "asked")] == [Fill.WHOLE, Fill.ASKED]
