"""Databases made by somebody else's scripts, from Debian's packages; kept in `.cache/` once fetched."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "samples"
SCRIPTS = ("schema.sql.gz", "images.sql.gz", "data.sql.gz")


def zabbix_sql(work: Path) -> Path:
    """Zabbix's schema, images and data in the order its documentation loads them."""
    whole = CACHE / "zabbix.sql"
    if whole.exists():
        return whole
    package = "zabbix-server-pgsql"
    download = ["apt-get", "download", "-qq", package]
    if subprocess.run(download, cwd=work, check=False, capture_output=True).returncode:
        subprocess.run(["apt-get", "update", "-qq"], check=True)  # a new machine has no list of packages
        subprocess.run(download, cwd=work, check=True)
    (deb,) = work.glob(f"{package}_*.deb")
    subprocess.run(["dpkg-deb", "-x", deb, work / "tree"], check=True)
    folder = work / "tree/usr/share" / package
    text = b"".join(gzip.decompress((folder / script).read_bytes()) for script in SCRIPTS)
    CACHE.mkdir(parents=True, exist_ok=True)
    aside = whole.with_suffix(".aside")
    aside.write_bytes(text)
    aside.rename(whole)
    return whole
