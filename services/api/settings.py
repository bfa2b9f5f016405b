"""The API's own settings."""

from typing import Annotated

from pydantic import Field
from taskqueue.settings import QueueSettings

from api.envelope import Durability


class ApiSettings(QueueSettings):
    """Read once at start; see `python -m api --help`."""

    host: Annotated[str, Field(description="address to listen on")] = "0.0.0.0"  # noqa: S104
    port: Annotated[int, Field(ge=0, le=65_535, description="port to listen on; 0: any free")] = 5000
    max_body_bytes: Annotated[int, Field(ge=1024, description="largest request body")] = 1_048_576
    max_batch_bytes: Annotated[int, Field(ge=1024, description="largest body of POST /tasks/batch")] = (
        16_777_216
    )
    durability: Annotated[
        Durability,
        Field(description="when a POST is answered that names none: memory, or fsync (Redis 7.2 and AOF)"),
    ] = Durability.MEMORY
    memory_limit_share: Annotated[
        float, Field(gt=0, le=1, description="share of Redis' maxmemory at which tasks are refused")
    ] = 0.9
    max_queue_length: Annotated[
        int, Field(ge=0, description="waiting tasks of a queue at which more are refused; 0: no limit")
    ] = 0
    drain_s: Annotated[
        float, Field(ge=0, description="after SIGTERM, how long kept-alive connections are still served")
    ] = 5.0
    shutdown_grace_s: Annotated[
        float, Field(ge=0, description="how long requests under way may take after SIGTERM")
    ] = 10.0
