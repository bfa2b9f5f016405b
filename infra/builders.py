"""Builds and pushes images where Pulumi does not: by buildah, or Docker where that is absent."""

import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from infra.deploystate import DeployState
from infra.images import ROOT, Build
from infra.steps import DeployError, run_logged, say

_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "docker.distribution.manifest.v2",
        "oci.image.manifest.v1",
        "oci.image.index.v1",
        "docker.distribution.manifest.list.v2",
    )
)
# Certificates and pip settings of this machine: a build behind a company's proxy needs them.
_HOST_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")


def split_reference(reference: str) -> tuple[str, str, str]:
    """`host/name:tag` as host, name and tag."""
    host, _, rest = reference.partition("/")
    name, _, tag = rest.rpartition(":")
    return host, name, tag


def is_loopback(host: str) -> bool:
    """Whether a registry is on this machine, where Docker and buildah speak plain HTTP with it."""
    return host.split(":")[0] in ("localhost", "127.0.0.1")


def pushed_digest(reference: str) -> str | None:
    """The digest under which a registry of this machine has the image; None if it has not."""
    host, name, tag = split_reference(reference)
    if not is_loopback(host):
        return None
    asked = urllib.request.Request(
        f"http://{host}/v2/{name}/manifests/{tag}", method="HEAD", headers={"Accept": _MANIFESTS}
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=10) as answer:
            return answer.headers.get("Docker-Content-Digest")
    except (urllib.error.URLError, TimeoutError):
        return None


def ensure_pushed(build: Build, state: DeployState) -> str:
    """The image's ref with digest, built and pushed unless the registry has it under its content's tag."""
    digest = pushed_digest(build.reference)
    if digest:
        say(f"    {build.name}: unchanged, {build.reference}")
    else:
        say(f"    {build.name}: building {build.reference}")
        digest = _buildah(build, state) if shutil.which("buildah") else _docker(build, state)
    return f"{build.reference}@{digest}"


def builder() -> str:
    """The program that builds here; DeployError where there is none."""
    for program in ("buildah", "docker"):
        if shutil.which(program):
            return program
    raise DeployError("neither buildah nor docker is installed: one is needed to build images")


def _arguments(build: Build) -> list[str]:
    words = ["-f", str(ROOT / build.dockerfile), "--target", build.name, "-t", build.reference]
    for key, value in sorted(build.build_args.items()):
        words += ["--build-arg", f"{key}={value}"]
    return words + (["--platform", ",".join(build.platforms)] if build.platforms else [])


def _buildah(build: Build, state: DeployState) -> str:
    host_files: list[str] = []
    for file in _HOST_FILES:
        host_files += ["-v", f"{file}:{file}:ro"] if Path(file).is_file() else []
    # chroot works inside containers too; the host's network, because its package mirror may be on it.
    isolation = ["--isolation", "chroot", "--network", "host", "--layers", "--format", "docker"]
    ignore = ["--ignorefile", str(ROOT / f"{build.dockerfile}.dockerignore")]
    words = ["buildah", "bud", *isolation, *ignore, *host_files, *_arguments(build), str(ROOT)]
    run_logged(words, state.log(f"build-{build.name}"))
    plain = ["--tls-verify=false"] if is_loopback(build.reference.split("/")[0]) else []
    with tempfile.NamedTemporaryFile("r") as digest:
        push: Sequence[str] = ["buildah", "push", *plain, "--digestfile", digest.name, build.reference]
        run_logged(push, state.log(f"push-{build.name}"))
        return digest.read().strip()


def _docker(build: Build, state: DeployState) -> str:
    run_logged(["docker", "build", *_arguments(build), str(ROOT)], state.log(f"build-{build.name}"))
    log = state.log(f"push-{build.name}")
    run_logged(["docker", "push", build.reference], log)
    found = [word for word in log.read_text().split() if word.startswith("sha256:")]
    if not found:
        raise DeployError(f"docker push told no digest: see {log}")
    return found[-1]
