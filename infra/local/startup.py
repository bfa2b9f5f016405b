"""One `up`: from configuration files to a Ready node, leaving alone whatever is there already."""

import datetime
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.local import (
    addons,
    certificates,
    configuration,
    firewall,
    host,
    network,
    pause,
    processes,
    teardown,
)
from infra.local.commands import run
from infra.local.components import all_components
from infra.local.failures import ComponentFailedError
from infra.local.health import ApiServer, answers, wait
from infra.local.paths import Paths, sudo_user
from infra.local.progress import step
from infra.local.settings import Settings

# A machine that does other work meanwhile is slow, not broken.
READY_WITHIN_S = 120.0
METRICS_API = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"


class Startup:
    """The steps of one `up`; `programs` maps each program's name to its path."""

    def __init__(self, settings: Settings, paths: Paths, programs: Mapping[str, Path]) -> None:
        self._settings, self._paths, self._programs = settings, paths, programs
        self._components = all_components(settings, paths, programs)
        self._api = ApiServer(settings, paths)
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> None:
        paths, settings = self._paths, self._settings
        network.record(paths)
        network.up(settings)
        firewall.allow(settings)
        fingerprint = certificates.ensure(paths.pki, settings, datetime.datetime.now(datetime.UTC))
        texts = configuration.files(settings, paths, host.detect(paths.state))
        write_files(paths.config, texts)
        self._specs = {
            name: component.spec(texts, fingerprint) for name, component in self._components.items()
        }
        running = self._stop_outdated()
        if "containerd" not in running:
            self._clear_containers()
        with step("control plane"):
            self._start("containerd", "registry", "etcd", "kube-apiserver")
            self._wait("containerd")
            self._import_pause()
            self._wait("etcd")
            self._wait("kube-apiserver")
            self._write_kubeconfig()
        with step("node"):
            self._start(
                "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns", "volumes"
            )
            self._apply_addons()
            self._wait_condition("kubelet", f"/api/v1/nodes/{settings.node_name}", "Ready")
        with step("DNS, metrics and storage"):
            self._start("metrics-server")
            for name in self._components:
                self._wait(name)
            self._wait_condition("metrics-server", METRICS_API, "Available")

    def _stop_outdated(self) -> set[str]:
        """Stop components that run with other settings than wanted. Returns those that may stay."""
        current: set[str] = set()
        outdated: list[processes.Process] = []
        for process in processes.find(self._paths.state):
            if process.component in self._components:
                if process.spec == self._specs[process.component] and process.component not in current:
                    current.add(process.component)
                else:
                    outdated.append(process)
        processes.stop([(each.pid, each.started_ticks) for each in outdated], 10.0)
        self._running = current
        return current

    def _clear_containers(self) -> None:
        """Containers do not outlive their containerd here: the kubelet makes them again."""
        teardown.stop_containers(self._paths.state, self._settings.stop_grace_s)
        teardown.unmount(self._paths.state)
        teardown.clear_runtime(self._paths.state, self._settings.network.name)

    def _start(self, *names: str) -> None:
        for name in names:
            if name not in self._running:
                component = self._components[name]
                self._started[name] = processes.start(
                    component.argv,
                    component=name,
                    state=self._paths.state,
                    spec=self._specs[name],
                    env=component.environment(),
                    log=self._log(name),
                )

    def _log(self, name: str) -> Path:
        return self._paths.logs / f"{name}.log"

    def _wait(self, name: str) -> None:
        health = self._components[name].health
        self._wait_until(name, lambda: not health or answers(health), f"does not answer at {health}")

    def _wait_condition(self, name: str, path: str, condition: str) -> None:
        self._wait_until(name, lambda: self._api.has_condition(path, condition), f"{path} is not {condition}")

    def _wait_until(self, name: str, condition: Callable[[], bool], otherwise: str) -> None:
        def settled() -> bool:
            return self._has_ended(name) or condition()

        if not wait(settled, READY_WITHIN_S):
            raise ComponentFailedError(name, f"{otherwise} after {READY_WITHIN_S:.0f} s", self._log(name))
        if self._has_ended(name):
            raise ComponentFailedError(
                name, f"ended with exit status {self._started[name].returncode}", self._log(name)
            )

    def _has_ended(self, name: str) -> bool:
        return name in self._started and self._started[name].poll() is not None

    def _import_pause(self) -> None:
        """Give containerd the image that every pod starts with, if it does not have it."""
        ctr = ("ctr", "--address", str(self._paths.containerd_socket), "--namespace", "k8s.io", "images")
        reference = self._settings.pause_image
        if not run(*ctr, "list", "--quiet", f"name=={reference}").strip():
            content = pause.archive(self._programs["pause"], reference)
            snapshotter = host.detect(self._paths.state).snapshotter
            run(*ctr, "import", "--snapshotter", snapshotter, "-", stdin=content)

    def _write_kubeconfig(self) -> None:
        text = configuration.kubeconfig(self._settings, self._paths.pki, "admin", embed=True)
        path = self._paths.kubeconfig
        if not (path.exists() and path.read_text() == text):
            certificates.write_private(path, text.encode())
        if owner := sudo_user():
            os.chown(path, *owner)

    def _apply_addons(self) -> None:
        """Apply the cluster's own objects; a cluster that has them as they should be is left alone."""
        text = addons.manifest(self._settings, (self._paths.pki / "ca.crt").read_bytes())
        applied = self._paths.state / "addons.json"
        if "kube-apiserver" in self._running and applied.exists() and applied.read_text() == text:
            return
        kubectl = (str(self._programs["kubectl"]), "--kubeconfig", str(self._paths.kubeconfig))
        run(*kubectl, "apply", "--server-side", "--force-conflicts", "--filename=-", stdin=text.encode())
        applied.write_text(text)


def write_files(folder: Path, texts: Mapping[str, str]) -> None:
    """Write configuration files that differ, each whole or not at all."""
    for name, text in texts.items():
        path = folder / name
        if path.exists() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text)
        temporary.replace(path)
