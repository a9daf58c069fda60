"""What the user told pip: indexes, folders, proxy and certificates (pip's guide, "Configuration")."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from matrix.errors import ConfigurationError
from matrix.evidence.transport import Connection, split_login
from matrix.model import Model

_SECTIONS: Final = ("global", "install", "download")
"""Later ones win, over files too: pip merges all [global] first, then its command's section."""

_FALSE: Final = {"0", "no", "n", "false", "f", "off", ""}


class PipConfig(Model, frozen=True, kw_only=True):
    """The settings that matter for reading wheels; URLs are without credentials (`connection` has them).

    `indexes` in pip's order, "" standing for the default index; empty with `no-index`.
    """

    indexes: tuple[str, ...] = ("",)
    find_links: tuple[str, ...] = ()
    connection: Connection = Connection()


def read_pip_config(environment: Mapping[str, str] | None = None) -> PipConfig:
    """Read pip's files and PIP_* variables; variables win. Raises ConfigurationError naming the file."""
    env = os.environ if environment is None else environment
    settings = _from_files(env)
    for name, value in env.items():
        if name.startswith("PIP_") and value:
            settings[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    logins = []
    urls = []
    first = settings.get("index-url", "")
    for url in (first, *settings.get("extra-index-url", "").split()):
        clean, login = split_login(url)
        urls.append(clean)
        if login:
            logins.append(login)
    if settings.get("no-index", "").strip().lower() not in _FALSE:
        urls = []
    return PipConfig(
        indexes=tuple(urls),
        find_links=tuple(settings.get("find-links", "").split()),
        connection=Connection(
            timeout=_seconds(settings),
            retries=_count(settings),
            ca_bundle=_path(settings.get("cert", "")) or _environment_bundle(env),
            client_certificate=_path(settings.get("client-cert", "")),
            proxy=settings.get("proxy", ""),
            trusted_hosts=tuple(settings.get("trusted-host", "").split()),
            logins=tuple(logins),
        ),
    )


def _files(env: Mapping[str, str]) -> list[Path]:
    """Return the places of pip's files for this system, those that win last."""
    chosen = env.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return []
    home = Path(env.get("HOME") or Path.home())
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    if sys.platform == "win32":
        places = [
            Path(env.get("PROGRAMDATA", "C:\\ProgramData"), "pip"),
            home / "pip",
            Path(env.get("APPDATA", ""), "pip"),
        ]
    else:
        shared = env.get("XDG_CONFIG_DIRS") or "/etc/xdg"
        places = [Path(each, "pip") for each in reversed(shared.split(os.pathsep)) if each]
        places += [Path("/etc"), home / ".pip"]
        places.append(Path(env.get("XDG_CONFIG_HOME") or home / ".config", "pip"))
        if sys.platform == "darwin":
            places[0] = Path("/Library/Application Support/pip")
            support = home / "Library/Application Support/pip"
            places[-1] = support if support.is_dir() else places[-1]
    files = [place / name for place in (*places, Path(sys.prefix))]
    return [*files, Path(chosen)] if chosen else files


def _from_files(env: Mapping[str, str]) -> dict[str, str]:
    merged: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for path in _files(env):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")  # a file that is not there is passed over
        except (configparser.Error, UnicodeDecodeError) as error:
            problem = str(error).splitlines()[0]
            raise ConfigurationError(
                f"{path}: pip's configuration is damaged: {problem}"
            ) from error
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        for section in _SECTIONS:
            if parser.has_section(section):
                merged[section].update(
                    {key.replace("_", "-"): value for key, value in parser.items(section)}
                )
    return merged["global"] | merged["install"] | merged["download"]


def _seconds(settings: Mapping[str, str]) -> float:
    # pip takes both names: its long option is spelt --timeout and --default-timeout.
    text = settings.get("timeout") or settings.get("default-timeout") or "15"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise ConfigurationError(f"pip's timeout is {text!r}: write a number of seconds")
    return seconds


def _count(settings: Mapping[str, str]) -> int:
    text = settings.get("retries") or "4"
    if not text.strip().isdecimal():
        raise ConfigurationError(f"pip's retries is {text!r}: write a number")
    return int(text)


def _path(text: str) -> str:
    """Expand `~` and demand that the file is there: requests would only say OSError."""
    if not text:
        return ""
    path = Path(text).expanduser()
    if not path.exists():
        raise ConfigurationError(f"{path}: no such certificate file (set in pip's configuration)")
    return str(path)


def _environment_bundle(env: Mapping[str, str]) -> str:
    """Return the bundle that the environment names, the one for requests before that for OpenSSL."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if (path := env.get(name, "")) and Path(path).exists():
            return path
    return ""
