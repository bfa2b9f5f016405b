"""Make the image of the pause container: one static program in one layer, as an archive for `ctr`."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

from infra.local.toolchain import ARCHITECTURES


def archive(program: Path, reference: str) -> bytes:
    """A docker archive of an image that runs `program` as an unprivileged user; the same bytes each time."""
    layer = _tar({"pause": (program.read_bytes(), 0o755)})
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), "amd64"),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    content = json.dumps(config).encode()
    name = f"{hashlib.sha256(content).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "manifest.json": (json.dumps(manifest).encode(), 0o644),
            name: (content, 0o644),
            "layer.tar": (layer, 0o644),
        }
    )


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as bundle:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            bundle.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
