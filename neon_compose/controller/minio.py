"""The embedded MinIO: a bucket, and a user that may use that bucket and nothing else.

Root credentials are random and reach the container as files. Everything here may be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import urllib3
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException, S3Error

from neon_compose.controller.secrets import Secrets
from neon_compose.errors import Unavailable

T = TypeVar("T")

PORT = 9000
BUCKET = "neon"
_POLICY = "neon-bucket"
_HEALTH_S = 2.0
_CALL_S = 10.0


def scoped_policy(bucket: str) -> dict[str, object]:
    """An IAM policy: everything in `bucket`, nothing outside of it."""
    arn = f"arn:aws:s3:::{bucket}"
    statement = {"Effect": "Allow", "Action": ["s3:*"], "Resource": [arn, f"{arn}/*"]}
    return {"Version": "2012-10-17", "Statement": [statement]}


def healthy(address: str) -> bool:
    """Whether it answers and can serve requests."""
    try:
        url = f"http://{address}:{PORT}/minio/health/ready"
        with urllib3.PoolManager(timeout=_HEALTH_S, retries=False) as pool:
            return pool.request("GET", url).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def set_up(address: str, secrets: Secrets) -> None:
    """Bucket, policy and user exist. `Unavailable` if MinIO refuses or does not answer.

    Whether that is so is asked as the user: the calls of the admin API that carry secrets cost MinIO an
    Argon2 of 64 MiB each, which it gives back minutes later.
    """
    endpoint = f"{address}:{PORT}"
    pool = urllib3.PoolManager(timeout=_CALL_S, retries=urllib3.Retry(2))
    user = StaticProvider(secrets.minio_user, secrets.minio_password)
    if _has_bucket(Minio(endpoint=endpoint, credentials=user, secure=False, http_client=pool)):
        return
    root = StaticProvider(secrets.minio_root_user, secrets.minio_root_password)
    client = Minio(endpoint=endpoint, credentials=root, secure=False, http_client=pool)
    admin = MinioAdmin(endpoint=endpoint, credentials=root, secure=False, http_client=pool)
    _said(lambda: _ensure_bucket(client))
    _said(lambda: admin.policy_add(_POLICY, policy=scoped_policy(BUCKET)))
    _said(lambda: admin.user_add(secrets.minio_user, secrets.minio_password))
    _said(lambda: admin.policy_set(_POLICY, user=secrets.minio_user))


def _has_bucket(client: Minio) -> bool:
    """Whether the bucket is there and `client` may see it."""
    try:
        return bool(client.bucket_exists(bucket_name=BUCKET))
    except S3Error:  # no such user, or not allowed
        return False
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        raise Unavailable("MinIO does not answer", detail=str(error), code="minio_failed") from error


def _ensure_bucket(client: Minio) -> None:
    if not client.bucket_exists(bucket_name=BUCKET):
        client.make_bucket(bucket_name=BUCKET)


def _said(call: Callable[[], T]) -> T:
    try:
        return call()
    except (MinioException, MinioAdminException, urllib3.exceptions.HTTPError) as error:
        raise Unavailable("MinIO did not take its set-up", detail=str(error), code="minio_failed") from error
