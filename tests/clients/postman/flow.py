"""The order in which the Postman collection runs, and what each request expects.

A step names an operation of openapi.yaml; `generate.py` takes everything else from there. Values are kept in the
variables of the collection: `save` maps a variable to a JavaScript expression, in which `body` is the response as
JSON. Every folder can be run on its own, and as often as you like.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One request."""

    # The operation's id, or nothing for a signed URL.
    operation: str = ""
    # By default the operation's summary.
    name: str = ""
    # By default the lowest successful status of the operation.
    status: int = 0
    # Values of parameters by name; parameters of a query that are not named here are disabled.
    parameters: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    # By default the first media type of the body. The body is its example with these fields; or this text.
    media_type: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    save: dict[str, str] = field(default_factory=dict)
    # Assertions in JavaScript, by what they assert. `text` is the response as text.
    checks: dict[str, str] = field(default_factory=dict)
    # Whether the request is repeated until the batch or export has ended.
    waits: bool = False
    # For a signed URL: its method and its variable.
    method: str = ""
    url: str = ""


@dataclass(frozen=True)
class Group:
    """Steps that belong together: a folder within the folder of a tag."""

    name: str
    steps: tuple[Step, ...]


JSON = {"Accept": "application/json"}
CORRECTED = """\
client_member_id,first_name,last_name,phone_number
2001,Ann,Lee,(212) 555-0188
2002,Bea,Low,+1 212 555 0189
2003,Cy,Orr,212-555-0190
"""
MEMBER = {"id": "{{member_id}}"}
DRY_RUN = {"id": "{{dry_run_id}}"}
APPLIED = {"id": "{{applied_id}}"}
BATCH = {"id": "{{batch_id}}"}
KEY = {"id": "{{new_key_id}}"}
BATCH_ID = {"batch_id": "body.batch_id"}


def lists(field: str, variable: str, page: str = "results") -> dict[str, str]:
    """A page contains the item of a variable."""
    found = f"body.{page}.map((one) => one.{field})"
    return {"It is in the list": f"pm.expect({found}).to.include(pm.collectionVariables.get('{variable}'))"}


def wait(name: str, batch: dict[str, str], status: str, rows: dict[str, int]) -> Step:
    """Reads a batch until it has ended; it must have this status and these counters, and 0 in all others."""
    every = ["read", "absent", "created", "updated", "unchanged", "superseded", "rejected", "removed"]
    counts = ", ".join(f"{counter}: {rows.get(counter, 0)}" for counter in every)
    checks = {
        f"The batch is {status}": f"pm.expect(body.status).to.eql('{status}')",
        "The counters are as expected": f"pm.expect(body.rows).to.eql({{ {counts} }})",
    }
    return Step("getBatch", name, parameters=batch, waits=True, checks=checks)


def download(name: str, url: str, *texts: str) -> Step:
    """Reads a report by its signed URL; it contains these texts."""
    checks = {f"It contains {text}": f"pm.expect(text).to.include('{text}')" for text in texts}
    return Step(name=name, method="GET", url=url, status=200, checks=checks)


def upload(name: str, url: str, text: str) -> Step:
    """Sends a file to a signed URL."""
    return Step(name=name, method="PUT", url=url, status=200, media_type="text/csv", text=text)


MEMBERS = (
    Step(
        "createMember",
        fields={"account_id": "{{account_id}}", "client_member_id": "json-{{$timestamp}}"},
        save={"member_id": "body.id", "client_member_id": "body.client_member_id"},
        checks={
            "The phone number is stored in the form of E.164": "pm.expect(body.phone_number).to.eql('+17145550123')"
        },
    ),
    Step(
        "createMemberByForm",
        "Create a member by a form",
        media_type="application/x-www-form-urlencoded",
        fields={"account_id": "{{account_id}}", "client_member_id": "form-{{$timestamp}}"},
        save={"form_member_id": "body.id"},
    ),
    Step(
        "listMembers",
        "Find members by phone number",
        parameters={"ph": "714-555-0123", "aid": "{{account_id}}", "limit": "50"},
        checks=lists("id", "member_id"),
    ),
    Step(
        "listMembers",
        "Find members by client id",
        parameters={"cmid": "{{client_member_id}}"},
        checks=lists("id", "member_id"),
    ),
    Step("getMember", parameters=MEMBER, save={"etag": "pm.response.headers.get('ETag')"}),
    Step(
        "updateMember",
        parameters=MEMBER | {"If-Match": "{{etag}}"},
        fields={"first_name": "Zoe"},
        checks={"The name has changed": "pm.expect(body.first_name).to.eql('Zoe')"},
    ),
    Step(
        "updateMember",
        "Change a member that has changed since",
        status=412,
        parameters=MEMBER | {"If-Match": "{{etag}}"},
        media_type="multipart/form-data",
        checks={"It is a problem": "pm.expect(body.type).to.eql('/problems/precondition-failed')"},
    ),
    Step("deleteMember", parameters=MEMBER),
    Step("deleteMember", "Remove the other member", parameters={"id": "{{form_member_id}}"}),
    Step("getMember", "Read a removed member", status=404, parameters=MEMBER),
)

PREVIEW = (
    Step("getBatchTemplate", checks={"It has a header": "pm.expect(text).to.include('client_member_id')"}),
    Step(
        "createBatch",
        "Preview a small file, as form-data",
        status=202,
        media_type="multipart/form-data",
        fields={"account_id": "{{account_id}}", "dry_run": "true"},
        save={"dry_run_id": "body.batch_id"},
    ),
    wait("Wait for the dry run", DRY_RUN, "completed_with_rejects", {"read": 3, "created": 2, "rejected": 1}),
    Step("getRejects", parameters=DRY_RUN, headers=JSON, save={"rejects_url": "body.url"}),
    download("Open the report of rejected rows", "rejects_url", "last_name", "2003"),
    Step("getChanges", parameters=DRY_RUN, headers=JSON, save={"changes_url": "body.url"}),
    download("Open the report of changes", "changes_url", "created", "2001"),
    Step("applyBatch", parameters=DRY_RUN, save={"applied_id": "body.batch_id"}),
    wait("Wait for the applied batch", APPLIED, "completed_with_rejects", {"read": 3, "created": 2, "rejected": 1}),
    Step(
        "listBatches",
        parameters={"limit": "10"},
        checks=lists("batch_id", "applied_id"),
    ),
)

URL = (
    Step(
        "createBatch",
        "Create a batch for a corrected file",
        fields={"account_id": "{{account_id}}", "parent_batch_id": "{{applied_id}}"},
        save={"corrected_id": "body.batch_id", "upload_url": "body.upload.url"},
    ),
    upload("Send the file to its upload URL", "upload_url", CORRECTED),
    wait(
        "Wait for the corrected file",
        {"id": "{{corrected_id}}"},
        "completed",
        {"read": 3, "created": 1, "unchanged": 2},
    ),
    Step(
        "createBatch",
        "Send a small file as text",
        status=202,
        parameters={"account_id": "{{account_id}}"},
        media_type="text/csv",
        text=CORRECTED,
        save=BATCH_ID,
    ),
    wait("Wait for the same rows", BATCH, "completed", {"read": 3, "unchanged": 3}),
)

PARTS = (
    Step(
        "createBatch",
        "Create a batch for a file in parts",
        fields={"account_id": "{{account_id}}", "multipart": True, "size": len(CORRECTED)},
        save=BATCH_ID,
        checks={"It has one part": "pm.expect(body.upload.part_count).to.eql(1)"},
    ),
    Step("listParts", parameters=BATCH, save={"part_url": "body.results[0].url"}),
    upload("Send a part to its URL", "part_url", CORRECTED),
    Step("completeUpload", parameters=BATCH),
    wait("Wait for the file in parts", BATCH, "completed", {"read": 3, "unchanged": 3}),
)

UNDO = (
    Step("revertBatch", "Revert the corrected file", parameters={"id": "{{corrected_id}}"}, save=BATCH_ID),
    wait("Wait until it is reverted", BATCH, "completed", {"read": 1, "removed": 1}),
    Step("revertBatch", parameters=APPLIED, save=BATCH_ID),
    wait("Wait until the applied batch is reverted", BATCH, "completed", {"read": 2, "removed": 2}),
    Step("putBatch", fields={"account_id": "{{account_id}}"}, save=BATCH_ID),
    Step(
        "cancelBatch", parameters=BATCH, checks={"The batch is cancelled": "pm.expect(body.status).to.eql('cancelled')"}
    ),
)

BATCHES = (
    Group("A small file: preview, apply", PREVIEW),
    Group("A file by its upload URL", URL),
    Group("A large file, in parts", PARTS),
    Group("Revert, cancel", UNDO),
)

EXPORTED = {"client_member_id": "export-{{$timestamp}}", "phone_number": "212-555-0191"}
EXPORTS = (
    Step(
        "createMember",
        "Create a member to export",
        fields={"account_id": "{{account_id}}"} | EXPORTED,
        save={"member_id": "body.id"},
    ),
    Step("createExport", fields={"account_id": "{{account_id}}"}, save={"export_id": "body.export_id"}),
    Step(
        "getExport",
        parameters={"id": "{{export_id}}"},
        save={"file_url": "body.links.file"},
        checks={"The export is completed": "pm.expect(body.status).to.eql('completed')"},
        waits=True,
    ),
    download("Open the exported file", "file_url", "client_member_id", "+12125550191"),
    Step("listExports", parameters={"limit": "10"}, checks=lists("export_id", "export_id")),
    Step("deleteMember", "Remove the exported member", parameters=MEMBER),
)

PERSON = {"phone_number": "212-555-0192"}
ERASED = {"account_id": "{{account_id}}-erased", "client_member_id": "1"}
PRIVACY = (
    Step(
        "createMember",
        "Create a member of a person",
        fields={"account_id": "{{account_id}}", "client_member_id": "person-{{$timestamp}}"} | PERSON,
        save={"member_id": "body.id"},
    ),
    Step("getPerson", parameters=PERSON, checks=lists("id", "member_id", page="members")),
    Step(
        "deletePerson",
        parameters=PERSON,
        checks={"It is removed": "pm.expect(body.removed).to.include(pm.collectionVariables.get('member_id'))"},
    ),
    Step("createMember", "Create a member of another account", fields=ERASED),
    Step(
        "eraseAccount",
        parameters={"id": ERASED["account_id"], "expected_members": "1"},
        save=BATCH_ID,
    ),
    wait("Wait until all members are removed", BATCH, "completed", {"absent": 1, "removed": 1}),
)

KEYS = (
    Step(
        "createKey",
        fields={"key_id": "postman-{{$timestamp}}", "accounts": ["{{account_id}}"]},
        save={"new_key_id": "body.key_id"},
        checks={"The secret is shown": "pm.expect(body.secret).to.be.a('string')"},
    ),
    Step("getKey", parameters=KEY, checks={"The key is valid": "pm.expect(body.revoked_at).to.be.null"}),
    Step("listKeys", checks=lists("key_id", "new_key_id")),
    Step("revokeKey", parameters=KEY, checks={"The key is revoked": "pm.expect(body.revoked_at).to.be.a('string')"}),
)

SERVICE = (
    Step("getHealth", checks={"The API works": "pm.expect(body.status).to.eql('ok')"}),
    Step("getContract", checks={"It is an OpenAPI document": "pm.expect(text).to.match(/^openapi: 3[.]1/)"}),
    Step("getDocs"),
    Step("getConsole"),
    Step("getAdminConsole"),
    Step("getConsoleFile"),
)

# The steps of each tag. Operations that are in no step are added to the folder of their tag, with their example.
FLOW: dict[str, tuple[Step | Group, ...]] = {
    "members": MEMBERS,
    "batches": BATCHES,
    "exports": EXPORTS,
    "privacy": PRIVACY,
    "keys": KEYS,
    "service": SERVICE,
}

# The file of the form, beside the collection.
FORM_FILE = """\
client_member_id,first_name,last_name,phone_number
2001,Ann,Lee,(212) 555-0188
2002,Bea,Low,+1 212 555 0189
2003,Cy,,212-555-0190
"""
