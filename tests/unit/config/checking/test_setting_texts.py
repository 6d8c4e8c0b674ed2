"""Settings as one writes them: what a text says is what the option reads from it."""

import pytest

from entrepot.config.checking.setting_texts import duration_text, setting_text
from entrepot.config.options import OPTIONS

WRITTEN = {
    "listen": "127.0.0.1:3128",
    "size": "10.0GiB",
    "scrub": "0",
    "idle": "90s",
    "max_stale": "30d",
    "upstream_proxy": "http://proxy.example:3128",
    "record": "networks",
    "log_format": "json",
    "data": "/var/lib/entrepot",
}
LISTS = {
    "mirror": ["127.0.0.1:5000=docker.io", ":5001"],
    "allow_client": ["10.0.0.0/8"],
    "resolve": ["a.example:443:127.0.0.1:8443"],
    "registry": ["ghcr.io", "localhost:5000"],
    "no_proxy": [".example.com", "10.0.0.0/8"],
    "permit": ["example.com"],
}


@pytest.mark.parametrize("name", [*WRITTEN, *LISTS])
def test_a_text_is_what_the_option_reads(name: str) -> None:
    (option,) = (one for one in OPTIONS if one.name == name)
    text = WRITTEN.get(name) or ", ".join(LISTS[name])
    assert setting_text(option, option.read(WRITTEN.get(name) or LISTS[name])) == text


def test_secrets_are_not_shown() -> None:
    for name, value in (("proxyauth", "joe:secret"), ("upstream_proxy", "http://joe:secret@x")):
        (option,) = (one for one in OPTIONS if one.name == name)
        assert "secret" not in setting_text(option, option.read(value))


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0"), (1.5, "1.5s"), (60, "1min"), (5400, "90min"), (172800, "2d")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration_text(seconds) == said
