"""The worker's own settings."""

from typing import Annotated

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from taskqueue.model import MICROSECOND, Kept, Retention
from taskqueue.settings import QueueSettings


class HandlerSettings(BaseSettings):
    """Which task types there are: known first, as each may bring settings of its own."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    worker_handlers: Annotated[str, Field(description="packages with a module per task type, by commas")] = (
        "worker.handlers"
    )


class WorkerSettings(QueueSettings):
    """Read once at start; see `python -m worker --help`."""

    worker_concurrency: Annotated[int, Field(ge=1, le=1000, description="tasks run at a time")] = 10
    lease_s: Annotated[float, Field(ge=1, le=3600, description="how long a claim lasts unrenewed")] = 10.0
    renew_s: Annotated[float, Field(gt=0, description="time between renewals of a lease")] = 3.0
    retention_s: Annotated[float, Field(ge=1, description="how long a finished task can be looked up")] = (
        86_400.0
    )
    dead_retention_s: Annotated[
        float, Field(ge=0, description="the same for failed and cancelled tasks; 0: as RETENTION_S")
    ] = 0.0
    retention_count: Annotated[
        int, Field(ge=0, description="tasks kept of each way to end, at most; 0: any number")
    ] = 0
    poison_kills: Annotated[
        int, Field(ge=0, description="lost workers that make a task fail, the last time alone; 0: never")
    ] = 3
    max_result_bytes: Annotated[int, Field(ge=64, description="largest result that is kept")] = 65_536
    probe_port: Annotated[int, Field(ge=0, le=65_535, description="port of the probes; 0: any free")] = 8081
    shutdown_grace_s: Annotated[
        float, Field(ge=0, description="how long tasks under way may run on after SIGTERM")
    ] = 25.0
    pod_name: Annotated[str, Field(description="name of this worker in logs and lists")] = "worker"
    node_name: Annotated[str, Field(description="machine that it runs on")] = ""

    @property
    def retention(self) -> Retention:
        """What is kept of finished tasks."""
        kept = Kept(int(self.retention_s * MICROSECOND), self.retention_count)
        rest = Kept(int((self.dead_retention_s or self.retention_s) * MICROSECOND), self.retention_count)
        return Retention(completed=kept, failed=rest, cancelled=rest)

    @model_validator(mode="after")
    def _renews_in_time(self) -> "WorkerSettings":
        if self.renew_s * 2 > self.lease_s:
            raise ValueError("RENEW_S must be at most half of LEASE_S, or one late renewal loses the lease")
        return self
