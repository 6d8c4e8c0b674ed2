"""The images that compose files and Kubernetes objects name.

Of a compose file what its services run, but for those that are built. Of Kubernetes objects every
`image` of a container, wherever a pod is described: in pods, the templates of their controllers and
jobs, lists of objects, what Helm writes; and of volumes that are images.
Sources: https://docs.docker.com/reference/compose-file/services/#image,
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from collections.abc import Iterator, Mapping

from entrepot.cli.warm.substitution import substituted

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")


def is_compose(document: object) -> bool:
    """Whether it is a compose file."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("services"), dict)
        and "kind" not in document
    )


def is_kubernetes(document: object) -> bool:
    """Whether it is an object of Kubernetes."""
    return isinstance(document, dict) and isinstance(document.get("kind"), str)


def of_compose(document: object, environment: Mapping[str, str]) -> Iterator[str]:
    """The images of a compose file. Raises ValueError where a variable has no value."""
    services = document.get("services") if isinstance(document, dict) else None
    for service in (services if isinstance(services, dict) else {}).values():
        if not isinstance(service, dict) or service.get("build") is not None:
            continue
        image = service.get("image")
        if isinstance(image, str):
            yield substituted(image, environment)


def of_kubernetes(document: object) -> Iterator[str]:
    """The images of an object of Kubernetes, or of a list of such."""
    seen: set[int] = set()
    rest = [document]
    while rest:
        node = rest.pop()
        if not isinstance(node, dict | list) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, list):
            rest += reversed(node)
            continue
        for name in _CONTAINERS:
            yield from _of_containers(node.get(name))
        yield from _of_volumes(node.get("volumes"))
        rest += reversed(list(node.values()))


def _of_containers(containers: object) -> Iterator[str]:
    for container in containers if isinstance(containers, list) else ():
        image = container.get("image") if isinstance(container, dict) else None
        if isinstance(image, str) and image:
            yield image


def _of_volumes(volumes: object) -> Iterator[str]:
    for volume in volumes if isinstance(volumes, list) else ():
        image = volume.get("image") if isinstance(volume, dict) else None
        reference = image.get("reference") if isinstance(image, dict) else None
        if isinstance(reference, str) and reference:
            yield reference
