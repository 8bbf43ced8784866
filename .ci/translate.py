"""Translates template.yaml as AWS does before it deploys it, for tools that read plain
CloudFormation: `translate.py TEMPLATE > translated.json`. What is wrong with the template ends it."""

import json
import os
import sys

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class ManagedPolicies:
    """The one policy that SAM adds by its name; on AWS it asks IAM for the list."""

    def load(self):
        name = "AWSLambdaBasicExecutionRole"
        return {name: f"arn:aws:iam::aws:policy/service-role/{name}"}


def translate(path, place_of):
    """The template as CloudFormation. `place_of` gives where a program's zip is, as an s3 URL:
    what `sam package` would put there once it has uploaded it."""
    with open(path, encoding="utf-8") as file:
        template = yaml_parse(file)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            program = resource["Metadata"]["BuildProperties"]["Binary"]
            resource["Properties"]["CodeUri"] = place_of(program)
    # Names are the same in every region; one has to be said.
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    return transform(template, {}, ManagedPolicies())


if __name__ == "__main__":
    translated = translate(sys.argv[1], lambda program: f"s3://programs/{program}.zip")
    json.dump(translated, sys.stdout, indent=1)
