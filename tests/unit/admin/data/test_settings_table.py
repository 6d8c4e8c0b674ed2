"""The settings as they are shown: all of them, and no secret."""

from pathlib import Path

from entrepot.admin.data.settings_table import settings_table
from entrepot.config.addresses import UpstreamProxy
from entrepot.config.checking.setting_texts import duration_text
from entrepot.config.options import OPTIONS
from entrepot.config.settings import Config

SECRET = "hunter2" * 3


def test_every_option_is_there() -> None:
    """But for the file that they may be read from."""
    shown = [one.name for one in settings_table(Config(data=Path("/data")), None)]
    assert shown == [option.name for option in OPTIONS if option.name != "config"]


def test_no_secret_is_shown() -> None:
    """Only that there is one."""
    config = Config(
        data=Path("/data"),
        proxyauth=f"me:{SECRET}",
        admin_token=SECRET,
        upstream_proxy=UpstreamProxy.parse(f"http://me:{SECRET}@proxy:8080"),
    )
    table = {one.name: one for one in settings_table(config, None)}
    assert SECRET not in repr(table)
    assert table["proxyauth"].value == table["admin_token"].value == "set"
    assert table["upstream_proxy"].value == "http://proxy:8080"


def test_values_are_written_as_options_take_them() -> None:
    """With the size in force where the option says none."""
    config = Config(data=Path("/data"), idle=90.0, max_stale=0.0, offline=True)
    table = {one.name: one for one in settings_table(config, 3 * 1024**3)}
    assert table["size"].value == "3.0GiB"
    assert table["size"].is_default
    assert (table["idle"].value, table["idle"].is_default) == ("90s", False)
    assert (table["offline"].value, table["only_listed"].value) == ("yes", "no")
    assert table["max_stale"].value == "0"
    assert table["listen"].value == ":3128"
    assert (duration_text(30 * 86400), duration_text(0.5)) == ("30d", "0.5s")
