"""The harness itself does what tests rely on."""

import psycopg
import redis as redis_client

from tests.harness.services import PostgreSQL, Redis


def test_private_postgresql_keeps_its_data_over_a_crash(postgresql: PostgreSQL):
    with psycopg.connect(postgresql.url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    postgresql.stop()
    postgresql.start()
    with psycopg.connect(postgresql.url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_private_redis_answers(redis: Redis):
    assert redis_client.Redis.from_url(redis.url).ping()
