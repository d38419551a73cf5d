"""What the tests of runs and leases share."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import Connection, create_engine, func, select, update

from stellwerk.errors import DatabaseError
from stellwerk.persistence.checkpoint_codec import thread_key
from stellwerk.persistence.clock import now
from stellwerk.persistence.database import Database
from stellwerk.persistence.lease import Lease
from stellwerk.persistence.run_units import Claim, claim
from stellwerk.persistence.schema.checkpoints import blobs, checkpoints, writes
from stellwerk.persistence.schema.runs import leases


def expire(database: Database, thread_id: str) -> None:
    """Let the time pass until a thread's lease has ended."""
    database.write(lambda c: _expire(c, thread_id))


def tick(database: Database) -> None:
    """Wait until the database's clock, whose steps are milliseconds on SQLite, has moved."""
    database.read(_tick)


def take_over(database: Database, thread_id: str) -> Lease:
    """Do what another process may do once the lease has ended; in one step, so that none sees it ended."""
    return database.write(lambda c: take_over_in(c, thread_id))


def take_over_unless_locked(url: str, thread_id: str) -> Lease | None:
    """As `take_over`, where nobody is in the middle of a write under the lease."""
    options = {"connect_args": {"timeout": 0.1}} if url.startswith("sqlite") else {}
    lease = select(leases.c.token).where(leases.c.thread == thread_key(thread_id))

    def work(connection: Connection) -> Lease:
        connection.execute(lease.with_for_update(nowait=True))
        return take_over_in(connection, thread_id)

    with Database(create_engine(url, **options), owned=True, patience=0.0) as impatient:
        try:
            return impatient.write(work)
        except DatabaseError:
            return None


def take_over_in(connection: Connection, thread_id: str) -> Lease:
    """As `take_over`, on a connection."""
    _expire(connection, thread_id)
    return claim(connection, Claim(thread_id, str(uuid4()), "taken over", "other:1", "0.1", 60.0))


def _tick(connection: Connection) -> None:
    clock = select(now())
    before = connection.execute(clock).scalar_one()
    while connection.execute(clock).scalar_one() == before:
        pass


def _expire(connection: Connection, thread_id: str) -> None:
    _tick(connection)  # or what is done next would be of the same moment
    change = update(leases).where(leases.c.thread == thread_key(thread_id))
    connection.execute(change.values(expires_at=datetime.now(UTC) - timedelta(minutes=1)))


def rows(database: Database, thread_id: str) -> int:
    """How many rows a thread has in the checkpointer's tables."""
    thread = thread_key(thread_id)
    counts = [
        select(func.count()).select_from(t).where(t.c.thread == thread) for t in (checkpoints, blobs, writes)
    ]
    return database.read(lambda c: sum(c.execute(count).scalar_one() for count in counts))
