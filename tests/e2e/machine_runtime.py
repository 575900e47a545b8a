"""The OCI runtime of a test's own machine: runc, but pageservers see the boot id of that machine, and no
container starts while the file "hold-starts" is beside that with the boot id.

argv: the file with the boot id, then what containerd gives a runtime. A container's /proc shows the
kernel's boot id, which no namespace changes; so its bundle gets that file, and the setting that names it.
"""

import json
import os
import sys
import time
from pathlib import Path

_SEEN_AT = "/etc/boot-id"


def _with_boot_id(bundle: Path, boot_id: str) -> None:
    config = json.loads((bundle / "config.json").read_text())
    env = config["process"]["env"]
    if any(one.startswith("NEON_STORAGE_NAME=") for one in env):
        env.append(f"NEON_BOOT_ID_FILE={_SEEN_AT}")
        mount = {"destination": _SEEN_AT, "type": "bind", "source": boot_id, "options": ["bind", "ro"]}
        config["mounts"].append(mount)
        (bundle / "config.json").write_text(json.dumps(config))


def main(boot_id: str, *args: str) -> None:
    if "create" in args:
        _with_boot_id(Path(args[args.index("--bundle") + 1]), boot_id)
    hold = Path(boot_id).with_name("hold-starts")
    while "start" in args and hold.exists():
        time.sleep(0.01)
    os.execvp("runc", ["runc", *args])


if __name__ == "__main__":
    main(*sys.argv[1:])
