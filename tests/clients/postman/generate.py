"""Writes the Postman collection, its environment and the file of its form: `generate.py CONTRACT FOLDER`.

They are made of openapi.yaml and `flow.py`; the same contract gives the same files, byte for byte. Every operation of
the contract is in the collection: those that no step of the flow names are added with the contract's examples, and
any response of the contract up to 499 is right for them. Postman's own converter is not used here: it fills patterns
with random text.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from contract import Contract
from flow import FLOW, FORM_FILE, Group, Step
from scripts import asserts_documented, polls, succeeds

FILE_NAME = "members.csv"
FORMS = {"application/x-www-form-urlencoded": "urlencoded", "multipart/form-data": "formdata"}
INTRODUCTION = """\
Choose the environment, and enter the id and the secret of a key with the role `admin`. Each folder can be run as a \
whole; a request on its own may need the variables that the requests before it set. The form's file is \
`members.csv`, beside this collection. The folder Privacy removes the members with the phone number 212-555-0192 in \
every account, and all members of the account `{{account_id}}-erased`.

"""


def text(value: Any) -> str:
    """Formats a value for a form or a URL."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def row(key: str, value: str, described: dict[str, Any], enabled: bool) -> dict[str, Any]:
    """A header, a parameter or a field of a form."""
    out: dict[str, Any] = {"key": key, "value": value, "description": described.get("description", "").strip()}
    return out if enabled else out | {"disabled": True}


def parameters(contract: Contract, operation: dict[str, Any], step: Step, place: str) -> list[dict[str, Any]]:
    """The parameters of one place. In a path, they are needed; elsewhere, those that the step names are enabled."""
    rows = []
    for parameter in operation["parameters"]:
        if parameter["in"] != place:
            continue
        name = parameter["name"]
        default = text(parameter.get("example", contract.at(parameter["schema"]).get("default", "")))
        value = step.parameters.get(name, default)
        enabled = place == "path" or name in step.parameters or parameter.get("required", False)
        rows.append(row(name, value, parameter, enabled))
    return rows


def url(contract: Contract, operation: dict[str, Any], step: Step) -> dict[str, Any]:
    path = re.sub(r"\{(\w+)\}", r":\1", operation["path"]).strip("/")
    query = parameters(contract, operation, step, "query")
    enabled = "&".join(f"{one['key']}={one['value']}" for one in query if "disabled" not in one)
    raw = f"{{{{base_url}}}}/{path}" + (f"?{enabled}" if enabled else "")
    out: dict[str, Any] = {"raw": raw, "host": ["{{base_url}}"], "path": path.split("/")}
    variables = parameters(contract, operation, step, "path")
    return out | ({"query": query} if query else {}) | ({"variable": variables} if variables else {})


def form(contract: Contract, media: dict[str, Any], values: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of a form; those without a value are disabled."""
    rows = []
    for name, schema in contract.properties(media["schema"]).items():
        schema = contract.at(schema) | schema
        if schema.get("readOnly"):
            continue
        if schema.get("format") == "binary":
            rows.append({"key": name, "type": "file", "src": FILE_NAME, "description": schema["description"].strip()})
        else:
            rows.append(row(name, text(values.get(name, "")), schema, name in values) | {"type": "text"})
    return rows


def body(contract: Contract, operation: dict[str, Any], step: Step) -> tuple[str, dict[str, Any] | None]:
    """Returns the media type of the body, and the body."""
    request = contract.at(operation.get("requestBody", {}))
    if not request:
        return "", None
    media_type = step.media_type or next(iter(request["content"]))
    media = request["content"][media_type]
    example = contract.example(media)
    if media_type in FORMS:
        kind = FORMS[media_type]
        return media_type, {"mode": kind, kind: form(contract, media, example | step.fields)}
    if media_type.endswith("json"):
        raw = json.dumps(example | step.fields, ensure_ascii=False, indent=2)
        return media_type, {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}
    return media_type, {"mode": "raw", "raw": step.text or example}


def event(kind: str, lines: list[str]) -> dict[str, Any]:
    return {"listen": kind, "script": {"type": "text/javascript", "exec": lines}}


def saved_response(
    contract: Contract, operation: dict[str, Any], status: int, request: dict[str, Any]
) -> list[dict[str, Any]]:
    """The contract's example of the response."""
    response = contract.at(operation["responses"][str(status)])
    for media_type, media in response.get("content", {}).items():
        example = contract.example(media)
        if example is None:
            continue
        shown = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False, indent=2)
        return [
            {
                "name": response["description"].strip().splitlines()[0],
                "originalRequest": {name: value for name, value in request.items() if name != "description"},
                "code": status,
                "header": [{"key": "Content-Type", "value": media_type}],
                "_postman_previewlanguage": "json" if media_type.endswith("json") else "text",
                "body": shown,
            }
        ]
    return []


def signed_item(step: Step) -> dict[str, Any]:
    """A request to a signed URL, which S3 refuses with a key."""
    address = f"{{{{{step.url}}}}}"
    request: dict[str, Any] = {
        "method": step.method,
        "header": [{"key": "Content-Type", "value": step.media_type}] if step.media_type else [],
        "url": {"raw": address, "host": [address]},
        "description": "The URL is signed, and needs no key.",
        "auth": {"type": "noauth"},
    }
    if step.text:
        request["body"] = {"mode": "raw", "raw": step.text}
    return {
        "name": step.name,
        "event": [event("test", succeeds(step, step.status))],
        "request": request,
        "response": [],
    }


def item(contract: Contract, step: Step, known: bool) -> dict[str, Any]:
    """A request of the collection."""
    if not step.operation:
        return signed_item(step)
    operation = contract.operations[step.operation]
    unknown = step.parameters.keys() - {parameter["name"] for parameter in operation["parameters"]}
    if unknown:
        sys.exit(f"flow.py names parameters that {step.operation} does not have: {', '.join(unknown)}")
    media_type, content = body(contract, operation, step)
    headers = parameters(contract, operation, step, "header")
    headers += [{"key": name, "value": value} for name, value in step.headers.items()]
    # Postman writes the boundary of a multipart form itself.
    if media_type and media_type != "multipart/form-data":
        headers.append({"key": "Content-Type", "value": media_type})
    request: dict[str, Any] = {"method": operation["method"], "header": headers, "url": url(contract, operation, step)}
    if content:
        request["body"] = content
    if operation.get("security") == []:
        request["auth"] = {"type": "noauth"}
    request["description"] = operation.get("description", "").strip()
    statuses = sorted(int(status) for status in operation["responses"])
    status = step.status or next(status for status in statuses if status < 400)
    if step.waits:
        test = polls(step, status)
    elif known:
        test = succeeds(step, status)
    else:
        test = asserts_documented(statuses)
    name = step.name or operation["summary"]
    response = saved_response(contract, operation, status, request)
    return {"name": name, "event": [event("test", test)], "request": request, "response": response}


def folder(
    contract: Contract, name: str, description: str, steps: tuple[Step | Group, ...], added: list[str]
) -> dict[str, Any]:
    """A folder with its steps, and with operations that no step names."""
    items = []
    for step in steps:
        if isinstance(step, Group):
            items.append(folder(contract, step.name, "", step.steps, []))
        else:
            items.append(item(contract, step, known=True))
    items += [item(contract, Step(operation), known=False) for operation in added]
    return {"name": name, "description": description, "item": items}


def flatten(steps: tuple[Step | Group, ...]) -> list[Step]:
    return [one for step in steps for one in (step.steps if isinstance(step, Group) else (step,))]


def number(items: list[dict[str, Any]], seen: set[str]) -> None:
    """Gives each request an id that depends on its name only. Runs find requests by name, so names are unique."""
    for one in items:
        if "item" in one:
            number(one["item"], seen)
            continue
        if one["name"] in seen:
            sys.exit(f"two requests have the name {one['name']!r}: name the steps in flow.py")
        seen.add(one["name"])
        one["id"] = slug(one["name"])


def collection(contract: Contract) -> dict[str, Any]:
    info = contract.root["info"]
    tags = {tag["name"]: tag["description"] for tag in contract.root["tags"]}
    steps = [step for own in FLOW.values() for step in flatten(own)]
    in_flow = {step.operation for step in steps if step.operation}
    used = {operation["tags"][0] for operation in contract.operations.values()} | FLOW.keys()
    for name in [*(in_flow - contract.operations.keys()), *(used - tags.keys())]:
        sys.exit(f"{name} is not in the contract's operations or tags")
    items = []
    for tag, description in tags.items():
        added = [name for name, one in contract.operations.items() if one["tags"][0] == tag and name not in in_flow]
        for name in added:
            print(f"{name} is in no step of flow.py: it is run with the contract's example")
        items.append(folder(contract, tag.capitalize(), description, FLOW.get(tag, ()), added))
    number(items, set())
    basic = [("username", "{{key_id}}"), ("password", "{{key_secret}}")]
    return {
        "info": {
            "name": info["title"],
            "description": INTRODUCTION + info["description"],
            "version": info["version"],
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "auth": {"type": "basic", "basic": [{"key": key, "value": value, "type": "string"} for key, value in basic]},
        "item": items,
        "variable": [
            {"key": name, "value": ""} for name in dict.fromkeys(name for step in steps for name in step.save)
        ],
    }


def environment(contract: Contract) -> dict[str, Any]:
    values = [
        ("base_url", "http://127.0.0.1:9000", "default"),
        ("key_id", "admin", "default"),
        ("key_secret", "", "secret"),
        ("account_id", "postman", "default"),
    ]
    return {
        "name": f"{contract.root['info']['title']} on one machine",
        "values": [{"key": key, "value": value, "type": kind, "enabled": True} for key, value, kind in values],
        "_postman_variable_scope": "environment",
    }


def main() -> None:
    contract, target = Contract(Path(sys.argv[1])), Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    for name, content in [("collection", collection(contract)), ("environment", environment(contract))]:
        written = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        (target / f"mpulse.postman_{name}.json").write_text(written, encoding="utf-8")
    (target / FILE_NAME).write_text(FORM_FILE, encoding="utf-8")


main()
