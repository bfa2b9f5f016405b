"""Where the queue's Redis is and how long its calls may take; read from the environment."""

import ssl
from pathlib import Path
from typing import Annotated

from pydantic import Field, FilePath, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from taskqueue.ids import is_queue_name
from taskqueue.redis_url import parse


class SettingsError(Exception):
    """Settings that cannot be used; the message has a line for each variable at fault."""


class RedisSettings(BaseSettings):
    """Passwords stand apart from URLs, so that a URL can be logged."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, hide_input_in_errors=True)

    redis_url: Annotated[
        str,
        Field(
            description="redis://host:port/db, redis+sentinel://host:port,.../service/db or "
            "redis+cluster://host:port,...; rediss for TLS; without a password"
        ),
    ] = "redis://127.0.0.1:6379/0"
    redis_username: Annotated[str | None, Field(description="user of that Redis, if not in the URL")] = None
    redis_password: Annotated[SecretStr | None, Field(description="password of that Redis")] = None
    redis_sentinel_username: Annotated[str | None, Field(description="user of its sentinels")] = None
    redis_sentinel_password: Annotated[SecretStr | None, Field(description="password of its sentinels")] = (
        None
    )
    redis_ca_file: Annotated[
        FilePath | None, Field(description="CA certificates (PEM) for TLS, if not those of the system")
    ] = None
    redis_tls_verify: Annotated[bool, Field(description="check the certificate of a rediss:// Redis")] = True
    redis_require_aof: Annotated[
        bool, Field(description="refuse to start on a Redis without an append-only file")
    ] = False
    redis_timeout_s: Annotated[float, Field(gt=0, le=30, description="longest wait for one answer")] = 2.0
    queue_name: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="the queue to use")
    ] = "default"
    log_level: Annotated[
        str, Field(pattern="^(debug|info|warning|error)$", description="least level logged")
    ] = "info"
    log_format: Annotated[
        str, Field(pattern="^(auto|json|console)$", description="auto: console on a terminal, else json")
    ] = "auto"

    @field_validator("redis_url")
    @classmethod
    def _is_a_redis_url(cls, url: str) -> str:
        parse(url)
        return url

    @field_validator("redis_ca_file")
    @classmethod
    def _holds_certificates(cls, file: Path | None) -> Path | None:
        try:
            ssl.create_default_context(cafile=file)
        except (OSError, ssl.SSLError) as error:
            raise ValueError("holds no CA certificates in PEM that can be read") from error
        return file

    @model_validator(mode="after")
    def _a_user_has_a_password(self) -> "RedisSettings":
        if self.redis_password is None and (self.redis_username or parse(self.redis_url).username):
            raise ValueError("REDIS_PASSWORD is missing: a user name is of no use without")
        return self


class QueueSettings(RedisSettings):
    """Of a process that serves several queues."""

    queue_names: Annotated[str, Field(description="queues to serve, by commas; empty: QUEUE_NAME only")] = ""

    @property
    def queues(self) -> list[str]:
        """The names of the queues, in the order given."""
        given = [name.strip() for name in self.queue_names.split(",") if name.strip()]
        return list(dict.fromkeys(given)) or [self.queue_name]

    @field_validator("queue_names")
    @classmethod
    def _are_queue_names(cls, names: str) -> str:
        for name in filter(None, map(str.strip, names.split(","))):
            if not is_queue_name(name):
                raise ValueError(f"{name!r} is no queue name: lower-case letters, digits, - and _")
        return names


def load(*kinds: type[BaseSettings]) -> list[BaseSettings]:
    """Reads each kind of settings; every error of all of them is told in one SettingsError.

    Values are never repeated in the message: they may be secrets.
    """
    loaded: list[BaseSettings] = []
    wrong: dict[str, None] = {}
    for kind in kinds:
        try:
            loaded.append(kind())
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                name = "_".join(str(part) for part in detail["loc"]).upper()
                wrong[f"  {name}: {detail['msg']}" if name else f"  {detail['msg']}"] = None
    if wrong:
        raise SettingsError("these settings are wrong:\n" + "\n".join(wrong))
    return loaded


def describe(*kinds: type[BaseSettings]) -> str:
    """The table of settings that `--help` prints: name, default, meaning."""
    lines: dict[str, None] = {}
    for kind in kinds:
        for name, field in kind.model_fields.items():
            default = "required" if field.is_required() else f"default {field.default}"
            lines[f"  {name.upper():<22} {field.description or ''} ({default})"] = None
    return "environment:\n" + "\n".join(lines)
