"""Creates a member, finds it by its phone number, sends a roster to an upload URL and as a form, and waits for its counters.

The package m_pulse_client is what openapi-python-client makes of openapi.yaml. The variables API and KEY name the
system and a key, as ID:SECRET.
"""

import os
import time
from base64 import b64encode
from io import BytesIO
from typing import TypeVar

import httpx
from m_pulse_client import AuthenticatedClient
from m_pulse_client.api.batches import create_batch, get_batch, get_rejects
from m_pulse_client.api.members import create_member, delete_member, get_member, list_members, update_member
from m_pulse_client.models import (
    Batch,
    BatchForm,
    BatchStatus,
    Member,
    MemberChange,
    MemberPage,
    NewBatchInOnePiece,
    NewMember,
    OpenedBatch,
    Problem,
    ReportUrl,
    UploadTarget,
)
from m_pulse_client.types import File

ACCOUNT = "python"
ROSTER = """\
client_member_id,first_name,last_name,phone_number
1001,Zoë,Brien,(714) 555-0123
1002,Ann,Lee,+1 212 555 0188
1003,Bea,,212-555-0189
"""
UNENDED = {BatchStatus.AWAITING_UPLOAD, BatchStatus.QUEUED, BatchStatus.PROCESSING, BatchStatus.CANCELLING}

T = TypeVar("T")


def expect(kind: type[T], response: object) -> T:
    """Returns the response, if it is of this kind."""
    if not isinstance(response, kind):
        raise SystemExit(f"{kind.__name__} expected, not {response}")
    return response


def check(condition: bool, what: object) -> None:
    if not condition:
        raise SystemExit(f"unexpected: {what}")


def members(client: AuthenticatedClient) -> None:
    """Creates, finds, changes and removes a member."""
    new = NewMember(
        ACCOUNT, client_member_id="1001", first_name="Zoë", last_name="Brien", phone_number="(714) 555-0123"
    )
    created = expect(Member, create_member.sync(client=client, body=new))
    check(created.phone_number == "+17145550123", created)
    conflict = expect(Problem, create_member.sync(client=client, body=new))
    check(conflict.status == 409, conflict)
    found = expect(MemberPage, list_members.sync(client=client, ph="714-555-0123", aid=ACCOUNT))
    check([one.id for one in found.results] == [created.id], found)
    changed = expect(Member, update_member.sync(created.id, client=client, body=MemberChange(first_name="Zoe")))
    check(changed.first_name == "Zoe", changed)
    delete_member.sync_detailed(created.id, client=client)
    missing = expect(Problem, get_member.sync(created.id, client=client))
    check(missing.status == 404, missing)


def ended(client: AuthenticatedClient, batch_id: str) -> Batch:
    """Reads a batch until it has ended, for at most a minute."""
    deadline = time.monotonic() + 60
    while True:
        batch = expect(Batch, get_batch.sync(batch_id, client=client))
        if batch.status not in UNENDED or time.monotonic() > deadline:
            return batch
        time.sleep(0.25)


def form(client: AuthenticatedClient) -> None:
    """Sends the same file as a form: nothing changes."""
    file = File(BytesIO(ROSTER.encode()), file_name="roster.csv", mime_type="text/csv")
    stored = expect(Batch, create_batch.sync(client=client, body=BatchForm(file, account_id=ACCOUNT)))
    rows = ended(client, stored.batch_id).rows
    check((rows.read, rows.unchanged, rows.rejected) == (3, 2, 1), rows)


def roster(client: AuthenticatedClient) -> None:
    """Sends a file by its upload URL, and waits until it is processed."""
    new = NewBatchInOnePiece(file_name="roster.csv", account_id=ACCOUNT)
    opened = expect(OpenedBatch, create_batch.sync(client=client, body=new))
    target = expect(UploadTarget, opened.upload)
    headers = {name: str(value) for name, value in target.headers.to_dict().items()}
    httpx.put(target.url, content=ROSTER.encode(), headers=headers).raise_for_status()

    batch = ended(client, opened.batch_id)
    check(batch.status == BatchStatus.COMPLETED_WITH_REJECTS, batch.status)
    rows = batch.rows
    check((rows.read, rows.created, rows.rejected) == (3, 2, 1), rows)

    # A redirection would send the key to S3 as well.
    as_json = client.with_headers({"accept": "application/json"})
    report = expect(ReportUrl, get_rejects.sync(batch.batch_id, client=as_json))
    text = httpx.get(report.url).raise_for_status().text
    check("1003,Bea" in text, text)


def main() -> None:
    key = b64encode(os.environ["KEY"].encode()).decode()
    client = AuthenticatedClient(base_url=os.environ["API"], token=key, prefix="Basic")
    members(client)
    roster(client)
    form(client)
    print("python: created, found, changed and removed a member; a roster had 2 created and 1 rejected row")


main()
