"""Completes a bill of materials: the models that are delivered, and no address from which anything came.

    cyclonedx-py requirements … | python -m scripts.sbom build/sbom.cdx.json

cyclonedx-py lists the Python packages of `requirements.lock`; it knows no models, and it assumes for each
package the index that its author uses. What is installed comes from wherever pip is told to look
(decision 0007), and is identified by its hashes.
"""

import json
import sys
from pathlib import Path
from typing import Any

from index.pack_manifest import PackManifest, read_manifest

DELIVERED = Path(__file__).parents[1] / "models"
"""Model packs that travel with the product."""


def completed(document: dict[str, Any], packs: list[PackManifest]) -> dict[str, Any]:
    """Return a bill of materials with models and without download addresses.

    Args:
        document: CycloneDX in JSON, as cyclonedx-py writes it; not changed.
        packs: Model packs that are delivered.
    """
    components = [_without_addresses(component) for component in document["components"]]
    components += [model for pack in packs for model in _models(pack)]
    known = {component["bom-ref"] for component in components}
    dependencies = [entry for entry in document.get("dependencies", []) if entry["ref"] in known]
    listed = {entry["ref"] for entry in dependencies}
    root = document["metadata"]["component"]["bom-ref"]
    dependencies += [{"ref": reference} for reference in sorted(known - listed)]
    dependencies.append({"ref": root, "dependsOn": sorted(known)})
    return {**document, "components": components, "dependencies": dependencies}


def delivered() -> list[PackManifest]:
    """Read the manifests of the packs that are delivered; none where no pack is."""
    return [read_manifest(path.parent) for path in sorted(DELIVERED.glob("*/pack.toml"))]


def _without_addresses(component: dict[str, Any]) -> dict[str, Any]:
    """Name each distribution by the package's own identifier, and keep its hashes."""
    kept = {name: value for name, value in component.items() if name != "description"}
    references = [
        {"type": "distribution", "url": component["purl"], "hashes": reference["hashes"]}
        for reference in component.get("externalReferences", [])
        if reference["type"] == "distribution" and "hashes" in reference
    ]
    return kept | {"externalReferences": references}


def _models(pack: PackManifest) -> list[dict[str, Any]]:
    return [
        {
            "bom-ref": f"model-{pack.name}-{part.file}",
            "type": "machine-learning-model",
            "name": f"{pack.name}/{part.file}",
            "version": pack.version,
            "hashes": [{"alg": "SHA-256", "content": part.sha256}],
            "licenses": [{"license": {"name": pack.licence}}],
        }
        for part in pack.models
    ]


def main(arguments: list[str]) -> None:
    """Read a bill of materials from standard input and write the completed one."""
    target = Path(arguments[0])
    document = completed(json.load(sys.stdin), delivered())
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{target}: {len(document['components'])} components")


if __name__ == "__main__":
    main(sys.argv[1:])
