"""What a contract can't tell a generator: which phone numbers there are, which batch exists, how many
parts a file has, and where a list goes on. And the redirect to a report is an answer, not a road."""

import base64
import json
import os
import urllib.request

import schemathesis
from hypothesis import strategies as st


def existing_batch():
    """The id of a batch that is there, made with the key of this run or of its maker."""
    request = urllib.request.Request(os.environ["API"] + "/api/members/batch", method="POST")
    key = base64.b64encode(os.environ["KEY"].encode()).decode()
    request.add_header("authorization", "Basic " + key)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["batch_id"]


# Which numbers are possible is a matter of each country's plan.
schemathesis.openapi.format("phone-number", st.from_regex(r"\A\+1212[2-9][0-9]{6}\Z"))


def is_positive(case):
    return case.meta is not None and case.meta.generation.mode.is_positive


@schemathesis.hook
def filter_case(context, case):
    if is_positive(case):
        return True
    # A form holds texts: what is of another type becomes one, or nothing at all.
    if case.media_type == "application/x-www-form-urlencoded" and isinstance(case.body, dict):
        return all(isinstance(value, str) for value in case.body.values())
    # Any bytes are a file, good or bad: none is beyond its type.
    is_file = case.media_type in ("text/csv", "multipart/form-data")
    if not is_file or case.operation.path != "/api/members/batch":
        return True
    negative = [where for where, part in case.meta.components.items() if part.mode.is_negative]
    return any(where.value == "query" for where in negative)


@schemathesis.hook
def before_call(context, case, kwargs):
    kwargs["allow_redirects"] = False
    if not is_positive(case):
        return
    # A cursor belongs to the list that gave it: none that is made up is good.
    case.query.pop("cursor", None)
    # How many parts there are is a matter of the file.
    if case.operation.path.endswith("/parts"):
        case.query.pop("from", None)
    # A batch that is named has to be there, and takes a hundred children.
    for named in (case.query, case.body):
        if isinstance(named, dict) and named.get("parent_batch_id"):
            named["parent_batch_id"] = existing_batch()
