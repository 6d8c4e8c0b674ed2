"""What stands in for systemd on the tests' machines: a `systemctl` that starts daemons.

The daemons are real processes (a `sleep`, or a real dockerd), started with the environment of the
drop-ins that are there at that moment, as systemd does.
"""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ca.conftest import Machine

_SYSTEMCTL = """
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin
echo "$*" >>/run/systemctl.told
case $1 in
    show) printf 'MainPID=%s\\n' "$(cat "/run/$4.main" 2>/dev/null || echo 0)" ;;
    restart)
        [ -f "/etc/systemd/system/$2.service" ] || exit 5
        if [ -f "/run/$2.main" ]; then
            kill "$(cat "/run/$2.main")"
            while [ -e "/proc/$(cat "/run/$2.main")/exe" ]; do :; done
        fi
        set -- "$2" $(sed -n 's/^ExecStart=//p' "/etc/systemd/system/$2.service")
        unit=$1 ready=$(sed -n 's/^ExecStartPost=//p' "/etc/systemd/system/$1.service")
        shift
        variables=$(cat "/etc/systemd/system/$unit.service.d"/*.conf 2>/dev/null |
            sed -n 's/^Environment="\\(.*\\)"$/\\1/p; s/^Environment=\\([^"].*\\)$/\\1/p')
        setsid env -i PATH="$PATH" HOME=/root $variables "$@" </dev/null >"/run/$unit.log" 2>&1 &
        main=$! name=${1##*/}
        # Not yet `env`, which has another environment.
        until [ "$(cat "/proc/$main/comm")" = "$name" ]; do :; done
        echo $main >"/run/$unit.main"
        until $ready >/dev/null 2>&1; do :; done
        ;;
esac
exit 0
"""


class Daemons:
    """The services of a machine, which run until `stop`."""

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine
        shutil.rmtree(machine.at("/etc/systemd/system"), ignore_errors=True)
        for name in ("docker", "containerd", "buildkit", "k3s"):
            mask = machine.at(f"/etc/systemd/system/{name}.service")
            mask.parent.mkdir(parents=True, exist_ok=True)
            mask.symlink_to("/dev/null")
        machine.at("/run/systemd/system").mkdir(parents=True)
        machine.program("systemctl", _SYSTEMCTL)

    def add(self, unit: str, command: str = "sleep 600", ready: str = "true") -> None:
        """Install a service; `ready` is a command that succeeds once it is ready."""
        self._machine.at(f"/etc/systemd/system/{unit}.service").unlink(missing_ok=True)
        text = f"[Service]\nExecStart={command}\nExecStartPost={ready}\n"
        self._machine.write(f"/etc/systemd/system/{unit}.service", text)

    def restart(self, unit: str) -> None:
        done = self._machine.inside(
            "/bin/sh", str(self._machine.bin / "systemctl"), "restart", unit
        )
        assert done.returncode == 0, done.stderr

    def environment(self, unit: str) -> dict[str, str]:
        """What the running daemon of a service has."""
        pid = int(self._machine.at(f"/run/{unit}.main").read_text())
        words = Path(f"/proc/{pid}/environ").read_text().split("\0")
        return dict(word.split("=", 1) for word in words if word)

    def told(self) -> list[str]:
        """What systemd was told so far, but for questions."""
        path = self._machine.at("/run/systemctl.told")
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not line.startswith("show")]

    def stop(self) -> None:
        for path in self._machine.at("/run").glob("*.main"):
            pid = int(path.read_text())
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
