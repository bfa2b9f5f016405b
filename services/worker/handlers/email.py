"""The task type `email`: delivers one mail by the transport that the settings name."""

from typing import Any

from taskqueue.payloads.email import EmailPayload

from worker.context import TaskContext
from worker.email.message import Envelope, build
from worker.email.settings import EmailSettings
from worker.email.transport import Transport, open_transport
from worker.registry import task


@task(
    "email",
    time_limit_s=300,
    prefetch=False,  # a mail waits for a free place in Redis, where every worker can take it
    settings=EmailSettings,
    open_resource=open_transport,
)
async def send_email(payload: EmailPayload, context: TaskContext[Transport]) -> dict[str, Any]:
    """The result names the transport, the Message-ID and the server's answer."""
    transport = context.resource
    envelope: Envelope = build(payload, transport.sender, context.task_id, context.created_us)
    answer = await transport.deliver(envelope, context.ensure_lease)
    context.log.info("delivered", message_id=envelope.message_id, **answer)
    return {**answer, "message_id": envelope.message_id}
