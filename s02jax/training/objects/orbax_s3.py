"""Checkpoints on s3://, which Orbax writes as it does on gs://.

Orbax 0.12 names files by etils.epath, which knows both, and marks a checkpoint
as whole by an object `commit_success.txt`. Arrays it hands to tensorstore, and
that has a driver for S3, but Orbax only ever asks for the one for Google's
store. So one function of Orbax is wrapped: what it says of a folder on gs:// is
said of the same folder on s3://.

Endpoint, region and keys are those of the AWS_… variables that every client of
S3 reads; without keys there, tensorstore looks for a profile or a role.
"""

import os
from typing import Any

from orbax.checkpoint._src.serialization import tensorstore_utils

# As many tries as take some two minutes. The 32 that tensorstore makes alone
# take a quarter of an hour, and launchers wait less for a process to end.
RETRIES = {"max_retries": 8, "initial_delay": "500ms", "max_delay": "30s"}

_plain = tensorstore_utils.build_kvstore_tspec


def enable() -> None:
  """Lets Orbax write arrays to s3:// in this process."""
  tensorstore_utils.build_kvstore_tspec = _spec


def _spec(directory: str, *args: Any, **options: Any) -> dict[str, Any]:
  """Spec of a key-value store, as the function of Orbax gives it.

  Args:
    directory: folder, or its URL.
    args: passed on.
    options: passed on.
  """
  directory = os.fspath(directory)
  # Orbax normalises a URL like a path, which leaves one slash of the two.
  bucket = directory.removeprefix("s3:").lstrip("/")
  if not directory.startswith("s3:/"):
    return _plain(directory, *args, **options)
  return _on_s3(_plain(f"gs://{bucket}", *args, **options), _service())


def _on_s3(spec: Any, service: dict[str, Any]) -> Any:
  """Spec in which every store of Google's is one of S3."""
  if isinstance(spec, list):
    return [_on_s3(part, service) for part in spec]
  if not isinstance(spec, dict):
    return spec
  if spec.get("driver") in ("gcs", "gcs_grpc"):
    return spec | {"driver": "s3"} | service
  return {name: _on_s3(part, service) for name, part in spec.items()}


def _service() -> dict[str, Any]:
  """Members of a tensorstore spec that say which service to ask, as whom."""
  env = os.environ
  found: dict[str, Any] = {"s3_request_retries": RETRIES}
  endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
  region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
  if endpoint:
    # Such services have one region, and tensorstore would look for its name.
    found |= {"endpoint": endpoint, "aws_region": region or "us-east-1"}
  elif region:
    found["aws_region"] = region
  if "AWS_ACCESS_KEY_ID" in env:
    found["aws_credentials"] = {"type": "environment"}
  return found
