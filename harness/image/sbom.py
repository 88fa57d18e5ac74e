"""Software bill of materials of an artifact, in CycloneDX 1.6.

https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.formats.tree import Written
    from harness.image.manifest import Input, Manifest

_NAMESPACE = uuid.UUID(
    "1b0a3c5e-4a55-5d0c-8c93-6c1d0c6a2f11"
)  # of the serial numbers that we derive from hashes
_TYPES = {
    "package": ComponentType.LIBRARY,
    "kernel": ComponentType.OPERATING_SYSTEM,
    "image": ComponentType.CONTAINER,
    "checkout": ComponentType.APPLICATION,
    "element": ComponentType.APPLICATION,
}


def document(manifest: Manifest) -> str:
    """The bill of materials of what a manifest describes, as the text of a file.

    It depends on the manifest alone: its serial number is derived from the artifact's hash, and its time is
    the start of 1970, as that of all files.
    """
    artifact = Component(
        type=ComponentType.CONTAINER,
        name=manifest.file,
        bom_ref="artifact",
        description=f"{manifest.kind} image",
        hashes=_hashes(manifest.sha256),
    )
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, manifest.digest or manifest.sha256),
        components=[_component(given) for given in manifest.inputs],
    )
    bom.metadata.timestamp = datetime.fromtimestamp(0, UTC)
    bom.metadata.component = artifact
    bom.metadata.tools.components.update(
        Component(type=ComponentType.APPLICATION, name=name, version=version)
        for name, version in manifest.tools.items()
    )
    bom.register_dependency(artifact, bom.components)
    made: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    # The library compares each component with all others, which takes a minute for 20,000 of them.
    made.setdefault("components", []).extend(_files(manifest.files))
    return json.dumps(made, indent=1) + "\n"


def _component(given: Input) -> Component:
    references = []
    if given.kind == "download":
        references = [ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(given.origin))]
    return Component(
        type=_TYPES.get(given.kind, ComponentType.FILE),
        name=given.name,
        version=given.version or None,
        bom_ref=":".join([given.kind, given.name, given.version, given.architecture, given.sha256]),
        purl=_purl(given),
        description=f"{given.kind} from {given.origin}" if given.origin else given.kind,
        hashes=_hashes(given.sha256),
        external_references=references,
    )


def _purl(given: Input) -> PackageURL | None:
    """Package URLs: https://github.com/package-url/purl-spec, type "deb"."""
    if given.kind != "package":
        return None
    qualifiers = {"arch": given.architecture, "distro": given.origin}
    return PackageURL("deb", "debian", given.name, given.version or None, qualifiers)


def _hashes(sha256: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if len(sha256) == 64 else []


def _files(files: tuple[Written, ...]) -> Iterator[dict[str, object]]:
    """Regular files as components; what has no content is in the manifest alone."""
    for file in files:
        if file.sha256:
            yield {
                "type": "file",
                "bom-ref": f"content:{file.path}",
                "name": file.path,
                "hashes": [{"alg": "SHA-256", "content": file.sha256}],
                "properties": [
                    {"name": "bootstrap-harness:mode", "value": f"{file.mode & 0o7777:04o}"},
                    {"name": "bootstrap-harness:owner", "value": f"{file.uid}:{file.gid}"},
                    {"name": "bootstrap-harness:source", "value": file.source},
                ],
            }
