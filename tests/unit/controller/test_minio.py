from neon_compose.controller import minio


def test_the_user_may_use_its_bucket_and_nothing_else() -> None:
    (statement,) = minio.scoped_policy("neon")["Statement"]  # type: ignore[misc]
    assert statement == {
        "Effect": "Allow",
        "Action": ["s3:*"],
        "Resource": ["arn:aws:s3:::neon", "arn:aws:s3:::neon/*"],
    }


def test_a_minio_that_does_not_answer_is_not_healthy() -> None:
    assert not minio.healthy("127.0.0.255")
