"""From a checkout to a running system that has delivered an e-mail, in one command: up, down, status."""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable

from infra import builders, engine, images, proof, rollout, stackfile, target
from infra.manifests import manifests
from infra.plan import Plan, Request, plan_for
from infra.program import look_closer
from infra.sections import Transport
from infra.settings import SettingsError, load
from infra.steps import DeployError, say, step
from infra.target import Target

FAILED, WRONG_USAGE = 1, 2
_METHODS = ("auto", "pulumi", "render")


def up(request: Request) -> None:
    """Starts the cluster if it is ours, builds, deploys, and shows one e-mail delivered."""
    aimed = target.from_environment()
    if aimed.embedded:
        with step("Cluster: the embedded one (KUBECONFIG or CONTEXT would name another)"):
            target.start_embedded()
    with step(f"Settings: Pulumi.{request.stack}.yaml, and what this cluster adds"):
        plan = plan_for(request, aimed)
        method, reason = choose_method(
            request.method, rollout.deployed_by(aimed, plan.namespace), engine.why_not
        )
        say(f"    namespace {plan.namespace}, by {method} ({reason})")
    if method == "pulumi":
        _refuse_another_s_stack(plan)
    _deploy_by_pulumi(plan) if method == "pulumi" else _deploy_rendered(plan, request.limit_s)
    _show_that_it_works(plan, request.recipient)


def choose_method(wanted: str, there: str | None, why_not: Callable[[], str | None]) -> tuple[str, str]:
    """The method and why; DeployError when what is there was deployed by the other one."""
    if wanted != "auto" and there and wanted != there:
        raise DeployError(
            f"what runs there was deployed by {there}, and two owners of one object undo each other's work.\n"
            f"Deploy with --method {there}, or remove it first: python -m infra.deploy down --keep-cluster\n"
            "(docs/infrastructure.md shows how to import it instead)"
        )
    method = there if wanted == "auto" else wanted
    if method == "render":
        return "render", "as what is there" if wanted == "auto" else "as asked"
    reason = why_not()
    if reason is None:
        return "pulumi", "as what is there" if there else "its command line and plugins are here"
    if method == "pulumi":
        raise DeployError(f"{reason}: https://www.pulumi.com/docs/iac/download-install/")
    return "render", reason


def _refuse_another_s_stack(plan: Plan) -> None:
    """What Pulumi deployed from another backend, as from a shell by hand, is not ours to take over."""
    if rollout.deployed_by(plan.target, plan.namespace) == "pulumi" and not plan.engine.exists():
        raise DeployError(
            f"what runs in namespace {plan.namespace} was deployed by Pulumi, but not from "
            f"{plan.engine.environment().get('PULUMI_BACKEND_URL', 'this backend')}.\n"
            "Use pulumi up and pulumi destroy there, or set PULUMI_BACKEND_URL to it, or choose a --namespace"
        )


def _deploy_by_pulumi(plan: Plan) -> None:
    built = [name for name in images.needed(plan.settings) if not getattr(plan.settings.images, name)]
    with step("Base images"):
        _ensure_base_images(plan.target, built)
    with step(f"Deploy: pulumi up (stack {plan.engine.name}; its folder is {plan.engine.project})"):
        plan.engine.up(stackfile.entries_of(plan.stack, overrides=plan.overrides), plan.secrets)


def _deploy_rendered(plan: Plan, limit_s: int) -> None:
    with step("Images"):
        refs = _built_images(plan)
    overrides = (*plan.overrides, *(f"images.{name}={ref}" for name, ref in refs.items()))
    settings = load(stackfile.read(plan.stack, overrides=overrides, secrets=plan.secrets))
    objects = manifests(settings, plan.stack)
    with step("Deploy: the rendered objects, by kubectl apply --server-side"):
        rollout.apply(plan.target, objects)
        rollout.wait(plan.target, plan.namespace, objects, limit_s)
        rollout.prune(plan.target, plan.namespace, objects)


def _built_images(plan: Plan) -> dict[str, str]:
    """A ref for each image that the settings give none for."""
    chosen, refs = plan.settings.images, dict[str, str]()
    builds = [images.build_of(n, chosen) for n in images.needed(plan.settings) if not getattr(chosen, n)]
    missing = [build.name for build in builds if not builders.pushed_digest(build.reference)]
    if missing:
        builders.builder()
    _ensure_base_images(plan.target, missing)
    for build in builds:
        refs[build.name] = images.as_nodes_name_it(builders.ensure_pushed(build, plan.state), chosen)
    return refs


def _ensure_base_images(aimed: Target, names: Iterable[str]) -> None:
    """On the embedded cluster base images are made here, as none can be counted on to be pulled."""
    if not aimed.embedded:
        return
    from infra.local import baseimages
    from infra.local.failures import ClusterError

    try:
        baseimages.ensure(["redis", *sorted({"golang" if name == "mail" else "python" for name in names})])
    except ClusterError as error:
        raise DeployError(str(error)) from error


def _show_that_it_works(plan: Plan, recipient: str | None) -> None:
    settings, namespace = plan.settings, plan.namespace
    service, mail = settings.api.service, settings.mail
    url = proof.url_of(plan.target, namespace, proof.API.service, service.node_address)
    harmless = mail.enabled or settings.email.transport == Transport.SIMULATE
    with step("Proof: one e-mail, from the API to its delivery"):
        with proof.reach(plan.target, namespace, proof.API, url) as answering:
            if harmless or recipient:
                task_id = str(proof.send_one(answering, recipient or "you@example.com")["id"])
            else:
                say("    not sent: this stack delivers real mail (--recipient ADDRESS names who gets it)")
                task_id = ""
        if mail.enabled and task_id:
            _show_delivery(plan, task_id)
    _show_what_next(plan, url)


def _show_delivery(plan: Plan, task_id: str) -> None:
    address = plan.settings.mail.service.node_address
    url = proof.url_of(plan.target, plan.namespace, proof.MAIL.service, address)
    with proof.reach(plan.target, plan.namespace, proof.MAIL, url) as answering:
        message = proof.delivery_of(answering, task_id)
    say(f"    the mail server took it: {message.get('subject')!r}")
    say(f"      to {', '.join(message.get('recipients', []))} at {message.get('at')}")
    say(f"      Message-ID {message.get('message_id')}")


def _show_what_next(plan: Plan, url: str | None) -> None:
    mail = proof.url_of(
        plan.target, plan.namespace, proof.MAIL.service, plan.settings.mail.service.node_address
    )
    first = f"export KUBECONFIG={plan.target.kubeconfig} && " if plan.target.embedded else ""
    lines = [line.replace("kubectl", target.kubectl_to_type(), 1) for line in look_closer(plan.namespace)]
    say()
    say(f"API    {url or 'inside the cluster: ' + lines[-1]}")
    if plan.settings.mail.enabled:
        say(f"Mail   {mail}/messages" if mail else "Mail   inside the cluster, Service mail-service")
    say("Next:")
    say(
        f"  curl -s -X POST {url or 'http://127.0.0.1:8080'}/tasks -H 'Content-Type: application/json' -d "
        """'{"type":"email","data":{"subject":"Hello","recipient":"you@example.com","content":"Hi"}}'"""
    )
    say(f"  {first}{lines[0]}")
    say("  make load")


def down(request: Request) -> None:
    """Removes the deployment and, unless told otherwise, stops the embedded cluster."""
    aimed = target.from_environment()
    if not aimed.embedded or target.is_running(aimed):
        _remove(request, aimed)
    if aimed.embedded and not request.keep_cluster:
        with step("Cluster: stopping the embedded one"):
            done = subprocess.run([sys.executable, "-m", "infra.local", "down"], check=False)
            if done.returncode:
                raise DeployError("the embedded cluster did not stop: what it said is above")


def _remove(request: Request, aimed: Target) -> None:
    plan = plan_for(request, aimed)
    method = rollout.deployed_by(aimed, plan.namespace)
    by_pulumi = method == "pulumi" or (method is None and engine.why_not() is None and plan.engine.exists())
    with step(f"Deployment: removing it from namespace {plan.namespace} ({method or 'what is left of it'})"):
        if by_pulumi:
            _refuse_another_s_stack(plan)
            plan.engine.destroy()
        if not by_pulumi or rollout.is_left(aimed, plan.namespace):
            rollout.destroy(aimed, plan.namespace, objects_of_namespace=plan.settings.create_namespace)


def status(request: Request) -> None:
    """Shows what runs and where it answers."""
    aimed = target.from_environment()
    if aimed.embedded and not target.is_running(aimed):
        raise DeployError("the embedded cluster is not running: make up")
    plan = plan_for(request, aimed)
    method = rollout.deployed_by(aimed, plan.namespace)
    if method is None:
        raise DeployError(f"nothing is deployed in namespace {plan.namespace}: make up")
    say(f"deployed by {method} in namespace {plan.namespace}")
    say(aimed.kubectl("-n", plan.namespace, "get", "pods,hpa"))
    _show_what_next(
        plan, proof.url_of(aimed, plan.namespace, proof.API.service, plan.settings.api.service.node_address)
    )


def _arguments(argv: list[str] | None) -> tuple[Callable[[Request], None], Request]:
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "status"))
    parser.add_argument("--stack", default="local", help="stack whose settings are used (default: local)")
    parser.add_argument("--namespace", help="instead of the stack's own")
    parser.add_argument("--method", choices=_METHODS, default="auto", help="how to deploy (default: auto)")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides")
    parser.add_argument("--recipient", help="who gets the e-mail on a stack that delivers real mail")
    parser.add_argument(
        "--timeout", type=int, default=300, metavar="SECONDS", help="longest wait for a workload"
    )
    parser.add_argument(
        "--keep-cluster", action="store_true", help="down: leave the embedded cluster running"
    )
    given = parser.parse_args(argv)
    request = Request(
        stack=given.stack,
        namespace=given.namespace,
        method=given.method,
        overrides=tuple(given.overrides),
        recipient=given.recipient,
        limit_s=given.timeout,
        keep_cluster=given.keep_cluster,
    )
    return {"up": up, "down": down, "status": status}[given.command], request


def main(argv: list[str] | None = None) -> int:
    """0; 1 with a message when something failed; 2 when settings or arguments are wrong."""
    command, request = _arguments(argv)
    try:
        command(request)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
    except DeployError as error:
        print(f"\n{error}", file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
