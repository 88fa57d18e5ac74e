"""Bills of materials, judged by the library's own validator."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from harness.formats.tree import Written
from harness.image.manifest import Input, Manifest
from harness.image.sbom import document

if TYPE_CHECKING:
    from cyclonedx.validation.json import JsonStrictValidator

HASH = "ab" * 32


def manifest(files: int = 2) -> Manifest:
    written = tuple(
        Written(f"usr/bin/tool{number}", stat.S_IFREG | 0o4755, 0, 42, 1, f"{number:064x}", source="bash 5.2")
        for number in range(files)
    )
    return Manifest(
        image="root",
        kind="initramfs",
        file="root.cpio",
        size=10,
        sha256=HASH,
        files=(Written("dev", stat.S_IFDIR | 0o755, 0, 0, 0, ""), *written),
        inputs=(
            Input("package", "libstdc++6", "1:12.2.0-14+deb12u1", "i386", "bookworm", HASH),
            Input("kernel", "debian-6.1-i686", "6.1.0-50-686", origin="linux-image 6.1", sha256=HASH),
            Input("download", "tcc.tar.gz", origin="https://example.org/a b/tcc.tar.gz", sha256=HASH),
            Input("checkout", "../live-bootstrap", version="0123abc", modified=True),
            Input("file", "relay/init", sha256=HASH),
            Input("file", "relay/init", sha256="cd" * 32),
            Input("image", "sysb", origin="this recipe", sha256=HASH),
            Input("element", "relay-root"),
        ),
        tools={"harness": "0.1.0", "mke2fs": "mke2fs 1.47.0 (5-Feb-2023)"},
    )


@pytest.fixture(scope="module")
def validator() -> JsonStrictValidator:
    from cyclonedx.schema import SchemaVersion  # jsonschema, which they import, takes seconds
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6)


def components(text: str) -> dict[str, dict[str, Any]]:
    return {component["bom-ref"]: component for component in json.loads(text)["components"]}


def test_it_is_valid_and_the_validator_sees_what_is_not(validator: JsonStrictValidator) -> None:
    text = document(manifest())
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"file"', '"fyle"')) is not None


def test_packages_have_their_address_and_hash() -> None:
    [package] = [c for c in components(document(manifest())).values() if c["type"] == "library"]
    assert package["purl"] == (
        "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=i386&distro=bookworm"
    )
    assert package["version"] == "1:12.2.0-14+deb12u1"
    assert package["hashes"] == [{"alg": "SHA-256", "content": HASH}]


def test_every_input_and_file_is_there_once() -> None:
    made = manifest()
    named = [component["name"] for component in components(document(made)).values()]
    wanted = [given.name for given in made.inputs] + [file.path for file in made.files if file.sha256]
    assert sorted(named) == sorted(wanted)


def test_a_file_has_its_hash_mode_owner_and_source() -> None:
    file = components(document(manifest()))["content:usr/bin/tool1"]
    assert file["hashes"] == [{"alg": "SHA-256", "content": f"{1:064x}"}]
    values = {entry["name"].partition(":")[2]: entry["value"] for entry in file["properties"]}
    assert values == {"mode": "4755", "owner": "0:42", "source": "bash 5.2"}


def test_the_same_manifest_gives_the_same_bytes_and_another_image_another_number() -> None:
    assert document(manifest()) == document(manifest())
    first, second = (json.loads(document(manifest(files)))["serialNumber"] for files in (1, 1))
    assert first == second
    assert json.loads(document(manifest()))["metadata"]["component"]["hashes"][0]["content"] == HASH


def test_an_empty_image_has_a_bill_too(validator: JsonStrictValidator) -> None:
    empty = Manifest("disk", "disk", "disk.img", 1, HASH, ())
    assert validator.validate_str(document(empty)) is None
