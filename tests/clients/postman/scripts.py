"""The JavaScript that Postman runs after each request."""

import re

from flow import Step

# Statuses of a batch or export that has not ended.
UNENDED = "['awaiting_upload', 'queued', 'processing', 'cancelling']"
POLL_MS, POLLS = 250, 240


def has_status(status: int) -> str:
    return f"pm.test('The status is {status}', () => pm.response.to.have.status({status}));"


def variables(step: Step) -> list[str]:
    """What the assertions and the saved values of a step refer to."""
    script = " ".join([*step.checks.values(), *step.save.values()])
    known = {"body": "pm.response.json()", "text": "pm.response.text()"}
    return [f"const {name} = {value};" for name, value in known.items() if re.search(rf"\b{name}\b", script)]


def assertions(step: Step) -> list[str]:
    return [f"pm.test('{name}', () => {check});" for name, check in step.checks.items()]


def assigns(step: Step) -> list[str]:
    return [f"pm.collectionVariables.set('{name}', {value});" for name, value in step.save.items()]


def succeeds(step: Step, status: int) -> list[str]:
    """The response has the status, and the step's assertions hold. Saves the step's values."""
    return [has_status(status), *variables(step), *assertions(step), *assigns(step)]


def polls(step: Step, status: int) -> list[str]:
    """Repeats the request until the batch or export has ended, which only a run of a folder does; then as `succeeds`."""
    return [
        *variables(step),
        "const polls = Number(pm.collectionVariables.get('polls') || 0) + 1;",
        f"if ({UNENDED}.includes(body.status) && polls < {POLLS}) {{",
        "  pm.collectionVariables.set('polls', polls);",
        "  pm.execution.setNextRequest(pm.info.requestName);",
        f"  setTimeout(() => {{}}, {POLL_MS});",
        "} else {",
        "  pm.collectionVariables.unset('polls');",
        *[f"  {line}" for line in [has_status(status), *assertions(step), *assigns(step)]],
        "}",
    ]


def asserts_documented(statuses: list[int]) -> list[str]:
    """The status is one that the contract names, and not an error of the server."""
    right = [status for status in statuses if status < 500]
    return [f"pm.test('The status is in the contract', () => pm.expect({right}).to.include(pm.response.code));"]
