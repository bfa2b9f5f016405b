"""What is made once for a cluster and kept outside the checkout: secrets, Pulumi's passphrase and backend."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import cast

_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600


@dataclass(frozen=True)
class DeployState:
    """A private folder; everything in it is made when it is first asked for."""

    folder: Path

    def stack_secrets(self, stack: str, namespace: str) -> dict[str, str]:
        """Secret settings for a stack whose owner gave none: made once, so a second run changes nothing."""
        file = self._made("secrets") / f"{stack}-{namespace}.json"
        if file.is_file():
            return cast(dict[str, str], json.loads(file.read_text()))
        made = {"redisPassword": secrets.token_urlsafe(24)}
        _write_private(file, json.dumps(made))
        return made

    def passphrase_file(self) -> Path:
        """The passphrase that Pulumi encrypts secrets with."""
        file = _private(self.folder) / "passphrase"
        if not file.is_file():
            _write_private(file, secrets.token_urlsafe(32))
        return file

    def backend(self) -> Path:
        """The folder in which Pulumi keeps its state."""
        return self._made("pulumi")

    def project(self) -> Path:
        """A Pulumi project that leads to the checkout's program: no setting is written into the checkout."""
        return self._made("project")

    def log(self, name: str) -> Path:
        """Where the output of a long program goes."""
        return self._made("logs") / f"{name}.log"

    def _made(self, name: str) -> Path:
        return _private(_private(self.folder) / name)


def _private(folder: Path) -> Path:
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    return folder


def _write_private(file: Path, text: str) -> None:
    """Whole or not at all, and never readable by others."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE), "w") as opened:
        opened.write(text)
    part.replace(file)
