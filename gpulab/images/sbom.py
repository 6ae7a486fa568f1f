"""The SBOM of an image, CycloneDX: every Python and Debian package with version, licence and hashes of the lock."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from gpulab.images.image import Image
from gpulab.stacks.lock_parts import entries


def sbom(image: Image, inside: dict[str, Any], built: str) -> str:
    """The document as JSON text; `inside` is what look.py saw."""
    locked = entries(image.stack.lock.read_text(encoding="utf-8"))
    itself = Component(name=image.tag, type=ComponentType.CONTAINER, bom_ref=image.tag)
    system = inside["system"]
    parts = [python_package(p, locked.get(p["name"], "")) for p in inside["packages"]]
    parts += [debian_package(p, system) for p in inside["debian"]]
    bom = Bom(
        components=parts,
        metadata=BomMetaData(component=itself, timestamp=datetime.fromisoformat(built)),
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{image.tag} {built}"),
    )
    bom.register_dependency(itself, parts)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1) + "\n"


def python_package(package: dict[str, str], locked: str) -> Component:
    """A component; where the lock has one hash only, it is the file's."""
    hashes = re.findall(r"sha256:([0-9a-f]{64})", locked)
    return Component(
        name=package["name"],
        version=package["version"],
        type=ComponentType.LIBRARY,
        purl=PackageURL("pypi", name=package["name"], version=package["version"]),
        bom_ref=f"pypi/{package['name']}",
        licenses=[DisjunctiveLicense(name=package["licence"])] if package["licence"] else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hashes[0])] if len(hashes) == 1 else [],
        properties=[Property(name="gpulab:locked", value=str(bool(locked)).lower())],
    )


def debian_package(package: dict[str, str], system: str) -> Component:
    """A component of the distribution."""
    purl = PackageURL("deb", "debian", package["name"], package["version"], qualifiers={"distro": system})
    return Component(
        name=package["name"],
        version=package["version"],
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=f"deb/{package['name']}",
    )
