"""The table of texts for one kind of client each: what is at ``/setup/NAME``, and for whom."""

from collections.abc import Mapping
from dataclasses import dataclass

_YAML, _TOML, _PLAIN = ("application/yaml", "application/toml", "text/plain; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Variant:
    """One of them: its file in ``texts``, and what it is used as."""

    file: str
    media_type: str
    use: str
    needs_mirror: bool = False
    """Whether it goes by a mirror of all registries instead of the proxy."""


VARIANTS: Mapping[str, Variant] = {
    "cloud-init": Variant("cloud-init.yaml", _YAML, "user data for a new machine"),
    "ansible": Variant("ansible.yaml", _YAML, "a playbook that runs the script on many machines"),
    "kubernetes": Variant(
        "kubernetes.yaml", _YAML, "a DaemonSet for containerd's mirror", needs_mirror=True
    ),
    "buildkitd.toml": Variant("buildkitd.toml", _TOML, "BuildKit, and buildx's builders"),
    "gitlab-runner": Variant("gitlab-runner.toml", _TOML, "config.toml of a GitLab runner"),
    "github-runner": Variant("github-runner.yaml", _YAML, "GitHub's runners, on Kubernetes too"),
    "docker-desktop": Variant("docker-desktop.txt", _PLAIN, "Docker Desktop on macOS and Windows"),
}
