"""What one runs at a client, for each kind of client, with this proxy's address in it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """The way of one kind of client: ``lines`` to copy, and what is worth knowing."""

    key: str
    title: str
    about: str
    lines: str
    note: str = ""


def one_line(proxy: str, fingerprint: str) -> str:
    """The line that sets up whatever is on a client; ``proxy`` is ``host:port``."""
    return f"curl -fsS http://{proxy}/setup | sudo sh -s -- --fingerprint {fingerprint}"


def recipes(proxy: str, fingerprint: str) -> tuple[Recipe, ...]:
    """All ways, in the order in which they are shown."""
    certificate = f"curl -fsS http://{proxy}/ca.pem"
    bundle = "/usr/local/share/ca-certificates/entrepot.crt"
    trust = f"{certificate} | sudo tee {bundle} >/dev/null\nsudo update-ca-certificates"
    check = f"openssl x509 -in {bundle} -noout -fingerprint -sha256\n# must say {fingerprint}"
    environment = f"export HTTPS_PROXY=http://{proxy} HTTP_PROXY=http://{proxy}"

    def unit(name: str) -> str:
        return (
            f"{trust}\n{check}\n"
            f"sudo mkdir -p /etc/systemd/system/{name}.service.d\n"
            f"sudo tee /etc/systemd/system/{name}.service.d/entrepot.conf >/dev/null <<'END'\n"
            "[Service]\n"
            f'Environment="HTTPS_PROXY=http://{proxy}" "HTTP_PROXY=http://{proxy}"\n'
            'Environment="NO_PROXY=localhost,127.0.0.0/8,::1"\n'
            "END\n"
            f"sudo systemctl daemon-reload && sudo systemctl restart {name}"
        )

    return (
        Recipe("docker", "Docker", "The daemon pulls, so the daemon is told.", unit("docker")),
        Recipe(
            "containerd",
            "containerd, Kubernetes",
            "The runtime of a node; kubelet asks it to pull.",
            unit("containerd"),
        ),
        Recipe(
            "podman",
            "Podman, Skopeo, Buildah",
            "They have no daemon: each reads its environment when it runs.",
            f"{trust}\n{check}\n{environment}",
            "Put the last line into /etc/environment or ~/.profile, so that it stays.",
        ),
        Recipe(
            "buildkit",
            "BuildKit, docker buildx",
            "A builder in a container ignores the daemon's proxy and CA: it gets its own.",
            f"{certificate} -o entrepot.pem\n"
            "docker buildx create --name cached --driver docker-container \\\n"
            f"  --driver-opt env.HTTPS_PROXY=http://{proxy} \\\n"
            f"  --driver-opt env.HTTP_PROXY=http://{proxy} \\\n"
            "  --driver-opt env.SSL_CERT_FILE=/etc/ssl/entrepot.pem --bootstrap --use\n"
            "docker cp entrepot.pem buildx_buildkit_cached0:/etc/ssl/entrepot.pem\n"
            "docker restart buildx_buildkit_cached0",
        ),
        Recipe(
            "kind",
            "kind",
            "Nodes are containers: kind hands them the proxy, and they need the CA.",
            f"{environment}\n"
            "kind create cluster\n"
            "for node in $(kind get nodes); do\n"
            f"  {certificate} | docker exec -i $node tee {bundle} >/dev/null\n"
            "  docker exec $node update-ca-certificates\n"
            "  docker exec $node systemctl restart containerd\n"
            "done",
        ),
        Recipe(
            "k3s",
            "k3s",
            "Its containerd has the environment of the k3s service.",
            f"{trust}\n{check}\n"
            "sudo tee -a /etc/systemd/system/k3s.service.env >/dev/null <<'END'\n"
            f"CONTAINERD_HTTPS_PROXY=http://{proxy}\n"
            f"CONTAINERD_HTTP_PROXY=http://{proxy}\n"
            "CONTAINERD_NO_PROXY=localhost,127.0.0.0/8,10.0.0.0/8\n"
            "END\n"
            "sudo systemctl restart k3s",
            "On an agent the file is k3s-agent.service.env.",
        ),
        Recipe(
            "ci",
            "CI runners",
            "A job in a container starts without the host's CA: hand both to it.",
            f"{environment}\n"
            f"{certificate} -o /tmp/entrepot.pem\n"
            "export SSL_CERT_FILE=/tmp/entrepot.pem",
            "For docker on the runner itself, set up Docker as above: jobs then need nothing.",
        ),
    )
