"""openapi.yaml: its operations by id, references resolved, and its examples."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

METHODS = ["get", "head", "post", "put", "patch", "delete"]


class Contract:
    """The whole document, and each operation with its method, its path and all its parameters."""

    def __init__(self, path: Path) -> None:
        self.root: dict[str, Any] = YAML(typ="safe").load(path)
        self.operations: dict[str, dict[str, Any]] = {}
        for address, item in self.root["paths"].items():
            for method in METHODS:
                if method not in item:
                    continue
                operation = dict(item[method], method=method.upper(), path=address)
                parameters = item.get("parameters", []) + operation.get("parameters", [])
                operation["parameters"] = [self.at(parameter) for parameter in parameters]
                self.operations[operation["operationId"]] = operation

    def at(self, node: dict[str, Any]) -> dict[str, Any]:
        """Returns the node, or the one that it refers to."""
        while "$ref" in node:
            target: Any = self.root
            for name in node["$ref"].removeprefix("#/").split("/"):
                target = target[name]
            node = target
        return node

    def example(self, media: dict[str, Any]) -> Any:
        """Returns the first example of a body; nothing if there is none."""
        examples = [media["example"]] if "example" in media else []
        examples += [named["value"] for named in media.get("examples", {}).values()]
        examples += self.at(media.get("schema", {})).get("examples", [])
        return examples[0] if examples else None

    def properties(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Returns the fields of an object, with those of its parts."""
        schema = self.at(schema)
        fields: dict[str, Any] = {}
        for part in schema.get("allOf", []):
            fields |= self.properties(part)
        fields |= schema.get("properties", {})
        return fields
