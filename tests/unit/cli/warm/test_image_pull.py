"""What images are called, and what manifests list, whatever is in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.cli.warm.image_pull import Wanted, _descriptors, own_platform

ANY = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@pytest.mark.parametrize(
    ("name", "repository", "reference"),
    [
        ("redis", "registry-1.docker.io/library/redis", "latest"),
        ("docker.io/acme/app:2", "registry-1.docker.io/acme/app", "2"),
        ("localhost:5000/a/b", "localhost:5000/a/b", "latest"),
        (f"ghcr.io/a/b:1@sha256:{'0' * 64}", "ghcr.io/a/b", f"sha256:{'0' * 64}"),
        ("https://ghcr.io/a/b:1", "ghcr.io/a/b", "1"),
    ],
)
def test_names_are_docker_s(name: str, repository: str, reference: str) -> None:
    wanted = Wanted.parse(name)
    assert (str(wanted.repository), str(wanted.reference)) == (repository, reference)
    assert (wanted.name, wanted.repository.origin.scheme) == (name, "https")


def test_a_registry_without_tls_is_named_so() -> None:
    assert str(Wanted.parse("http://localhost:5000/a/b:1").repository.origin) == (
        "http://localhost:5000"
    )


@pytest.mark.parametrize("name", ["", "ghcr.io/", "ftp://x/y", "UPPER", "a b", "x:y:z", "-"])
def test_what_names_no_image_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected|got"):
        Wanted.parse(name)


@given(st.dictionaries(st.sampled_from(["config", "layers"]), ANY | st.lists(ANY)))
def test_no_manifest_is_too_odd(document: dict[str, object]) -> None:
    assert all(isinstance(one["digest"], str) for one in _descriptors(document))


def test_what_is_listed_twice_is_pulled_once() -> None:
    """And what is elsewhere (`urls`) not at all."""
    layer, foreign = {"digest": "sha256:1"}, {"digest": "sha256:2", "urls": ["https://x"]}
    document = {"config": {"digest": []}, "layers": [layer, layer, foreign, 7]}
    assert list(_descriptors(document)) == [layer]


def test_this_machine_has_a_platform() -> None:
    assert own_platform().startswith("linux/")
