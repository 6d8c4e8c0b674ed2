"""Which images files of several kinds name."""

import io
import os
import stat
from pathlib import Path

import pytest

from entrepot.app.start_error import StartError
from entrepot.cli.warm.sources import images_from, images_of_kubectl

COMPOSE = """
x-defaults: &defaults
  restart: always
services:
  web:
    <<: *defaults
    image: "nginx:${NGINX_TAG:-1.27}"
  cache:
    image: ${REGISTRY-ghcr.io}/acme/cache@sha256:%s
  worker:
    image: $WORKER
  built:
    image: acme/built
    build: .
  again:
    image: nginx:1.27
""" % ("0" * 64)

KUBERNETES = """
# Source: chart/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      initContainers:
        - {name: init, image: "busybox:1.36"}
      containers:
        - name: app
          image: ghcr.io/acme/app:1.4.2
          env: [{name: image, value: not-an-image}]
      volumes:
        - name: model
          image: {reference: quay.io/acme/model:2}
---
---
apiVersion: batch/v1
kind: CronJob
spec:
  jobTemplate:
    spec:
      template:
        spec:
          containers: [{name: job, image: quay.io/acme/job:7}]
---
kind: List
items:
  - kind: Pod
    spec:
      containers: [{image: "busybox:1.36"}]
      ephemeralContainers: [{image: alpine}]
---
kind: ConfigMap
data: {image: none}
"""

DOCKERFILE = r"""# syntax=docker/dockerfile:1.7
# a comment
ARG BASE=3.20 \
# in the middle
    UNUSED
ARG REGISTRY="docker.io"
FROM --platform=$BUILDPLATFORM ${REGISTRY}/library/golang:1.22 AS Build
ARG BASE=9
RUN --mount=type=bind,from=acme/tools:3,target=/tools true
COPY --from=build /a /b
COPY --from=0 /a /b
COPY --from=ghcr.io/acme/certs:1 /a /b
FROM scratch AS empty
FROM build AS next
FROM alpine:${BASE}
COPY --from=next /x /y
"""


def images(folder: Path, name: str, text: str, **environment: str) -> list[str]:
    (folder / name).write_text(text)
    return images_from(str(folder / name), environment)


def test_compose(tmp_path: Path) -> None:
    """Variables are of the environment, of the file beside, or their defaults."""
    (tmp_path / ".env").write_text('# none\nWORKER="acme/worker:3"\nNGINX_TAG=1.26\n')
    pinned = f"ghcr.io/acme/cache@sha256:{'0' * 64}"
    found = images(tmp_path, "compose.yaml", COMPOSE)
    assert found == ["nginx:1.26", pinned, "acme/worker:3", "nginx:1.27"]
    found = images(tmp_path, "compose.yaml", COMPOSE, NGINX_TAG="", REGISTRY="r.test", WORKER="w")
    assert found == ["nginx:1.27", pinned.replace("ghcr.io", "r.test"), "w"]


def test_kubernetes_and_helm(tmp_path: Path) -> None:
    """Every container of every pod, wherever it is described."""
    want = [
        "busybox:1.36",
        "ghcr.io/acme/app:1.4.2",
        "quay.io/acme/model:2",
        "quay.io/acme/job:7",
        "alpine",
    ]
    assert sorted(images(tmp_path, "all.yaml", KUBERNETES)) == sorted(want)


def test_dockerfile(tmp_path: Path) -> None:
    """Stages are no images; nor is what a stage's own argument changes."""
    want = [
        "docker/dockerfile:1.7",
        "docker.io/library/golang:1.22",
        "acme/tools:3",
        "ghcr.io/acme/certs:1",
        "alpine:3.20",
    ]
    assert images(tmp_path, "Dockerfile.release", DOCKERFILE) == want
    assert images(tmp_path, "some-file", DOCKERFILE.partition("\n")[2]) == want[1:]


def test_a_plain_list(tmp_path: Path) -> None:
    text = "# mine\nredis:7\n\nlocalhost:5000/a/b # beside\nredis:7\n"
    assert images(tmp_path, "images.txt", text) == ["redis:7", "localhost:5000/a/b"]
    assert images(tmp_path, "none.txt", "# nothing\n") == []


def test_json(tmp_path: Path) -> None:
    text = '{"kind": "List", "items": [{"spec": {"containers": [{"image": "a:1"}]}}]}'
    assert images(tmp_path, "pods.json", text) == ["a:1"]
    assert images(tmp_path, "list.json", '["a:1",\n "b:2"]') == ["a:1", "b:2"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("redis:7\n"))
    assert images_from("-", {}) == ["redis:7"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("compose.yaml", "services: {a: {image: 'x:$Y'}}", "'x:$Y': Y is not set"),
        ("Dockerfile", "FROM x:$Y\n", "'x:$Y': Y is not set"),
        ("a.yaml", "a: [\n", "no YAML: something is wrong at line"),
        ("a.yaml", "a: 1\nb: 2\n", "expected a compose file, Kubernetes objects, a Dockerfile"),
        ("a.yaml", "!!python/object:os.system {}\nx: 1", "no YAML"),
        ("a.yaml", "x: \0\n", "no YAML"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(StartError, match=r"^[^\n]+\Z") as error:
        images(tmp_path, name, text)
    assert said in str(error.value)
    assert str(tmp_path / name) in str(error.value)


def test_aliases_without_end_are_walked_once(tmp_path: Path) -> None:
    """A billion laughs, and a list that holds itself."""
    lines = ["a0: &a0 {containers: [{image: 'x:1'}]}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    text = "kind: List\nself: &self [*self]\n" + "\n".join(lines)
    assert images(tmp_path, "laughs.yaml", text) == ["x:1"]


def test_kubectl_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one in PATH, with the context that is named; its failure is told in its own words."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        '#!/bin/sh\n[ "$1" = --context ] || { echo "no context" >&2; exit 1; }\n'
        'echo \'{"kind": "List", "items": [{"spec": {"containers": [{"image": "a:1"}]}}]}\'\n'
    )
    kubectl.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert images_of_kubectl("mine") == ["a:1"]
    with pytest.raises(StartError, match="kubectl: no context"):
        images_of_kubectl(None)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(StartError, match="there is no kubectl in PATH"):
        images_of_kubectl(None)
