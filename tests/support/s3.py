"""A real server that speaks like S3, in a process of its own, for as long as a test wants it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

BUCKET: Final = "the-bucket"

_SERVER: Final = f"""
import logging, sys
from moto.server import ThreadedMotoServer
import boto3
logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
url = "http://127.0.0.1:%d" % server.get_host_and_port()[1]
client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")
client.create_bucket(Bucket="{BUCKET}")
print(url, flush=True)
for line in sys.stdin:
    if line.strip() == "remove":
        for entry in client.list_objects_v2(Bucket="{BUCKET}").get("Contents", []):
            client.delete_object(Bucket="{BUCKET}", Key=entry["Key"])
        client.delete_bucket(Bucket="{BUCKET}")
        print("removed", flush=True)
        continue
    objects = client.list_objects_v2(Bucket="{BUCKET}").get("Contents", [])
    parts = client.list_multipart_uploads(Bucket="{BUCKET}").get("Uploads", [])
    print(" ".join([entry["Key"] for entry in objects] + ["unfinished:" + entry["Key"] for entry in parts]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket behind `url`."""

    url: str
    process: subprocess.Popen[Any]

    def names(self) -> list[str]:
        """Everything in it, and what has been sent of things that are not in it yet."""
        return sorted(self._asked("?").split())

    def remove(self) -> None:
        """Remove the bucket, with what is in it."""
        assert self._asked("remove") == "removed\n"

    def _asked(self, line: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def config(self, prefix: str) -> str:
        """What `storage.blobs` says of it."""
        return (
            f"{{type: s3, bucket: {BUCKET}, prefix: {prefix}, endpoint: '{self.url}', access_key_id: k, "
            "secret_access_key: canary-of-s3}"
        )


@contextmanager
def running_s3() -> Iterator[Bucket]:
    """An empty bucket."""
    command = [sys.executable, "-W", "ignore", "-c", _SERVER]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url, "moto did not start"
            yield Bucket(url, process)
        finally:
            process.kill()
