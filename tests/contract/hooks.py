"""Values that the contract does not define: valid phone numbers, existing batches, the number of parts of a
file, and cursors. The redirect to a report is checked as a response, and not followed."""

import base64
import json
import os
import urllib.request

import schemathesis
from hypothesis import strategies as st


def existing_batch():
    """Returns the id of a batch that this run creates."""
    request = urllib.request.Request(os.environ["API"] + "/api/members/batch", method="POST")
    key = base64.b64encode(os.environ["KEY"].encode()).decode()
    request.add_header("authorization", "Basic " + key)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["batch_id"]


# The possible numbers depend on each country's numbering plan.
schemathesis.openapi.format("phone-number", st.from_regex(r"\A\+1212[2-9][0-9]{6}\Z"))

# Unassigned and invisible characters, which a pattern cannot exclude, are not part of an id.
printable = st.characters(categories=["L", "N", "P", "S"])
schemathesis.openapi.format("client-member-id", st.text(printable, min_size=1, max_size=64))
schemathesis.openapi.format("public-member-id", st.from_regex(r"\A[A-Za-z0-9_-]{1,64}~[A-Za-z0-9._:@-]{1,64}\Z"))
schemathesis.openapi.format("region", st.sampled_from(["US", "GB", "de"]))
schemathesis.openapi.format("encoding", st.sampled_from(["utf-8", "latin1", "Shift_JIS", "utf-16le"]))
schemathesis.openapi.format("columns", st.just("{}"))
schemathesis.openapi.format("removal", st.sampled_from(["{}", '{"limit": "5%"}', '{"limit": 250}']))


def is_positive(case):
    return case.meta is not None and case.meta.generation.mode.is_positive


@schemathesis.hook
def filter_case(context, case):
    if is_positive(case):
        return True
    # A form contains text only: values of other types become text, or are dropped.
    if case.media_type == "application/x-www-form-urlencoded" and isinstance(case.body, dict):
        return all(isinstance(value, str) for value in case.body.values())
    # Any bytes are a file, valid or not, so there are no negative cases for it.
    is_file = case.media_type in (
        "text/csv",
        "multipart/form-data",
        "application/gzip",
        "application/zip",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    )
    if not is_file or case.operation.path != "/api/members/batch":
        return True
    negative = [where for where, part in case.meta.components.items() if part.mode.is_negative]
    return any(where.value == "query" for where in negative)


def fit_to_mode(case, named):
    """Changes the fields that the mode does not allow. A field in the body wins over one in the URL, so both are compared."""
    body = case.body if isinstance(case.body, dict) else {}
    fields = {**{k: v for k, v in case.query.items() if v is not None}, **{k: v for k, v in body.items() if v is not None}}
    mode = fields.get("mode", "upsert")
    if mode == "replace" and not fields.get("account_id"):
        named["account_id"] = "4"
    if mode == "replace":
        named.pop("parent_batch_id", None)
    if mode != "replace":
        named.pop("removal", None)
    if mode == "overwrite":
        named.pop("changes", None)


@schemathesis.hook
def before_call(context, case, kwargs):
    kwargs["allow_redirects"] = False
    if not is_positive(case):
        return
    # A cursor is valid only for the list that returned it; generated ones are not.
    case.query.pop("cursor", None)
    # A filter is given by one of its two names.
    for name, other in (("ph", "phone_number"), ("cmid", "client_member_id"), ("aid", "account_id")):
        if name in case.query:
            case.query.pop(other, None)
    # The number of parts depends on the file.
    if case.operation.path.endswith("/parts"):
        case.query.pop("from", None)
    # Whether columns fit depends on the header, and on the account.
    for named in (case.query, case.body):
        if isinstance(named, dict) and case.operation.path == "/api/members/batch":
            named.pop("columns", None)
            named.pop("header", None)
            fit_to_mode(case, named)
    # The parent batch must exist, and it can have at most a hundred children.
    for named in (case.query, case.body):
        if isinstance(named, dict) and named.get("parent_batch_id"):
            named["parent_batch_id"] = existing_batch()
