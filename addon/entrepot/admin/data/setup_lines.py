"""What one runs at a client, for each kind of client, with this proxy's address in it."""

from dataclasses import dataclass

from entrepot.endpoints.setup.cache_address import CacheAddress
from entrepot.endpoints.setup.command_line import setup_line

MEASURE = "time docker pull redis:7 && docker image rm redis:7\ntime docker pull redis:7"
"""What shows the difference: the first pull of an image, and the second."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The way of one kind of client: ``lines`` to copy, and what is worth knowing."""

    key: str
    title: str
    about: str
    lines: str
    note: str = ""


def recipes(proxy: CacheAddress, fingerprint: str) -> tuple[Recipe, ...]:
    """All ways, in the order in which they are shown."""

    def engine(key: str, title: str, about: str, note: str = "") -> Recipe:
        return Recipe(key, title, about, setup_line(proxy, fingerprint, f"--for {key}"), note)

    url = proxy.url
    return (
        engine("docker", "Docker", "The daemon pulls, so the daemon is told, and restarted."),
        engine("containerd", "containerd, Kubernetes", "The runtime of a node pulls for kubelet."),
        engine("podman", "Podman, Skopeo, Buildah", "No daemon: each reads its environment."),
        engine("k3s", "k3s", "Its own containerd, on servers and agents."),
        engine("kind", "kind", "The nodes are containers, and get what a machine gets."),
        Recipe(
            "buildkit",
            "BuildKit, docker buildx",
            "A builder in a container ignores the daemon's proxy and CA: it gets its own.",
            f"curl -fsS {url}/setup/buildkitd.toml -o buildkitd.toml\n"
            "docker buildx create --name entrepot --driver docker-container --use --bootstrap \\\n"
            "  --config buildkitd.toml \\\n"
            f"  --driver-opt env.HTTP_PROXY={url} \\\n"
            f"  --driver-opt env.HTTPS_PROXY={url} \\\n"
            "  --driver-opt env.SSL_CERT_DIR=/etc/ssl/certs:/etc/buildkit/certs/docker.io",
            "Run the line at the top first: it puts the certificate where this file looks for it.",
        ),
        Recipe(
            "ci",
            "CI runners",
            "Jobs in containers start without the machine's CA and proxy.",
            f"curl -fsS {url}/setup/gitlab-runner    # GitLab: for config.toml\n"
            f"curl -fsS {url}/setup/github-runner    # GitHub: also on Kubernetes",
            "What the runner's own docker pulls needs no more than the line at the top.",
        ),
        Recipe(
            "fleet",
            "Many machines",
            "The same for a fleet, generated for this address.",
            f"curl -fsS {url}/setup/cloud-init     # user data of a new machine\n"
            f"curl -fsS {url}/setup/ansible        # a playbook\n"
            f"curl -fsS {url}/setup/kubernetes     # a DaemonSet; with --mirror\n"
            f"curl -fsS {url}/setup/docker-desktop # macOS and Windows",
        ),
    )
