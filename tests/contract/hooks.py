"""What the contract's texts can't tell a generator: which phone numbers there are, which batch
exists, and where a list goes on. And the redirect to a report is an answer, not a road."""

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
# As many batches as may be made in a run name one parent, and a parent takes a hundred.
schemathesis.openapi.format(
    "existing-batch-id", st.builds(lambda _: existing_batch(), st.integers())
)


@schemathesis.hook
def before_call(context, case, kwargs):
    kwargs["allow_redirects"] = False
    # A cursor belongs to the list that gave it: none that is made up is good.
    meta = case.meta
    if meta is not None and meta.generation.mode.is_positive and case.query:
        case.query.pop("cursor", None)
