"""The whole stack: which components there are, and what each needs of the others."""

import pulumi

from infra.api import Api
from infra.autoscaling import Autoscaler
from infra.images import Images
from infra.mail import Mail
from infra.namespace import Namespace
from infra.network import Network
from infra.redis import Redis
from infra.settings import Settings
from infra.worker import Worker


def declare(settings: Settings) -> dict[str, pulumi.Input[object]]:
    """Declares every resource of the stack and returns its outputs."""
    images = Images("images", settings)
    namespace = Namespace("task-queue", settings).name
    Network("network", settings, namespace)
    redis = Redis("redis", settings, namespace)
    api = Api("api", settings, namespace, images.refs["api"], redis)
    worker = Worker("worker", settings, namespace, images.refs["worker"], redis)
    Autoscaler("autoscaler", settings, namespace, worker.deployment)
    outputs: dict[str, pulumi.Input[object]] = {
        "url": api.url,
        "namespace": namespace,
        "api_image": images.refs["api"],
        "worker_image": images.refs["worker"],
        "kubectl": look_closer(settings.namespace),
    }
    if settings.mail.enabled:
        outputs["mail_url"] = Mail("mail", settings, namespace, images.refs["mail"]).url
    return outputs


def look_closer(namespace: str) -> list[str]:
    """Command lines that show what runs."""
    return [
        f"kubectl -n {namespace} get pods,hpa",
        f"kubectl -n {namespace} logs -l app=task-worker --prefix -f",
        f"kubectl -n {namespace} port-forward service/api-service 8080:80",
    ]
