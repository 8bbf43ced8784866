"""Checks that several stacks can be in one account and region: `stacks.py TEMPLATE SAMCONFIG`. The template is translated,
and resolved for the stack of each environment of samconfig.toml; no two resources of different stacks may have one name.
It also checks that the queues accept events of the stack's own bucket, whose name the template builds for each."""

import itertools
import re
import sys
import tomllib
import uuid

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from translate import translate

ACCOUNT, REGION = "123456789012", "us-east-1"
FORMER_BUCKET = f"mpulse-files-{ACCOUNT}-{REGION}"
# The policies of the queues that the bucket notifies.
QUEUE_POLICIES = ("IngestQueuePolicy", "ExportQueuePolicy")


class Stack:
    """The translated template as one stack sees it."""

    def __init__(self, template, name, parameters):
        self.template, self.name = template, name
        stack_id = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/{uuid.uuid4()}"
        declared = template["Parameters"]
        if unknown := parameters.keys() - declared.keys():
            sys.exit(f"{name}: the template has no parameters {sorted(unknown)}")
        self.values = {key: one.get("Default") for key, one in declared.items()} | parameters
        self.values |= {
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::StackId": stack_id,
            "AWS::StackName": name,
            "AWS::URLSuffix": "amazonaws.com",
        }

    def reference(self, name):
        """The value of a parameter, or the name that CloudFormation generates for a resource: it begins with the stack's."""
        return self.values.get(name, f"{self.name}-{name}")

    def resolve(self, value):
        if isinstance(value, list):
            return [self.resolve(one) for one in value]
        if not isinstance(value, dict):
            return value
        [(function, argument), *others] = value.items()
        if others or not (function == "Ref" or function.startswith("Fn::")):
            return {key: self.resolve(one) for key, one in value.items()}
        match function:
            case "Ref":
                return self.reference(argument)
            case "Fn::GetAtt":
                resource, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
                return f"{self.reference(resource)}.{attribute}"
            case "Fn::Sub":
                text, own = (argument, {}) if isinstance(argument, str) else argument
                return re.sub(r"\$\{([^!}]+)\}", lambda name: self.substitute(name[1], own), text)
            case "Fn::Join":
                return argument[0].join(self.resolve(argument[1]))
            case "Fn::Split":
                return self.resolve(argument[1]).split(argument[0])
            case "Fn::Select":
                return self.resolve(argument[1])[int(argument[0])]
            case "Fn::If":
                return self.resolve(argument[1 if self.holds(argument[0]) else 2])
        sys.exit(f"{function} is not supported by this check")

    def substitute(self, name, own):
        if name in own:
            return self.resolve(own[name])
        return str(self.resolve({"Fn::GetAtt": name} if "." in name else {"Ref": name}))

    def holds(self, condition):
        def evaluate(value):
            [(function, argument)] = value.items()
            match function:
                case "Fn::Not":
                    return not evaluate(argument[0])
                case "Fn::Equals":
                    return self.resolve(argument[0]) == self.resolve(argument[1])
            sys.exit(f"{function} is not supported by this check")

        return evaluate(self.template["Conditions"][condition])

    def identities(self):
        """What identifies each resource in the account, for those whose name the template sets."""
        for name, resource in self.template["Resources"].items():
            own = identity_properties(resource["Type"], resource.get("Properties", {}))
            if own:
                yield (resource["Type"], *sorted(self.resolve(own).items())), name
        for name, output in self.template.get("Outputs", {}).items():
            if "Export" in output:
                yield ("export", self.resolve(output["Export"]["Name"])), name

    def bucket(self):
        return self.resolve(self.template["Resources"]["FilesBucket"]["Properties"]["BucketName"])

    def sender(self, policy):
        """The ARN whose events the queue of a policy accepts."""
        policy = self.template["Resources"][policy]["Properties"]["PolicyDocument"]
        [statement] = [one for one in policy["Statement"] if one["Effect"] == "Allow"]
        return self.resolve(statement["Condition"]["ArnEquals"]["aws:SourceArn"])


def identity_properties(kind, properties):
    """The properties by which CloudFormation identifies a resource, as far as the template sets them."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    paths = (schema.get("primaryIdentifier") or []) + (schema.get("createOnlyProperties") or [])
    names = {path.removeprefix("/properties/") for path in paths}
    return {
        name: properties[name] for name in names & properties.keys() if name.endswith(("Name", "Id"))
    }


def shared(stacks):
    """The names that two stacks have in common, with the resources."""
    for one, other in itertools.combinations(stacks, 2):
        others = dict(other.identities())
        yield from ((identity, name) for identity, name in one.identities() if identity in others)


def check_bucket(stack):
    bucket = stack.bucket()
    if not re.fullmatch("[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", bucket):
        sys.exit(f"{stack.name}: S3 accepts no bucket name {bucket!r}")
    for policy in QUEUE_POLICIES:
        if (sender := stack.sender(policy)) != f"arn:aws:s3:::{bucket}":
            sys.exit(f"{stack.name}: {policy} accepts events of {sender}, and the bucket is {bucket}")


def main(template, samconfig):
    template = translate(template, lambda program: f"s3://programs/{program}.zip")
    with open(samconfig, "rb") as file:
        environments = {name: one for name, one in tomllib.load(file).items() if name != "version"}
    stacks = []
    for environment in environments.values():
        overrides = environment["deploy"]["parameters"]["parameter_overrides"]
        parameters = dict(override.split("=", 1) for override in overrides)
        stacks.append(Stack(template, environment["global"]["parameters"]["stack_name"], parameters))
    for stack in stacks:
        check_bucket(stack)
    if clashes := list(shared(stacks)):
        sys.exit(f"stacks share names: {clashes}")
    # The bucket is kept when a stack is deleted, and does not prevent that the stack is created again.
    if Stack(template, stacks[0].name, {}).bucket() == stacks[0].bucket():
        sys.exit("a stack that is created again has the bucket of the deleted one")

    # Stacks that keep the former name of the bucket have a name in common, which the comparison must find.
    former = [Stack(template, name, {"FilesBucketName": FORMER_BUCKET}) for name in ("one", "other")]
    for stack in former:
        check_bucket(stack)
        if stack.bucket() != FORMER_BUCKET:
            sys.exit(f"FilesBucketName has no effect: the bucket is {stack.bucket()}")
    if [name for _, name in shared(former)] != ["FilesBucket"]:
        sys.exit(f"the comparison does not find the shared bucket: {list(shared(former))}")
    print(f"{', '.join(stack.name for stack in stacks)} share no name")


if __name__ == "__main__":
    main(*sys.argv[1:])
