"""With pgvector, PostgreSQL finds what an exact search finds, in its order and with its scores.

What is stored without it is the expectation: the same items on SQLite, which compares every vector.
"""

import asyncio
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from langgraph.store.base import Op, PutOp, SearchItem, SearchOp
from sqlalchemy import create_engine, event, make_url, text

from stellwerk.errors import DatabaseError
from stellwerk.persistence import pgvector
from stellwerk.persistence.database import AsyncDatabase, Database
from stellwerk.persistence.store import AsyncSQLAlchemyStore, SQLAlchemyStore
from stellwerk.persistence.vectors import StoreIndexConfig
from tests.persistence.conftest import database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DISTANCES = ("cosine", "inner_product", "l2")
SUPERUSER = text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
OFFERED = text("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty database whose server has pgvector, which servers for tests need not have."""
    with database("postgresql", tmp_path_factory.mktemp("pgvector")) as url:
        with _connected(url) as connection:
            if not connection.scalar(OFFERED):
                pytest.skip("this PostgreSQL has no pgvector: pg_available_extensions does not name vector")
            if not connection.scalar(SUPERUSER):
                pytest.skip("this user of PostgreSQL is no superuser, and so cannot create pgvector")
        yield url


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def index(distance: str, dims: int) -> StoreIndexConfig:
    """Texts that are vectors themselves, as numbers with blanks between them."""
    return {
        "dims": dims,
        "embed": lambda texts: [[float(number) for number in text.split()] for text in texts],
        "fields": ["v", "more[*]"],
        "distance_type": distance,  # type: ignore[typeddict-item]
    }


@contextmanager
def stores(url: str, distance: str, dims: int) -> Iterator[tuple[SQLAlchemyStore, SQLAlchemyStore]]:
    """One on PostgreSQL with pgvector, and one that searches exactly; both are empty."""
    config = index(distance, dims)
    with (
        SQLAlchemyStore(Database.from_url(url), index=config, clock=lambda: NOW) as near,
        SQLAlchemyStore(Database.from_url("sqlite://"), index=config, clock=lambda: NOW) as exact,
    ):
        near.setup()
        with _connected(url) as connection:
            connection.execute(text("TRUNCATE stellwerk_items, stellwerk_vectors"))
        yield near, exact


def shown(found: Sequence[SearchItem]) -> list[tuple[Any, ...]]:
    return [(item.namespace, item.key, item.value, item.score) for item in found]


def written(numbers: Sequence[float]) -> str:
    return " ".join(map(repr, numbers))


@contextmanager
def asked(store: SQLAlchemyStore) -> Iterator[list[str]]:
    """Which of its statements measure in the server, and which read vectors for an exact search."""
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "OPERATOR" in statement:
            seen.append("pgvector")
        elif statement.startswith("SELECT stellwerk_vectors.item, stellwerk_vectors.dims"):
            seen.append("exact")

    engine = store.database._engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def same(near: SQLAlchemyStore, exact: SQLAlchemyStore, op: SearchOp) -> list[tuple[Any, ...]]:
    found: Any = near.batch([op])[0]
    expected: Any = exact.batch([op])[0]
    assert shown(found) == shown(expected)
    return shown(found)


FEW = st.sampled_from([-1.0, 0.0, 0.5, 1.0])  # which make ties, duplicates and zero vectors
ANY = st.floats(width=32, allow_nan=False, allow_infinity=False)
CLOSE = st.integers(-3, 3).map(lambda n: 1 + n * 2**-22)  # apart by less than sums of 32 bits can tell
DIMS = 3
VECTORS = st.one_of(*(st.tuples(*[number] * DIMS) for number in (FEW, CLOSE, ANY, FEW))).map(written)
VALUES = st.fixed_dictionaries(
    {"n": st.integers(0, 3)}, optional={"v": VECTORS, "more": st.lists(VECTORS, min_size=1, max_size=3)}
)
NAMESPACES = st.sampled_from([("a",), ("a", "b"), ("c",), ("ab",)])
PUTS = st.lists(
    st.builds(PutOp, NAMESPACES, st.integers(0, 99).map(str), VALUES, st.none(), st.none()),
    max_size=60,
)
SEARCHES = st.lists(
    st.builds(
        SearchOp,
        st.sampled_from([(), ("a",), ("a", "b")]),
        st.sampled_from([None, {"n": 1}, {"n": {"$lt": 3}}, {"n": 9}]),
        st.integers(0, 5) | st.just(20),
        st.integers(0, 2),
        VECTORS,
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module", params=DISTANCES)
def pair(
    request: pytest.FixtureRequest, postgresql: str
) -> Iterator[tuple[SQLAlchemyStore, SQLAlchemyStore]]:
    with stores(postgresql, request.param, DIMS) as made:
        yield made


# Without shrinking, which takes hundreds of runs, each with its commits to disk.
@settings(
    max_examples=60,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(puts=PUTS, searches=SEARCHES)
def test_finds_what_an_exact_search_finds(
    pair: tuple[SQLAlchemyStore, SQLAlchemyStore], puts: list[Op], searches: list[SearchOp]
) -> None:
    near, exact = pair
    left = [PutOp(item.namespace, item.key, None) for item in exact.search((), limit=1000)]
    for store in pair:
        store.batch(left)
        store.batch(puts)
    with asked(near) as seen:
        for search in searches:
            same(near, exact, search)
    for way in set(seen):
        hypothesis.event(way)


@pytest.mark.parametrize("distance", DISTANCES)
def test_many_items_of_many_dimensions(postgresql: str, distance: str) -> None:
    random = Random(5)
    with stores(postgresql, distance, 32) as (near, exact):
        puts = [
            PutOp(
                ("a", str(n % 3)),
                str(n),
                {
                    "n": n,
                    "v": written([random.gauss(0, 1) for _ in range(32)]),
                    "more": [written([random.gauss(0, 1) for _ in range(32)]) for _ in range(n % 4)],
                },
            )
            for n in range(600)
        ]
        for store in (near, exact):
            store.batch(puts)
        for _ in range(5):
            query = written([random.gauss(0, 1) for _ in range(32)])
            with asked(near) as seen:
                assert len(same(near, exact, SearchOp(("a",), None, 10, 0, query))) == 10
                same(near, exact, SearchOp(("a", "1"), None, 7, 20, query))
                same(near, exact, SearchOp((), {"n": {"$gte": 300}}, 10, 5, query))
            assert set(seen) == {"pgvector"}  # so that this compares two ways, and not one with itself
            with asked(near) as seen:
                same(near, exact, SearchOp((), {"n": 7}, 10, 0, query))  # fewer than asked for
                same(near, exact, SearchOp((), None, 600, 10, query))
            assert "exact" in seen


def test_ties_at_the_last_place_are_in_the_order_of_a_search_without_a_query(postgresql: str) -> None:
    with stores(postgresql, "cosine", 2) as (near, exact):
        puts = [PutOp(("a",), str(n), {"v": "1 0" if n % 2 else "2 0", "n": n}) for n in range(200)]
        puts += [PutOp(("a",), f"far{n}", {"v": f"1 {n}"}) for n in range(1, 50)]
        for store in (near, exact):
            store.batch(puts)
        with asked(near) as seen:
            found = same(near, exact, SearchOp((), None, 10, 0, "3 0"))
            page = same(near, exact, SearchOp((), None, 10, 10, "3 0"))
            same(near, exact, SearchOp((), None, 10, 90, "3 0"))
        assert set(seen) == {"pgvector"}
    assert len({key for _, key, *_ in found + page}) == 20


def test_more_ties_than_are_worth_sending(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgvector, "_MORE", 20)
    with stores(postgresql, "l2", 2) as (near, exact):
        for store in (near, exact):
            store.batch([PutOp(("a",), str(n), {"v": "1 0"}) for n in range(100)])
        with asked(near) as seen:
            same(near, exact, SearchOp((), None, 10, 0, "3 0"))
        assert seen == ["pgvector", "exact"]


def test_a_product_that_32_bits_lose(postgresql: str) -> None:
    with stores(postgresql, "inner_product", 3) as (near, exact):
        puts = [PutOp(("a",), str(n), {"v": "0 1 0"}) for n in range(50)]
        puts.append(PutOp(("a",), "best", {"v": "10000 3.5 -10000"}))  # 1e8 + 3.5 - 1e8
        for store in (near, exact):
            store.batch(puts)
        with asked(near) as seen:
            found = same(near, exact, SearchOp((), None, 1, 0, "10000 1 10000"))
        assert [key for _, key, *_ in found] == ["best"]
        assert seen == ["pgvector"]


@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_that_32_bits_cannot_tell_apart(postgresql: str, distance: str) -> None:
    # All items are as far from the query, but for the last bits of their numbers.
    random = Random(3)
    query = [1.0] + [0.0] * 31
    with stores(postgresql, distance, 32) as (near, exact):
        puts = []
        for n in range(300):
            across = [random.gauss(0, 1) for _ in range(31)]
            length = math.hypot(*across)
            puts.append(PutOp(("a",), str(n), {"v": written([0.6] + [0.8 * x / length for x in across])}))
        for store in (near, exact):
            store.batch(puts)
        with asked(near) as seen:
            for limit in (1, 2, 5):
                same(near, exact, SearchOp((), None, limit, 0, written(query)))
        assert set(seen) == {"pgvector"}


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("query", ["0 0", "1e-30 0", "1e30 1e30", "1 1e-30", "3e38 3e38"])
def test_numbers_of_any_size(postgresql: str, distance: str, query: str) -> None:
    sizes = [
        "0 0",
        "1e-30 1e-30",
        "1e-45 0",
        "1 2",
        "2 1",
        "1e30 -1e30",
        "3e38 3e38",
        "-3e38 3e38",
        "1e-20 1",
    ]
    with stores(postgresql, distance, 2) as (near, exact):
        for store in (near, exact):
            store.batch([PutOp(("a",), f"{n} {v}", {"v": v}) for n in range(3) for v in sizes])
        for limit in (1, 3, 9, 30):
            same(near, exact, SearchOp((), None, limit, 0, query))


@pytest.mark.parametrize(("dims", "way"), [(2_500, "pgvector"), (16_000, "pgvector"), (16_001, "exact")])
def test_dimensions_up_to_and_beyond_those_of_pgvector(postgresql: str, dims: int, way: str) -> None:
    with stores(postgresql, "cosine", dims) as (near, exact):
        puts = [
            PutOp(("a",), str(n), {"v": written([1.0 + (n * d) % 7 for d in range(dims)])}) for n in range(6)
        ]
        for store in (near, exact):
            store.batch(puts)
        with asked(near) as seen:
            same(near, exact, SearchOp((), None, 2, 0, written([1.0] * dims)))
        assert set(seen) == {way}


def test_vectors_of_other_dimensions_are_named(postgresql: str) -> None:
    with stores(postgresql, "cosine", 2) as (near, _):
        near.batch([PutOp(("a",), str(n), {"v": "1 0", "n": n}) for n in range(30)])
        other = SQLAlchemyStore(near.database, index=index("cosine", 3))
        other.put(("a",), "long", {"v": "1 2 3", "n": -1})
        assert len(near.search((), query="1 0", limit=2, filter={"n": {"$gte": 0}})) == 2
        with pytest.raises(DatabaseError, match="has 3 dimensions, and the index 2"):
            near.search((), query="1 0", limit=2)


def test_the_expired_and_the_rewritten_are_not_found(postgresql: str) -> None:
    with stores(postgresql, "cosine", 2) as (near, _):
        now = [NOW]
        with SQLAlchemyStore(near.database, index=index("cosine", 2), clock=lambda: now[0]) as store:
            store.batch([PutOp(("a",), str(n), {"v": f"1 {n}"}) for n in range(1, 30)])
            store.put(("a",), "short", {"v": "1 0"}, ttl=1)
            store.put(("a",), "changed", {"v": "1 0"})
            now[0] += timedelta(minutes=2)
            store.put(("a",), "changed", {"v": "0 1"})
            with asked(store) as seen:
                found = store.search((), query="1 0", limit=3, refresh_ttl=False)
            assert [item.key for item in found] == ["1", "2", "3"]
            assert seen == ["pgvector"]


def test_a_search_in_a_batch_that_writes(postgresql: str) -> None:
    with stores(postgresql, "cosine", 2) as (near, _):
        near.batch([PutOp(("a",), str(n), {"v": f"1 {n}"}) for n in range(10)])
        found = near.batch([PutOp(("a",), "new", {"v": "1 0"}), SearchOp((), None, 1, 0, "1 0")])
        assert [item.key for item in found[1]] == ["0"]  # type: ignore[union-attr]


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_async_drivers(postgresql: str, driver: str) -> None:
    url = make_url(postgresql).set(drivername=f"postgresql+{driver}").render_as_string(False)
    with stores(postgresql, "l2", 3) as (_, exact):
        puts = [PutOp(("a",), str(n), {"v": f"{n} {n % 5} 0.1", "n": n % 2}) for n in range(50)]
        exact.batch(puts)
        database = AsyncDatabase.from_url(url)
        async with AsyncSQLAlchemyStore(database, index=index("l2", 3), clock=lambda: NOW) as store:
            await store.abatch(puts)
            for search in (
                SearchOp(("a",), None, 5, 2, "20.5 1 0"),
                SearchOp((), {"n": 1}, 4, 0, "7 7 7"),
                SearchOp((), None, 60, 0, "1 1 1"),
            ):
                found: Any = (await store.abatch([search]))[0]
                assert shown(found) == shown(exact.batch([search])[0])  # type: ignore[arg-type]
            # The same time again, from many at once.
            ways = await asyncio.gather(*(store.asearch((), query=f"{n} 1 0", limit=1) for n in range(20)))
            assert len([item for way in ways for item in way]) == 20
            assert store._pgvector.schema == "public"


def test_pgvector_in_another_schema(tmp_path_factory: pytest.TempPathFactory, postgresql: str) -> None:
    with database("postgresql", tmp_path_factory.mktemp("elsewhere")) as url:
        with _connected(url) as connection:
            connection.execute(text('CREATE SCHEMA "its ""own"" 100%"'))
            connection.execute(text('CREATE EXTENSION vector SCHEMA "its ""own"" 100%"'))
        with SQLAlchemyStore.from_url(url, index=index("cosine", 2)) as store, asked(store) as seen:
            store.batch([PutOp(("a",), str(n), {"v": f"1 {n}"}) for n in range(20)])
            assert [item.key for item in store.search((), query="1 0", limit=2)] == ["0", "1"]
            assert seen == ["pgvector"]


@contextmanager
def _role(url: str) -> Iterator[str]:
    """As a user who owns the database, and may create no extension that is not trusted."""
    name = f"stellwerk_test_{uuid4().hex[:12]}"
    made = make_url(url)
    with _connected(url) as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'"))
        connection.execute(text(f"ALTER DATABASE {made.database} OWNER TO {name}"))
        try:
            yield made.set(username=name, password=name).render_as_string(False)
        finally:
            connection.execute(text(f"ALTER DATABASE {made.database} OWNER TO CURRENT_USER"))
            connection.execute(text(f"REASSIGN OWNED BY {name} TO CURRENT_USER"))
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))


@pytest.mark.parametrize("write", [True, False])
def test_without_the_extension_a_search_is_exact(
    tmp_path_factory: pytest.TempPathFactory, postgresql: str, write: bool
) -> None:
    with database("postgresql", tmp_path_factory.mktemp("refused")) as url, _role(url) as refused:
        with SQLAlchemyStore.from_url(refused, index=index("cosine", 2)) as store, asked(store) as seen:
            if write:
                store.setup()
            store.batch([PutOp(("a",), str(n), {"v": f"1 {n}"}) for n in range(20)])
            assert [item.key for item in store.search((), query="1 0", limit=2)] == ["0", "1"]
            assert set(seen) == {"exact"}
        with _connected(url) as connection:
            connection.execute(text("CREATE EXTENSION vector"))
        # What was stored before needs nothing to be found with it.
        with SQLAlchemyStore.from_url(refused, index=index("cosine", 2)) as store, asked(store) as seen:
            assert [item.key for item in store.search((), query="1 0", limit=2)] == ["0", "1"]
            assert seen == ["pgvector"]


def test_a_schema_that_must_not_be_used(tmp_path_factory: pytest.TempPathFactory, postgresql: str) -> None:
    with database("postgresql", tmp_path_factory.mktemp("hidden")) as url, _role(url) as refused:
        with _connected(url) as connection:
            connection.execute(text("CREATE SCHEMA hidden"))
            connection.execute(text("CREATE EXTENSION vector SCHEMA hidden"))
        with SQLAlchemyStore.from_url(refused, index=index("cosine", 2)) as store:
            store.put(("a",), "k", {"v": "1 0"})
            assert [item.score for item in store.search((), query="1 0")] == [1.0]


def test_stores_that_start_at_once_share_the_extension(
    tmp_path_factory: pytest.TempPathFactory, postgresql: str
) -> None:
    async def start(url: str) -> list[str | None]:
        made = [AsyncSQLAlchemyStore.from_url(url, index=index("cosine", 2)) for _ in range(8)]
        try:
            await asyncio.gather(*(store.setup() for store in made))
            return [store._pgvector.schema for store in made]
        finally:
            for store in made:
                await store.close()

    with database("postgresql", tmp_path_factory.mktemp("at_once")) as url:
        assert asyncio.run(start(url)) == ["public"] * 8


def test_vectors_of_no_direction_are_at_a_right_angle_to_all(postgresql: str) -> None:
    with stores(postgresql, "cosine", 2) as (near, exact):
        puts = [PutOp(("a",), f"zero{n}", {"v": "0 0"}) for n in range(30)]
        puts += [PutOp(("a",), f"near{n}", {"v": f"1 {9 + n}"}) for n in range(5)]
        puts += [PutOp(("a",), f"away{n}", {"v": f"-1 {9 + n}"}) for n in range(5)]
        for store in (near, exact):
            store.batch(puts)
        with asked(near) as seen:
            assert [key for _, key, *_ in same(near, exact, SearchOp((), None, 2, 0, "1 0"))] == [
                "near0",
                "near1",
            ]
            same(near, exact, SearchOp((), None, 3, 4, "1 0"))
        assert set(seen) == {"pgvector"}


def test_a_filter_that_only_a_doubtful_candidate_passes(postgresql: str) -> None:
    with stores(postgresql, "inner_product", 3) as (near, exact):
        puts = [PutOp(("a",), f"other{n}", {"v": "0 10 0", "n": 0}) for n in range(20)]
        # In 32 bits, this may be a product of anything: it is 0.
        puts.append(PutOp(("a",), "doubtful", {"v": "10000 0 -10000", "n": 1}))
        puts += [PutOp(("a",), f"best{n}", {"v": "0 5 0", "n": 1}) for n in range(3)]
        for store in (near, exact):
            store.batch(puts)
        with asked(near) as seen:
            found = same(near, exact, SearchOp((), {"n": 1}, 1, 0, "10000 1 10000"))
        assert found[0][3] == 5.0
        assert seen[0] == "pgvector"


def test_a_vector_that_a_race_left_behind_is_of_no_value_that_is_there(postgresql: str) -> None:
    with stores(postgresql, "cosine", 2) as (near, _):
        near.batch([PutOp(("a",), str(n), {"v": f"1 {n}"}) for n in range(20)])
        with _connected(postgresql) as connection:
            connection.execute(
                text("UPDATE stellwerk_vectors SET updated_at = '2025-01-01' WHERE vector = '{1,0}'")
            )
        with asked(near) as seen:
            assert [item.key for item in near.search((), query="1 0", limit=2)] == ["1", "2"]
        assert seen == ["pgvector"]
