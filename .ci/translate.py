"""Translates template.yaml as AWS does before it deploys it, for tools that read plain
CloudFormation: `translate.py TEMPLATE > translated.json`. What is wrong with the template ends it."""

import json
import sys

from samtranslator.parser import parser
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class ManagedPolicies:
    """The one policy that SAM adds by its name; on AWS it asks IAM for the list."""

    def load(self):
        name = "AWSLambdaBasicExecutionRole"
        return {name: f"arn:aws:iam::aws:policy/service-role/{name}"}


with open(sys.argv[1], encoding="utf-8") as file:
    template = yaml_parse(file)
for function in template["Resources"].values():
    # What `sam package` would put there once it has uploaded the program.
    if function["Type"] == "AWS::Serverless::Function":
        function["Properties"]["CodeUri"] = "s3://programs/bootstrap.zip"
translated = transform(template, {}, ManagedPolicies())
json.dump(translated, sys.stdout, indent=1)
