"""Where the queue's Redis is and how long its calls may take; read from the environment."""

from typing import Annotated

from pydantic import Field, RedisDsn, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """Settings that cannot be used; the message has a line for each variable at fault."""


class RedisSettings(BaseSettings):
    """Passwords stand apart from URLs, so that a URL can be logged."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, hide_input_in_errors=True)

    redis_url: Annotated[str, Field(description="redis:// or rediss://host:port/db, without a password")] = (
        "redis://127.0.0.1:6379/0"
    )
    redis_password: Annotated[SecretStr | None, Field(description="password of that Redis")] = None
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
    def _is_redis_url(cls, url: str) -> str:
        parsed = RedisDsn(url)
        if parsed.password:
            raise ValueError("must hold no password (it would be logged): set REDIS_PASSWORD")
        return url


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
