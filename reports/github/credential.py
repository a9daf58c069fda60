"""Who posts: a token, or a GitHub App. Read from the environment that is given in, and never printed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from matrix.errors import ConfigurationError
from matrix.model import Model

TOKENS: Final = ("NVFP4_MATRIX_TOKEN", "GITHUB_TOKEN", "GH_TOKEN")
APP: Final = "NVFP4_MATRIX_APP_ID"
KEY: Final = "NVFP4_MATRIX_APP_PRIVATE_KEY"
KEY_FILE: Final = "NVFP4_MATRIX_APP_PRIVATE_KEY_FILE"
INSTALLATION: Final = "NVFP4_MATRIX_APP_INSTALLATION_ID"


class Token(Model, frozen=True, kw_only=True):
    """A job's own token or a personal one."""

    token: str

    def __repr__(self) -> str:
        return "Token(***)"


class App(Model, frozen=True, kw_only=True):
    """A GitHub App; `installation` "" is: ask which installation the repository has."""

    id: str
    key: str
    installation: str = ""

    def __repr__(self) -> str:
        return f"App({self.id}, ***)"


Credential = Token | App


def credential(environment: Mapping[str, str]) -> Credential | None:
    """Read who posts; an app goes before a token. None where nothing is set.

    Raises ConfigurationError for an app without a key.
    """
    if app := environment.get(APP, "").strip():
        return App(
            id=app, key=_key(environment), installation=environment.get(INSTALLATION, "").strip()
        )
    token = next((environment[name].strip() for name in TOKENS if environment.get(name)), "")
    return Token(token=token) if token else None


def _key(environment: Mapping[str, str]) -> str:
    key = environment.get(KEY, "")
    if not key and (file := environment.get(KEY_FILE)):
        try:
            key = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{KEY_FILE} {file}: cannot be read") from error
    if "PRIVATE KEY" not in key:
        raise ConfigurationError(f"{APP} is set: {KEY} or {KEY_FILE} must hold the app's PEM key")
    # A secret store may keep it on one line.
    return key.replace("\\n", "\n")
