"""SOCI's snapshotter: it mounts an image's layers at once, and fetches what is read of them.

It makes an index of where a layer can be read from and puts that into the registry, beside the
image (https://github.com/awslabs/soci-snapshotter).
"""

from collections.abc import Mapping
from pathlib import Path

from rig.clients import Containerd
from rig.command import Program, check, discard, with_file
from rig.process import Daemon, RigError, clean_environment
from rig.route import KnownNames, Route

_NAME = "soci-snapshotter-grpc"


class Soci:
    """The snapshotter, with a containerd of its own: both reach registries by `route`.

    Layers are fetched as they are read, in spans of 4 MiB; nothing is fetched behind that.
    `mirrors` says by which plain mirror it goes to a registry for these, port by name.
    """

    def __init__(
        self, folder: Path, route: Route | KnownNames, *, mirrors: Mapping[str, int] = {}
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        socket = folder / "soci.sock"
        plugin = f'[proxy_plugins.soci]\ntype = "snapshot"\naddress = "{socket}"\n'
        self.containerd = Containerd(
            folder / "containerd", route, snapshotter="native", settings=plugin
        )
        data = folder / "var-lib"
        data.mkdir()
        within = (*route.within, *with_file("/var/lib", data))
        config = folder / "soci.toml"
        lines = ["[background_fetch]", "disable = true"]
        for name, port in mirrors.items():
            lines += [f'[[resolver.host."{name}".mirrors]]', f'host = "127.0.0.1:{port}"']
            lines += ["insecure = true"]
        config.write_text("\n".join(lines))
        env = clean_environment(folder, **route.environment())
        self.daemon = Daemon(
            _NAME,
            [
                *within,
                f"/usr/bin/{_NAME}",
                f"--address={socket}",
                f"--config={config}",
            ],
            log=folder / "soci.log",
            env=env,
            ready=socket.exists,
        )
        address = f"--address={self.containerd.socket}"
        words = [*within, "/usr/bin/soci", address, "--namespace=rig"]
        self.cli = Program(folder / "cli", words, env)

    def start(self) -> None:
        self.containerd.start()
        self.daemon.start()

    def stop(self) -> None:
        self.daemon.kill9()
        self.containerd.stop()
        discard(self.folder)

    def publish(self, name: str) -> None:
        """Pull an image as others do, and put its index beside it."""
        check(self.containerd.pull(name, "--local"))
        check(self.cli.run("create", name))
        check(self.cli.run("push", "--quiet", name))

    def mount(self, name: str, *options: str) -> None:
        """Pull an image but for its layers, which are mounted."""
        check(self.cli.run("image", "rpull", *options, name))

    def file(self, name: str) -> Path:
        """A file of a mounted layer, which is fetched as it is read.

        It is in the mount namespace of the snapshotter.
        """
        inside = Path(f"/proc/{self.daemon.pid}/root/var/lib/{_NAME}")
        found = sorted(inside.glob(f"snapshotter/snapshots/*/fs/{name}"))
        if not found:
            raise RigError(f"no {name} in what is mounted")
        return found[-1]
