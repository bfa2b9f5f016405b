"""The stack's settings: read from Pulumi's configuration, checked, every error told at once."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from infra.blocks import DnsLabel, QueueNames, Section, section_of
from infra.sections import Api, Email, Images, Mail, Redis, RedisForm, Transport, Worker

PROJECT = "task-queue"
SECRETS = ("redisPassword", "sentinelPassword", "smtpPassword", "registryPassword")


class SettingsError(Exception):
    """The stack's settings are wrong; its text has a line for each error."""

    def __init__(self, stack: str, problems: list[str]) -> None:
        self.problems = problems
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"the settings of stack {stack!r} are wrong:{lines}")


def _redis_safe(secret: SecretStr | None) -> SecretStr | None:
    """It goes into a line of Redis' configuration, in double quotes."""
    value = secret.get_secret_value() if secret else ""
    if secret and (not value.isascii() or not value.isprintable() or set(value) & set("\"\\' ")):
        raise ValueError("it may hold printable ASCII only, without quotes, backslashes and spaces")
    if secret and len(value) < 16:
        raise ValueError("it is shorter than 16 characters")
    return secret


class Settings(Section):
    """Everything that can be set on a stack."""

    namespace: DnsLabel = Field(default="task-queue", description="namespace of every object")
    create_namespace: bool = Field(default=True, description="make the namespace; false: it is there already")
    queue_names: QueueNames = Field(
        default="default", description="queues, by commas; tasks that name none go to the first"
    )
    images: Images = Images()
    redis: Redis = Redis()
    api: Api = Api()
    worker: Worker = Worker()
    email: Email
    mail: Mail = Mail()
    redis_password: Annotated[SecretStr | None, AfterValidator(_redis_safe)] = Field(
        default=None, description="secret; password of Redis, 16 characters or more"
    )
    sentinel_password: SecretStr | None = Field(
        default=None, description="secret; password of the sentinels of redis.external"
    )
    smtp_password: SecretStr | None = Field(
        default=None, description="secret; password of email.smtp.username"
    )
    registry_password: SecretStr | None = Field(
        default=None, description="secret; password of images.registryUsername"
    )

    @field_validator("images")
    @classmethod
    def _every_image_has_a_source(cls, images: Images) -> Images:
        missing = [name for name in ("api", "worker") if not (getattr(images, name) or images.registry)]
        if missing:
            raise ValueError(
                f"no image for {' and '.join(missing)}: set registry to build and push, or give a ref each"
            )
        return images

    @field_validator("mail")
    @classmethod
    def _mail_has_an_image(cls, mail: Mail, info: ValidationInfo) -> Mail:
        images: Images | None = info.data.get("images")
        if mail.enabled and images and not (images.mail or images.registry):
            raise ValueError(
                "no image for mail: set images.mail to a ref, or images.registry to build and push"
            )
        return mail

    @field_validator("redis_password")
    @classmethod
    def _own_redis_has_a_password(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        redis: Redis | None = info.data.get("redis")
        if redis and redis.external is None and secret is None:
            raise ValueError("required: `pulumi config set --secret redisPassword ...`")
        return secret

    @field_validator("redis_password")
    @classmethod
    def _redis_login_is_whole(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        redis: Redis | None = info.data.get("redis")
        if redis and redis.external and redis.external.username and secret is None:
            raise ValueError(
                "required by redis.external.username: `pulumi config set --secret redisPassword ...`"
            )
        return secret

    @field_validator("sentinel_password")
    @classmethod
    def _sentinels_have_it(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        redis: Redis | None = info.data.get("redis")
        external = redis.external if redis else None
        if secret and redis and not (external and external.form == RedisForm.SENTINEL):
            raise ValueError("it is of no use without redis+sentinel:// in redis.external.url")
        if external and external.sentinel_username and secret is None:
            raise ValueError(
                "required by redis.external.sentinelUsername: "
                "`pulumi config set --secret sentinelPassword ...`"
            )
        return secret

    @field_validator("smtp_password")
    @classmethod
    def _login_is_whole(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        email: Email | None = info.data.get("email")
        username = email.smtp.username if email and email.smtp else None
        if username and secret is None and email and email.transport == Transport.SMTP:
            raise ValueError("required by email.smtp.username: `pulumi config set --secret smtpPassword ...`")
        if secret and email and not username:
            raise ValueError("it is of no use without email.smtp.username")
        return secret

    @field_validator("registry_password")
    @classmethod
    def _registry_login_is_whole(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        images: Images | None = info.data.get("images")
        if images and images.registry_username and secret is None:
            raise ValueError(
                "required by images.registryUsername: `pulumi config set --secret registryPassword ...`"
            )
        return secret


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """A stack's configuration as Pulumi hands it over: `task-queue:<key>` to text, JSON for structures."""

    stack: str
    values: Mapping[str, str]
    secret_keys: frozenset[str] = frozenset()


def load(config: StackConfig) -> Settings:
    """Checked settings of a stack; SettingsError names every wrong, unknown or missing key."""
    given, problems = _decoded(config.values)
    problems += [
        f"{key}: it is stored in the clear: set it with `pulumi config set --secret {key} ...`"
        for key in SECRETS
        if key in given and f"{PROJECT}:{key}" not in config.secret_keys
    ]
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        told = {problem.split(":")[0] for problem in problems}
        problems += [_in_words(e) for e in error.errors(include_url=False) if _path(e) not in told]
        raise SettingsError(config.stack, problems) from None
    if problems:
        raise SettingsError(config.stack, problems)
    return settings


def _decoded(values: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The project's own keys, with the JSON of sections read; other namespaces belong to providers."""
    fields = {f.alias or name: f.annotation for name, f in Settings.model_fields.items()}
    given: dict[str, Any] = {}
    problems: list[str] = []
    for full_key, text in values.items():
        space, _, key = full_key.partition(":")
        if space != PROJECT:
            continue
        given[key] = text
        if section_of(fields.get(key)):
            try:
                given[key] = json.loads(text)
            except ValueError:
                problems.append(
                    f"{key}: it is not a section with keys: use `pulumi config set --path {key}.<name> ...`"
                )
    return given, problems


def _path(error: ErrorDetails) -> str:
    """Where the error is, in the stack file's own spelling (that of a default is told in Python's)."""
    location = error["loc"]
    parts = [str(part) for part in location]
    for n, part in enumerate(parts):
        field = _section_at(location[:n]).model_fields.get(part)
        parts[n] = field.alias or part if field else part
    return ".".join(parts)


def _in_words(error: ErrorDetails) -> str:
    path = _path(error)
    if error["type"] == "extra_forbidden":
        return f"{path}: unknown key{_suggestion(error['loc'])}"
    if error["type"] == "missing":
        return f"{path}: required{_meaning(error['loc'])}"
    return f"{path}: {error['msg'].removeprefix('Value error, ').removeprefix('Input ')}"


def _section_at(location: tuple[int | str, ...]) -> type[Section]:
    section: type[Section] = Settings
    for part in location:
        fields = {f.alias or name: f for name, f in section.model_fields.items()}
        section = section_of(fields[str(part)].annotation) or section if str(part) in fields else section
    return section


def _suggestion(location: tuple[int | str, ...]) -> str:
    known = [f.alias or name for name, f in _section_at(location[:-1]).model_fields.items()]
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f" (did you mean {close[0]}?)" if close else f" (known here: {', '.join(known)})"


def _meaning(location: tuple[int | str, ...]) -> str:
    section = _section_at(location[:-1])
    field = next((f for name, f in section.model_fields.items() if (f.alias or name) == location[-1]), None)
    if field is None or section_of(field.annotation) is not None:
        inner = section_of(field.annotation) if field else None
        needed = [f.alias or n for n, f in inner.model_fields.items() if f.is_required()] if inner else []
        return f": set {', '.join(f'{location[-1]}.{key}' for key in needed)}" if needed else ""
    return f": {field.description}" if field.description else ""
