"""Container images: built and pushed as part of the stack, or taken from the settings."""

from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build

from infra import sections
from infra.context import ContextError, content_tag
from infra.settings import Settings, SettingsError

ROOT = Path(__file__).resolve().parent.parent
_BASE_ARGUMENT = {"api": "PYTHON_IMAGE", "worker": "PYTHON_IMAGE", "mail": "GO_IMAGE"}


@dataclass(frozen=True, kw_only=True)
class Build:
    """One image to build: `reference` is `host/name:tag`, its tag a hash of what goes in."""

    name: str
    dockerfile: str
    reference: str
    build_args: dict[str, str]
    platforms: tuple[str, ...] = ()


def needed(settings: Settings) -> list[str]:
    """Images that this stack's pods run."""
    return ["api", "worker", *(["mail"] if settings.mail.enabled else [])]


def build_of(name: str, images: sections.Images, root: Path = ROOT) -> Build:
    """How the image `name` (api, worker or mail) is built, by stack settings that name a registry."""
    dockerfile = f"Dockerfile.{name}"
    base = images.go_image if name == "mail" else images.python_image
    build_args = {_BASE_ARGUMENT[name]: base} if base else {}
    tag = content_tag(root, dockerfile, {**build_args, "platforms": ",".join(images.platforms)})
    return Build(
        name=name,
        dockerfile=dockerfile,
        reference=f"{images.registry}/task-{name}:{tag}",
        build_args=build_args,
        platforms=images.platforms,
    )


def as_nodes_name_it(reference: str, images: sections.Images) -> str:
    """A pushed image's ref under the name by which the cluster's nodes reach the registry."""
    if not (images.registry and images.pull_registry and reference.startswith(f"{images.registry}/")):
        return reference
    return images.pull_registry + reference[len(images.registry) :]


class Images(pulumi.ComponentResource):
    """`.refs` has each image's ref: pinned by digest when this stack built it."""

    refs: dict[str, pulumi.Input[str]]

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("task-queue:infra:Images", name, None, opts)
        self._settings = settings
        self.refs = {image: self._ref(image) for image in needed(settings)}
        self.register_outputs({})

    def _ref(self, name: str) -> pulumi.Input[str]:
        images = self._settings.images
        given: str | None = getattr(images, name)
        if given:
            return given
        try:
            build = build_of(name, images)
        except ContextError as error:
            raise SettingsError(pulumi.get_stack(), [f"images.{name}: it cannot be built: {error}"]) from None
        return self._built(build).ref.apply(lambda ref: as_nodes_name_it(ref, images))

    def _built(self, build: Build) -> docker_build.Image:
        images = self._settings.images
        # Relative to the program's folder: absolute paths would differ from one checkout to the next.
        return docker_build.Image(
            f"{build.name}-image",
            tags=[build.reference],
            push=True,
            context=docker_build.BuildContextArgs(location=".."),
            dockerfile=docker_build.DockerfileArgs(location=f"../{build.dockerfile}"),
            target=build.name,
            build_args=build.build_args or None,
            platforms=[docker_build.Platform(platform) for platform in build.platforms] or None,
            build_on_preview=images.build_on_preview,
            registries=self._login(),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _login(self) -> list[docker_build.RegistryArgs] | None:
        images, password = self._settings.images, self._settings.registry_password
        if not (images.registry and images.registry_username and password):
            return None
        return [
            docker_build.RegistryArgs(
                address=images.registry.split("/")[0],
                username=images.registry_username,
                password=pulumi.Output.secret(password.get_secret_value()),
            )
        ]
