"""Real clients, each in a folder of its own: nothing of the machine is read or changed.

Every method returns the finished process (status, output) and raises nothing: what a client says
and how it ends is for the test to judge. `check` turns a failure into an error with its output.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rig.command import Finished, Program, check, discard, with_empty
from rig.cri import pull_image
from rig.process import Daemon, clean_environment, program
from rig.route import Direct, KnownNames, Route

POLICY = {"default": [{"type": "insecureAcceptAnything"}]}
_PARTS = """
[storage.options.pull_options]
enable_partial_images = "true"
insecure_allow_unpredictable_image_contents = "true"  # it wants this for eStargz
"""
_DEBIAN_DOCKER = "/usr/bin/docker"


class RealClient(Protocol):
    """What all clients have in common."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def pull(self, name: str, /, *options: str, timeout: float = 120) -> Finished: ...

    def remove(self, *names: str) -> object: ...


class Dockerd:
    """Debian's dockerd with a private everything, and its command line client.

    It has no network of its own, writes no iptables rules and changes no sysctl. Names that lead
    to 127/8 are "insecure" to it (no TLS verification), so give it names that do not resolve.
    `config` is its daemon.json.
    """

    def __init__(
        self,
        folder: Path,
        route: Route | Direct,
        *,
        storage_driver: str = "vfs",
        insecure: Sequence[str] = (),
        options: Sequence[str] = (),
        config: Mapping[str, object] | None = None,
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.names_manifests = "features" in (config or {})
        """Whether it knows an image by its manifest: with containerd's store, a feature."""
        socket = folder / "docker.sock"
        file = folder / "daemon.json"
        file.write_text(json.dumps(config or {}))
        self.daemon = Daemon(
            "dockerd",
            [
                *route.within,
                *with_empty("/etc/docker", "/run"),  # its key, certs.d; plugins
                program("dockerd"),
                f"--config-file={file}",
                f"--data-root={folder / 'data'}",
                f"--exec-root={folder / 'exec'}",
                f"--pidfile={folder / 'pid'}",
                f"--host=unix://{socket}",
                f"--storage-driver={storage_driver}",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--ip-masq=false",
                "--userland-proxy=false",
                *(f"--insecure-registry={name}" for name in insecure),
                *options,
            ],
            log=folder / "dockerd.log",
            env=clean_environment(folder, **route.environment()),
            ready=lambda: self.cli.run("version", "--format={{.Server.Version}}").returncode == 0,
        )
        cli_env = clean_environment(
            folder,
            DOCKER_HOST=f"unix://{socket}",
            DOCKER_CONFIG=str(folder / "config"),
            **route.environment(),
        )
        docker = _DEBIAN_DOCKER if Path(_DEBIAN_DOCKER).exists() else program("docker")
        self.cli = Program(folder / "config", [docker], cli_env)

    def start(self) -> None:
        self.daemon.start()

    def stop(self) -> None:
        self.daemon.kill9()  # in order it takes a second
        discard(self.folder)

    def pull(self, name: str, *options: str, timeout: float = 120) -> Finished:
        return self.cli.run("pull", *options, name, timeout=timeout)

    def push(self, name: str) -> Finished:
        return self.cli.run("push", name)

    def tag(self, name: str, new: str) -> Finished:
        return self.cli.run("tag", name, new)

    def remove(self, *names: str) -> Finished:
        """Remove images and, with the last tag of each, its layers."""
        return self.cli.run("image", "rm", "--force", *names)

    def login(self, netloc: str, account: str, password: str) -> Finished:
        return self.cli.run(
            "login", f"--username={account}", "--password-stdin", netloc, stdin=password
        )

    def logout(self, netloc: str) -> Finished:
        return self.cli.run("logout", netloc)

    def images(self) -> list[str]:
        """Return REPOSITORY:TAG of everything it has."""
        form = "--format={{.Repository}}:{{.Tag}}"
        return check(self.cli.run("image", "ls", form)).split()

    def inspect(self, name: str) -> dict[str, object]:
        found: list[dict[str, object]] = json.loads(check(self.cli.run("image", "inspect", name)))
        return found[0]


class Containerd:
    """Debian's containerd, and `ctr`, which does the pulling itself.

    With `certs` it has its CRI plugin, which reads hosts.toml files below that folder, and
    `cri_pull` has the daemon pull. `settings` are further lines of its configuration.
    """

    def __init__(
        self,
        folder: Path,
        route: Route | Direct | KnownNames,
        *,
        snapshotter: str = "native",
        certs: Path | None = None,
        settings: str = "",
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._snapshotter = snapshotter
        self._socket = folder / "containerd.sock"
        config = folder / "config.toml"
        config.write_text(_containerd_config(folder, self._socket, snapshotter, certs) + settings)
        (folder / "tmp").mkdir()
        # Mounts made while unpacking are below TMPDIR.
        env = clean_environment(folder, TMPDIR=str(folder / "tmp"), **route.environment())
        self.daemon = Daemon(
            "containerd",
            [*route.within, program("containerd"), f"--config={config}"],
            log=folder / "containerd.log",
            env=env,
            ready=lambda: self._socket.exists() and self.ctr.run("version").returncode == 0,
        )
        namespace = "rig" if certs is None else "k8s.io"
        address = f"--address={self._socket}"
        words = [address, f"--namespace={namespace}"]
        self.ctr = Program(folder / "ctr", [*route.within, program("ctr"), *words], env)
        self.ctr_remote = Program(
            folder / "ctr", [*route.within, "/usr/bin/ctr-remote", *words], env
        )
        """stargz-snapshotter's, where Debian has it: it makes eStargz images."""

    @property
    def socket(self) -> Path:
        return self._socket

    def start(self) -> None:
        self.daemon.start()

    def stop(self) -> None:
        self.daemon.kill9()  # in order it takes a second
        discard(self.folder)

    def pull(
        self, name: str, *options: str, user: str | None = None, timeout: float = 120
    ) -> Finished:
        """Pull and unpack `HOST/REPOSITORY:TAG`; `user` is NAME:PASSWORD."""
        login = [f"--user={user}"] if user else []
        snapshotter = f"--snapshotter={self._snapshotter}"
        return self.ctr.run("images", "pull", snapshotter, *login, *options, name, timeout=timeout)

    def cri_pull(self, name: str) -> None:
        """Have the daemon pull as for a kubelet; raise with what it says if it fails."""
        pull_image(self._socket, name)

    def push(self, name: str, *options: str, user: str | None = None) -> Finished:
        login = [f"--user={user}"] if user else []
        return self.ctr.run("images", "push", *login, *options, name)

    def tag(self, name: str, new: str) -> Finished:
        return self.ctr.run("images", "tag", name, new)

    def remove(self, *names: str) -> Finished:
        """Remove images and collect their content at once."""
        return self.ctr.run("images", "rm", "--sync", *names)

    def images(self) -> list[str]:
        return check(self.ctr.run("images", "ls", "--quiet")).split()


class Skopeo:
    """skopeo: copies to a `dir:` folder and back, nothing running in between."""

    def __init__(self, folder: Path, route: Route | Direct | KnownNames) -> None:
        self.folder = folder
        env = _containers_environment(folder, route)
        argv = [
            *route.within,
            *with_empty("/var/lib"),  # it remembers blobs in /var/lib/containers/cache
            program("skopeo"),
            f"--policy={folder / 'policy.json'}",
            f"--registries.d={folder / 'registries.d'}",
            f"--tmpdir={folder / 'tmp'}",
        ]
        self.cli = Program(folder, argv, env)

    def start(self) -> None:
        """Have nothing to start: each command runs by itself."""

    def stop(self) -> None:
        discard(self.folder)

    def pull(self, name: str, *options: str, timeout: float = 120) -> Finished:
        """Copy `HOST/REPOSITORY:TAG` to `target(name)`, which is emptied before."""
        self.remove(name)
        source, target = f"docker://{name}", f"dir:{self.target(name)}"
        return self.cli.run("copy", *options, source, target, timeout=timeout)

    def push(self, name: str, new: str, *options: str) -> Finished:
        """Copy what `pull(name)` fetched to another name."""
        return self.cli.run("copy", *options, f"dir:{self.target(name)}", f"docker://{new}")

    def target(self, name: str) -> Path:
        """Return the folder of a pulled image: manifest.json, and blobs named by hex digest."""
        return self.folder / "images" / name.replace("/", "_").replace(":", "_")

    def remove(self, *names: str) -> None:
        for name in names:
            shutil.rmtree(self.target(name), ignore_errors=True)
            self.target(name).mkdir(parents=True)

    def inspect(self, name: str, *options: str) -> Finished:
        return self.cli.run("inspect", *options, f"docker://{name}")

    def login(self, netloc: str, account: str, password: str) -> Finished:
        return self.cli.run(
            "login", f"--username={account}", "--password-stdin", netloc, stdin=password
        )

    def logout(self, netloc: str) -> Finished:
        return self.cli.run("logout", netloc)


class Podman:
    """podman with private storage (vfs), no events, no shared-memory locks.

    With `parts` it fetches of a zstd:chunked or eStargz layer what others have not; `mirrors` says
    by which plain mirror it goes to a registry, port by name.
    """

    def __init__(
        self,
        folder: Path,
        route: Route | KnownNames,
        *,
        storage_driver: str = "vfs",
        parts: bool = False,
        mirrors: Mapping[str, int] = {},
    ) -> None:
        self.folder = folder
        env = _containers_environment(folder, route)
        if parts:
            with (folder / "storage.conf").open("a") as file:
                file.write(_PARTS)
        with (folder / "registries.conf").open("a") as file:
            for name, port in mirrors.items():
                file.write(f'[[registry]]\nlocation = "{name}"\n[[registry.mirror]]\n')
                file.write(f'location = "127.0.0.1:{port}"\ninsecure = true\n')
        argv = [
            *route.within,
            *with_empty("/var/lib"),  # as skopeo
            program("podman"),
            f"--root={folder / 'root'}",
            f"--runroot={folder / 'run'}",
            f"--tmpdir={folder / 'tmp'}",
            f"--storage-driver={storage_driver}",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
        ]
        self.cli = Program(folder, argv, env)

    def start(self) -> None:
        """Have nothing to start: each command runs by itself."""

    def stop(self) -> None:
        discard(self.folder)

    def pull(self, name: str, *options: str, timeout: float = 120) -> Finished:
        return self.cli.run("pull", "--quiet", *options, name, timeout=timeout)

    def push(self, name: str, *options: str) -> Finished:
        return self.cli.run("push", *options, name)

    def tag(self, name: str, new: str) -> Finished:
        return self.cli.run("tag", name, new)

    def remove(self, *names: str) -> Finished:
        return self.cli.run("image", "rm", "--force", *names)

    def login(self, netloc: str, account: str, password: str) -> Finished:
        return self.cli.run(
            "login", f"--username={account}", "--password-stdin", netloc, stdin=password
        )

    def logout(self, netloc: str) -> Finished:
        return self.cli.run("logout", netloc)

    def images(self) -> list[str]:
        form = "--format={{.Repository}}:{{.Tag}}"
        return check(self.cli.run("image", "ls", form)).split()


def _containers_environment(folder: Path, route: Route | Direct | KnownNames) -> dict[str, str]:
    """Write the configuration that podman and skopeo share; return the environment with it."""
    for name in ("tmp", "registries.d", "data", "run", ".config/containers"):
        (folder / name).mkdir(parents=True)
    files = {
        "auth.json": "{}",  # podman insists on a file
        "policy.json": json.dumps(POLICY),
        ".config/containers/policy.json": json.dumps(POLICY),
        "registries.conf": 'unqualified-search-registries = ["docker.io"]\n',
        "containers.conf": '[engine]\nlock_type = "file"\n[network]\n'
        f'network_config_dir = "{folder / "networks"}"\n',
        "storage.conf": f'[storage]\ndriver = "vfs"\ngraphroot = "{folder / "root"}"\n'
        f'runroot = "{folder / "run"}"\n',
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    return clean_environment(
        folder,
        TMPDIR=str(folder / "tmp"),
        XDG_DATA_HOME=str(folder / "data"),
        XDG_RUNTIME_DIR=str(folder / "run"),
        XDG_CONFIG_HOME=str(folder / ".config"),
        REGISTRY_AUTH_FILE=str(folder / "auth.json"),
        CONTAINERS_CONF=str(folder / "containers.conf"),
        CONTAINERS_REGISTRIES_CONF=str(folder / "registries.conf"),
        CONTAINERS_STORAGE_CONF=str(folder / "storage.conf"),
        **route.environment(),
    )


def _containerd_config(folder: Path, socket: Path, snapshotter: str, certs: Path | None) -> str:
    unused = ["cri", "aufs", "btrfs", "devmapper", "zfs"]
    names = {"cri": "io.containerd.grpc.v1.cri"}
    plugins = [names.get(name, f"io.containerd.snapshotter.v1.{name}") for name in unused]
    return f"""
version = 2
root = "{folder / "root"}"
state = "{folder / "state"}"
disabled_plugins = {json.dumps(plugins[1:] if certs else plugins)}
[grpc]
address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder / "opt"}"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{folder / "cni"}"
conf_dir = "{folder / "cni"}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{certs or ""}"
"""
