"""What a Locust process is told by its environment, read once."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

RESERVED_DOMAIN = "load.example.com"
"""RFC 2606 keeps example.com for such use: no mail to it can ever reach a person."""


class LoadSettings(BaseSettings):
    """Settings of the users that Locust simulates; each is an environment variable `LOAD_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="LOAD_", frozen=True)

    rate_per_user: float = Field(default=1.0, gt=0, le=50)
    """E-mails a second that one user posts, whatever the answers take (up to a turn's length)."""
    follow_timeout_s: float = Field(default=60.0, gt=0)
    follow_poll_s: float = Field(default=0.25, gt=0)
    domain: str = RESERVED_DOMAIN
    tag: str = "web"
    """Goes into every recipient (`name+tag@domain`), to tell the deliveries of one run from others."""
    seed: int = 1
    record_dir: Path | None = None
    """Where accepted ids and a line a second are written; nothing is written without it."""
    mail_url: str = "http://127.0.0.1:30825"
    target_checked: bool = False
    """Set by a parent that has made sure already that the target sends no real mail."""
