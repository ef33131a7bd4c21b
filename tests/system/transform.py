"""What CloudFormation makes of `template.yaml`: SAM's own transform, run in the emulator's environment."""

import json
import logging
import subprocess
from typing import Any

from infra import ROOT
from infra.local import emulator

# Not a development dependency: it pins an older pydantic than the API function ships.
PROGRAM = """
import json, sys
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse
text, parameters = json.load(sys.stdin)
json.dump(Translator({}, Parser()).translate(yaml_parse(text), parameters), sys.stdout)
"""


def transformed(**parameters: str) -> dict[str, Any]:
    """Return the resources that a deployment with these parameters asks for; references are unresolved."""
    emulator.install(logging.getLogger(__name__).info)
    text = (ROOT / "template.yaml").read_text().replace("CodeUri: functions/", "CodeUri: s3://bucket/code")
    ran = subprocess.run(  # noqa: S603 - our own program
        [emulator.PYTHON, "-c", PROGRAM],
        input=json.dumps([text, parameters]),
        env={"AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    resources: dict[str, Any] = json.loads(ran.stdout)["Resources"]
    return resources
