"""Schema of a JobSet, to check manifests without a cluster.

Fields, types and choices of jobset.x-k8s.io/v1alpha2, as far as a training job
may come to use them. Everything else is refused. The Job inside a JobSet is
Kubernetes' own, whose published schema `kubernetes_validate` brings.
"""

from typing import Any

import jsonschema
import kubernetes_validate

# The oldest Kubernetes with all that is used, and the newest known.
VERSIONS = ("1.31", kubernetes_validate.latest_version())

_STRING = {"type": "string"}
_BOOLEAN = {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}
_NAME = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
_STRINGS = {"type": "object", "additionalProperties": _STRING}


def _only(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
  return {
    "type": "object",
    "properties": properties,
    "required": list(required),
    "additionalProperties": False,
  }


def _many(items: dict[str, Any], **more: Any) -> dict[str, Any]:
  return {"type": "array", "items": items, **more}


_METADATA = _only(
  ("name",),
  name=_NAME,
  namespace=_NAME,
  labels=_STRINGS,
  annotations=_STRINGS,
)
_RULE = _only(
  ("name", "action"),
  name={
    "type": "string",
    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
  },
  action={
    "enum": [
      "FailJobSet",
      "RestartJobSet",
      "RestartJobSetAndIgnoreMaxRestarts",
      "RestartJob",
      "RestartJobAndIgnoreMaxRestarts",
    ]
  },
  onJobFailureReasons=_many(
    {
      "enum": [
        "BackoffLimitExceeded",
        "DeadlineExceeded",
        "FailedIndexes",
        "MaxFailedIndexesExceeded",
        "PodFailurePolicy",
      ]
    }
  ),
  onJobFailureMessagePatterns=_many(_STRING),
  targetReplicatedJobs=_many(_STRING),
)
_SPEC = _only(
  ("replicatedJobs",),
  network=_only(
    enableDNSHostnames=_BOOLEAN,
    publishNotReadyAddresses=_BOOLEAN,
    subdomain=_NAME,
  ),
  failurePolicy=_only(
    maxRestarts=_COUNT,
    restartStrategy={"enum": ["Recreate", "BlockingRecreate"]},
    rules=_many(_RULE),
  ),
  replicatedJobs=_many(
    _only(
      ("name", "template"),
      name=_NAME,
      replicas={"type": "integer", "minimum": 1},
      template=_only(
        ("spec",), metadata={"type": "object"}, spec={"type": "object"}
      ),
    ),
    minItems=1,
  ),
  suspend=_BOOLEAN,
  ttlSecondsAfterFinished=_COUNT,
)
SCHEMA = _only(
  ("apiVersion", "kind", "metadata", "spec"),
  apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
  kind={"const": "JobSet"},
  metadata=_METADATA,
  spec=_SPEC,
)


def validate(manifest: dict[str, Any]) -> None:
  """Raises jsonschema.ValidationError at the first thing that is wrong."""
  jsonschema.validate(manifest, SCHEMA)
  for replicated in manifest["spec"]["replicatedJobs"]:
    job = {
      "apiVersion": "batch/v1",
      "kind": "Job",
      "metadata": {"name": "job"},
      "spec": replicated["template"]["spec"],
    }
    for version in VERSIONS:
      kubernetes_validate.validate(job, version, strict=True)
