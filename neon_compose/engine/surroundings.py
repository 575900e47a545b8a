"""What a build must know of the network it runs in: certificate bundle, proxies, package indexes.

None of it is part of an image's content hash, and none of it stays in a final image: proxies are
arguments that Docker itself keeps out of history, the rest is used in build stages only.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from neon_compose import settings

BUNDLE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
BUNDLE_PATHS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS
)
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
INDEXES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "GOPROXY")
OTHERS = ("PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "GOSUMDB", "GONOSUMDB", "GOPRIVATE")
PIP_FILES = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
PIP_OPTIONS = {"PIP_INDEX_URL": "index-url", "PIP_EXTRA_INDEX_URL": "extra-index-url"}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def certificate_bundle() -> bytes:
    """The bundle this machine's tools are told to trust, else the system's, else the one pip ships."""
    told = [settings.text(name) for name in BUNDLE_VARIABLES]
    for path in (*told, *BUNDLE_PATHS):
        if path and Path(path).is_file():
            return Path(path).read_bytes()
    import certifi  # comes with the Docker SDK's requests; needed where the system has no bundle

    return Path(certifi.where()).read_bytes()


def build_args() -> dict[str, str]:
    """Proxies, indexes and their options, as build arguments."""
    found = {name: value for name in (*INDEXES, *OTHERS) if (value := settings.text(name))}
    for name, option in PIP_OPTIONS.items():
        if name not in found and (value := _pip_option(option)):
            found[name] = value
    for lower in PROXIES:
        value = settings.text(lower) or settings.text(lower.upper())
        if value:
            found[lower] = found[lower.upper()] = value
    return found


def needs_host_network(args: Mapping[str, str]) -> bool:
    """Does any proxy or index live on this machine's loopback, out of reach of a container's network?"""
    names = (*INDEXES, *(p for p in PROXIES if p != "no_proxy"))
    return any(_is_loopback(url) for name in names for url in args.get(name, "").replace(",", " ").split())


def _is_loopback(url: str) -> bool:
    return urlsplit(url if "//" in url else f"//{url}").hostname in LOOPBACK


def _pip_option(option: str, files: Iterable[str] = PIP_FILES) -> str:
    """An option of pip's own configuration files; the later file wins, as for pip."""
    parser = configparser.RawConfigParser()
    told = settings.text("PIP_CONFIG_FILE")
    parser.read([str(Path(name).expanduser()) for name in (*files, *([told] if told else []))])
    return " ".join(parser.get("global", option, fallback="").split())
