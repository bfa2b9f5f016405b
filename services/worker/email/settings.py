"""How mail leaves the worker."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class EmailSettings(BaseSettings):
    """EMAIL_TRANSPORT has no default: whether mail is really sent is said, never guessed."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, hide_input_in_errors=True)

    email_transport: Annotated[
        Literal["simulate", "smtp"], Field(description="simulate (sends nothing) or smtp")
    ]
    email_sender: Annotated[str, Field(pattern=r"^[^@\s<>]+@[^@\s<>]+$", description="From address")] = (
        "task-queue@localhost.localdomain"
    )
    smtp_host: Annotated[str, Field(description="mail server")] = ""
    smtp_port: Annotated[int, Field(ge=1, le=65_535, description="its port")] = 587
    smtp_tls: Annotated[
        Literal["none", "starttls", "implicit"], Field(description="none, starttls or implicit")
    ] = "starttls"
    smtp_tls_verify: Annotated[bool, Field(description="check the server's certificate")] = True
    smtp_username: Annotated[str, Field(description="login, if the server wants one")] = ""
    smtp_password: Annotated[SecretStr, Field(description="its password")] = SecretStr("")
    smtp_pool_size: Annotated[int, Field(ge=1, le=1000, description="connections kept at most")] = 10
    smtp_timeout_s: Annotated[float, Field(gt=0, le=600, description="longest wait for an answer")] = 30.0

    @model_validator(mode="after")
    def _is_complete(self) -> "EmailSettings":
        if self.email_transport == "smtp" and not self.smtp_host:
            raise ValueError("SMTP_HOST: is required when EMAIL_TRANSPORT is smtp")
        if self.smtp_username and self.smtp_tls == "none":
            raise ValueError("SMTP_TLS: must be starttls or implicit when SMTP_USERNAME is set")
        return self
