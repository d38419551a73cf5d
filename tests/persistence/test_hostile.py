"""What an intruder, a defect or another program left in the database is refused, and runs nothing."""

import asyncio
import contextlib
import enum
import json
import operator
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NewType

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import StateGraph
from langgraph.types import Send
from pydantic import BaseModel, Field, RootModel, SecretStr, computed_field
from sqlalchemy import Table, create_engine, select, update
from typing_extensions import TypedDict

from stellwerk.errors import ConfigurationError, InputError, UntrustedDataError
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.schema.checkpoints import blobs, checkpoints, writes
from stellwerk.persistence.serde import StrictEncryptedSerializer, StrictSerializer
from tests.persistence.savers import at, checkpoint, listed, opened, put

SAFE = StrictSerializer()


def ext(code: int, *parts: Any) -> ormsgpack.Ext:
    """An object as LangGraph writes it."""
    return ormsgpack.Ext(code, ormsgpack.packb(parts))


def attacks(target: Path) -> dict[str, ormsgpack.Ext]:
    """Rows that would create a file if what they name were called."""
    touch, code = f"touch {target}", f"open({str(target)!r}, 'w').close()"
    return {
        "os.system": ext(0, "os", "system", touch),
        "posix.system": ext(0, "posix", "system", touch),
        "eval": ext(0, "builtins", "eval", code),
        "exec": ext(1, "builtins", "exec", [code]),
        "open": ext(1, "builtins", "open", [str(target), "w"]),
        "popen": ext(2, "subprocess", "Popen", {"args": touch, "shell": True}),
        "run": ext(2, "subprocess", "run", {"args": touch, "shell": True}),
        "call": ext(4, "subprocess", "call", {"args": touch, "shell": True}),
        "open as a model": ext(5, "builtins", "open", {"file": str(target), "mode": "w"}),
        "model": ext(5, "subprocess", "run", {"args": touch, "shell": True}, "model_validate_json"),
        "method": ext(3, "builtins", "eval", code, "__call__"),
        "path": ext(3, "pathlib", "Path", str(target), "touch"),
        "of an allowed class": ext(3, "os", "environ", code, "get"),
    }


ATTACKS = list(attacks(Path()))
PLACES: dict[str, Callable[[Any], Any]] = {
    "itself": lambda bad: bad,
    "list": lambda bad: [1, [bad]],
    "value": lambda bad: {"a": {"b": bad}},
    "message": lambda bad: ext(
        5, HumanMessage.__module__, "HumanMessage", {"content": bad}, "model_validate_json"
    ),
    "send": lambda bad: ext(1, "langgraph.types", "Send", ["node", bad]),
    "set": lambda bad: ext(0, "builtins", "set", [bad]),
    "snapshot": lambda bad: ormsgpack.Ext(7, ormsgpack.packb([bad])),
    "array": lambda bad: ext(6, "<f8", [1], "C", bad),
    "name": lambda bad: ext(0, bad, "x", 1),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("place", PLACES)
def test_a_crafted_value_runs_nothing(attack: str, place: str, tmp_path: Path) -> None:
    target = tmp_path / "created"
    payload = ormsgpack.packb(PLACES[place](attacks(target)[attack]))
    with pytest.raises(UntrustedDataError):
        SAFE.loads_typed(("msgpack", payload))
    assert not target.exists()


@pytest.mark.parametrize("attack", ["os.system", "eval", "popen", "open as a model"])
def test_the_attacks_would_work(attack: str, tmp_path: Path) -> None:
    """Or the tests above would show nothing: a lenient serializer creates the file."""
    target = tmp_path / "created"
    made = JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(
        ("msgpack", ormsgpack.packb(attacks(target)[attack]))
    )
    if hasattr(made, "wait"):
        made.wait()
    if hasattr(made, "close"):
        made.close()
    assert target.exists()


@pytest.mark.parametrize(
    "kind_and_payload",
    [
        ("json", json.dumps({"lc": 2, "type": "constructor", "id": ["os", "system"], "args": ["true"]})),
        ("json", "{}"),
        ("pickle", "cos\nsystem\n(S'true'\ntR."),
        ("msgpack+aes", "x"),
        ("", ""),
    ],
)
def test_other_kinds_are_refused(kind_and_payload: tuple[str, str]) -> None:
    kind, payload = kind_and_payload
    with pytest.raises(UntrustedDataError, match="which is not read"):
        SAFE.loads_typed((kind, payload.encode()))


def test_arrays_of_objects_are_refused() -> None:
    for dtype in ("|O", "O", [["a", "|O"]]):
        payload = ormsgpack.packb(ext(6, dtype, [1], "C", b"\0" * 8))
        with pytest.raises(UntrustedDataError):
            SAFE.loads_typed(("msgpack", payload))


@pytest.mark.parametrize("depth", [10_000, 200_000])
def test_nesting_without_end_is_refused(depth: int) -> None:
    with pytest.raises(UntrustedDataError):
        SAFE.loads_typed(("msgpack", b"\x91" * depth + b"\x01"))


def test_snapshots_without_end_are_refused() -> None:
    payload = ormsgpack.packb(1)
    for _ in range(3_000):
        payload = ormsgpack.packb(ormsgpack.Ext(7, payload))
    with pytest.raises(UntrustedDataError):
        SAFE.loads_typed(("msgpack", payload))


WHOLE = SAFE.dumps_typed(
    {"messages": [HumanMessage("hello", id="1")], "path": Path("/x"), "send": Send("a", {1: {2, 3}})}
)[1]


PLAIN: set[type] = {dict, list, tuple, set, str, bytes, int, float, bool, type(None)}
SNAPSHOT = type(SAFE.loads_typed(("msgpack", ormsgpack.packb(ormsgpack.Ext(7, ormsgpack.packb(1))))))
WHOLE_TYPES: set[type] = {HumanMessage, type(Path()), Send, SNAPSHOT}  # a snapshot holds a value, no more


def parts(value: Any) -> Iterator[Any]:
    """A value and all that is in it."""
    yield value
    if isinstance(value, dict):
        for pair in value.items():
            yield from parts(pair)
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from parts(part)
    elif isinstance(value, Send):
        yield from parts((value.node, value.arg))
    elif isinstance(value, BaseMessage):
        yield from parts(dict(value))


@given(cut=st.integers(0, len(WHOLE) - 1))
def test_truncated_values_are_refused(cut: int) -> None:
    with pytest.raises(UntrustedDataError):
        SAFE.loads_typed(("msgpack", WHOLE[:cut]))


@given(place=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_a_damaged_value_is_read_as_data_or_refused(place: int, byte: int) -> None:
    damaged = WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :]
    with contextlib.suppress(UntrustedDataError):
        found = {type(value) for value in parts(SAFE.loads_typed(("msgpack", damaged)))}
        assert found <= PLAIN | WHOLE_TYPES, found - PLAIN


class Chat(TypedDict):
    messages: Annotated[list[Any], operator.add]
    number: int


def chatting(checkpointer: Any) -> Any:
    graph = StateGraph(Chat)
    graph.add_node("talk", lambda state: {"messages": ["x" * 100], "number": 1})
    graph.set_entry_point("talk")
    graph.set_finish_point("talk")
    return graph.compile(checkpointer=checkpointer)


COLUMNS = {
    "checkpoint": (checkpoints, "checkpoint", "type"),
    "metadata": (checkpoints, "metadata", "metadata_type"),
    "channel": (blobs, "value", "type"),
    "write": (writes, "value", "type"),
}


def plant(url: str, where: tuple[Table, str, str], kind: str | None, payload: bytes) -> None:
    """Overwrite a column of every row, as one who has the database can."""
    table, column, kind_column = where
    engine = create_engine(url)
    with engine.begin() as connection:
        changed = connection.execute(update(table).values({column: payload, kind_column: kind}))
        assert changed.rowcount
    engine.dispose()


@pytest.mark.parametrize(
    ("column", "sync"), [("checkpoint", True), ("metadata", False), ("channel", True), ("write", False)]
)
async def test_a_crafted_row_runs_nothing(column: str, sync: bool, shared_url: str, tmp_path: Path) -> None:
    target = tmp_path / "created"
    async with opened(shared_url, sync) as saver:
        graph = chatting(saver)
        await graph.ainvoke({"messages": [], "number": 0}, at("1"))
        payload = ormsgpack.packb({"channel_values": attacks(target)["os.system"]})
        plant(shared_url, COLUMNS[column], None, payload)
        with pytest.raises(UntrustedDataError):
            await listed(saver, at("1"))
        with pytest.raises(UntrustedDataError):
            _ = [state async for state in graph.aget_state_history(at("1"))]
        if column != "write":  # the latest checkpoint of a finished run has none
            with pytest.raises(UntrustedDataError):
                await saver.aget_tuple(at("1"))
            with pytest.raises(UntrustedDataError):
                await graph.aget_state(at("1"))
            with pytest.raises(UntrustedDataError):
                await graph.ainvoke({"messages": [], "number": 0}, at("1"))
            if sync:
                with pytest.raises(UntrustedDataError):
                    await asyncio.to_thread(graph.invoke, {"messages": [], "number": 0}, at("1"))
    assert not target.exists()


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (None, b""),
        (None, ormsgpack.packb([1, 2])),
        (None, ormsgpack.packb({"channel_values": {}})),
        (None, ormsgpack.packb({"channel_versions": {}, "channel_values": {}, "blobs": ["a"]})),
        (None, ormsgpack.packb({"channel_versions": {}, "channel_values": [], "blobs": []})),
        ("null", b""),
        ("bytes", b"x"),
        ("json", b"{}"),
        ("pickle", b"cos\nsystem\n(S'true'\ntR."),
    ],
)
async def test_a_row_that_is_no_checkpoint_is_refused(
    kind: str | None, payload: bytes, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    async with opened(url, True) as saver:
        await put(saver, at("1"))
        plant(url, COLUMNS["checkpoint"], kind, payload)
        with pytest.raises(UntrustedDataError):
            await saver.aget_tuple(at("1"))
        with pytest.raises(UntrustedDataError):
            await saver.aprune(["1"])
        await saver.adelete_thread("1")
        if payload[:1] >= b"\x90" or kind or not payload:  # other than a dict
            await put(saver, at("1"))
            plant(url, COLUMNS["metadata"], kind, payload)
            with pytest.raises(UntrustedDataError):
                await saver.aget_tuple(at("1"))
            with pytest.raises(UntrustedDataError):
                await listed(saver, at("1"), filter={"a": 1})


# Types of one's own


class Colour(enum.Enum):
    RED = "red"


class Shade(enum.Enum):
    DARK = "dark"


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Inner:
    colour: Colour
    total: int = field(init=False, default=0)


@dataclass(frozen=True)
class Frozen:
    items: list[Inner]  # a tuple comes back as a list: msgpack has none


class Leaf(BaseModel):
    number: int = Field(0, alias="theNumber")


class Tree(BaseModel):
    leaves: dict[str, list[Leaf]] = {}
    point: Point | None = None
    secret: SecretStr = SecretStr("s")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return len(self.leaves)


class Rigid(BaseModel, extra="forbid"):
    number: int = 3

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.number


class Roots(RootModel[list[int]]):
    pass


class Aside(TypedDict):
    shade: Shade


Renamed = NewType("Renamed", Roots)


class State(TypedDict):
    tree: Tree
    frozen: Annotated[Frozen | None, "a reason"]
    aside: list[Aside]
    renamed: Renamed
    more: "list[Later]"


class Later(BaseModel):
    tree: Tree | None = None
    later: "Later | None" = None


OURS: State = {
    "tree": Tree(leaves={"a": [Leaf(theNumber=5)]}, point=Point(1, 2)),
    "frozen": Frozen([Inner(Colour.RED)]),
    "aside": [{"shade": Shade.DARK}],
    "renamed": Renamed(Roots([1, 2])),
    "more": [Later(later=Later(tree=Tree()))],
}


def passing(checkpointer: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("step", lambda state: {"more": state["more"]})
    graph.set_entry_point("step")
    graph.set_finish_point("step")
    return graph.compile(checkpointer=checkpointer)


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_types_in_the_fields_of_an_allowed_type_come_back(url: str, sync: bool) -> None:
    async with opened(url, sync, allow=[State]) as saver:
        graph = passing(saver)
        await graph.ainvoke(OURS, at("1"))
        values = (await graph.aget_state(at("1"))).values
        assert values == OURS
        assert type(values["more"][0].later.tree) is Tree
        assert values["tree"].leaves["a"][0].number == 5
        assert type(values["frozen"].items[0]) is Inner
        assert values["aside"][0]["shade"] is Shade.DARK
        history = [state.values async for state in graph.aget_state_history(at("1"))]
        assert history[:2] == [OURS] * 2


@pytest.mark.parametrize(
    "value", [Colour.RED, Shade.DARK, Point(1, 2), Inner(Colour.RED), Tree(), Later(), Roots([1]), Rigid()]
)
@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_a_type_of_ones_own_is_refused_with_the_remedy(value: Any, sync: bool) -> None:
    name = type(value).__name__
    async with opened("sqlite://", sync) as saver:
        await put(saver, at("1"), checkpoint(value=[value]))
        with pytest.raises(UntrustedDataError, match=rf"{name}.*allow=\[{name}\]"):
            await saver.aget_tuple(at("1"))
        await put(saver, at("2"), checkpoint(value=1), {"mine": value})
        with pytest.raises(UntrustedDataError, match=rf"allow=\[{name}\]"):
            await saver.aget_tuple(at("2"))
    allowed = StrictSerializer([type(value)])
    back = allowed.loads_typed(allowed.dumps_typed(value))
    assert (back, type(back)) == (value, type(value))


@dataclass
class Odd:
    process: subprocess.Popen[bytes]
    function: Callable[[], Inner]


def test_what_is_allowed_is_what_fields_hold() -> None:
    serde = StrictSerializer([Odd])
    with pytest.raises(UntrustedDataError, match="Popen"):
        serde.loads_typed(("msgpack", ormsgpack.packb(ext(2, "subprocess", "Popen", {"args": "true"}))))
    assert serde.loads_typed(serde.dumps_typed(Inner(Colour.RED))) == Inner(Colour.RED)


@pytest.mark.parametrize("wrong", ["module.State", ("State",), 1, Tree()])
def test_what_is_neither_class_nor_name_cannot_be_allowed(wrong: Any) -> None:
    with pytest.raises(InputError, match="give a class"):
        StrictSerializer([wrong])


def test_a_changed_class_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    serde = StrictSerializer([State])
    tree, inner, red = (serde.dumps_typed(value) for value in (OURS["tree"], Inner(Colour.RED), Colour.RED))

    class Grown(BaseModel):
        leaves: dict[str, list[Leaf]]
        height: int

    @dataclass
    class Shrunk:
        size: int

    for name, changed, stored in (("Tree", Grown, tree), ("Inner", Shrunk, inner), ("Colour", Shade, red)):
        monkeypatch.setitem(globals(), name, changed)
        with pytest.raises(UntrustedDataError, match=f"{name} cannot be built.*moved or changed"):
            serde.loads_typed(stored)
    monkeypatch.delitem(globals(), "Tree")
    with pytest.raises(UntrustedDataError, match="moved or changed"):
        serde.loads_typed(tree)


# Encryption

KEY, OTHER = b"k" * 32, b"o" * 32
MARK = "Rosenblatt"


def stored_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def sealed(key: bytes, **options: Any) -> StrictEncryptedSerializer:
    return StrictEncryptedSerializer.with_key(key, **options)


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_nothing_of_the_state_can_be_read_in_the_file(sync: bool, tmp_path: Path) -> None:
    async def fill(folder: Path, **options: Any) -> bytes:
        async with opened(f"sqlite:///{folder / 'a.sqlite'}", sync, **options) as saver:
            made = checkpoint(small=MARK, large=MARK * 100)
            await put(saver, at("1"), made, {"note": MARK, "writes": {"a": MARK}})
            await saver.aput_writes(
                at("1", checkpoint_id=made["id"]), [("small", MARK), ("__error__", MARK)], "task"
            )
            graph = chatting(saver)
            await graph.ainvoke({"messages": [MARK], "number": 0}, at("2"))
            assert (await graph.aget_state(at("2"))).values["messages"][0] == MARK
            found = await saver.aget_tuple(at("1"))
            assert found is not None
            assert found.checkpoint["channel_values"] == {"small": MARK, "large": MARK * 100}
            return stored_in(folder)

    for name in ("sealed", "plain"):
        (tmp_path / name).mkdir()
    assert MARK.encode() not in await fill(tmp_path / "sealed", serde=sealed(KEY))
    assert MARK.encode() in await fill(tmp_path / "plain")


async def test_another_key_and_rows_without_encryption_are_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    async with opened(url, True, serde=sealed(KEY)) as saver:
        await put(saver, at("1"))
    async with opened(url, True, serde=sealed(OTHER)) as saver:
        with pytest.raises(UntrustedDataError, match="same key"):
            await saver.aget_tuple(at("1"))
    async with opened(url, True) as saver:
        with pytest.raises(UntrustedDataError, match="which is not read"):
            await saver.aget_tuple(at("1"))
        await put(saver, at("2"))
    async with opened(url, True, serde=sealed(KEY)) as saver:
        with pytest.raises(UntrustedDataError, match="not encrypted"):
            await saver.aget_tuple(at("2"))
        with pytest.raises(UntrustedDataError, match="not encrypted"):
            await listed(saver, None)


async def test_every_changed_byte_is_seen() -> None:
    serde = sealed(KEY)
    kind, payload = serde.dumps_typed({"a": 1})
    for place in range(len(payload)):
        changed = bytearray(payload)
        changed[place] ^= 1
        with pytest.raises(UntrustedDataError, match="cannot be decrypted"):
            serde.loads_typed((kind, bytes(changed)))
    for cut in (0, 5, 12, 20):
        with pytest.raises(UntrustedDataError, match="cannot be decrypted"):
            serde.loads_typed((kind, payload[:cut]))


def test_equal_values_look_unlike() -> None:
    serde = sealed(KEY)
    assert serde.dumps_typed("a")[1] != serde.dumps_typed("a")[1]


def test_types_are_strict_under_encryption_as_well(tmp_path: Path) -> None:
    serde = sealed(KEY)
    attack = ormsgpack.packb(attacks(tmp_path / "created")["os.system"])
    name, payload = serde.cipher.encrypt(b"msgpack\0" + attack)
    with pytest.raises(UntrustedDataError, match=r"os\.system"):
        serde.loads_typed((f"msgpack+{name}", payload))
    with pytest.raises(UntrustedDataError, match=r"allow=\[Inner\]"):
        serde.loads_typed(serde.dumps_typed(Inner(Colour.RED)))
    ours = sealed(KEY, serde=StrictSerializer([Inner]))
    assert ours.loads_typed(ours.dumps_typed(Inner(Colour.RED))) == Inner(Colour.RED)
    more = serde.with_msgpack_allowlist([Inner])
    assert more.loads_typed(serde.dumps_typed(Inner(Colour.RED))) == Inner(Colour.RED)


@pytest.mark.parametrize("key", [b"", b"short", b"k" * 33, "k" * 32])
def test_a_key_of_another_size_is_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="16, 24 or 32"):
        sealed(key)


def test_a_serializer_that_hands_out_nothing_of_another_thread(tmp_path: Path) -> None:
    """A hostile thread id is a key like any other."""
    url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    with SQLAlchemySaver.from_url(url) as saver:
        chatting(saver).invoke({"messages": ["mine"], "number": 0}, at("1"))
        for name in ("1' OR '1'='1", "%", "_", "1\0", "1 ", "*", '1"; DROP TABLE stellwerk_checkpoints; --'):
            assert saver.get_tuple(at(name)) is None
            assert list(saver.list(at(name))) == []
        with create_engine(url).connect() as connection:
            assert connection.execute(select(checkpoints.c.thread)).first() is not None


@pytest.mark.parametrize("claimed", ["null", "bytes", "bytearray", "msgpack"])
def test_the_kind_of_an_encrypted_value_cannot_be_changed(claimed: str) -> None:
    serde = sealed(KEY)
    for value in (b"plain bytes", {"a": 1}, None):
        kind, payload = serde.dumps_typed(value)
        inner, cipher = kind.split("+")
        if claimed == inner:
            assert serde.loads_typed((kind, payload)) == value
        else:
            with pytest.raises(UntrustedDataError, match="was not encrypted as that"):
                serde.loads_typed((f"{claimed}+{cipher}", payload))


class Outer:
    class Model(BaseModel):
        number: int


class Around(BaseModel):
    inner: Outer.Model


@pytest.mark.parametrize("allowed", [Outer.Model, Around])
def test_a_class_that_could_never_be_read_again_is_not_allowed(allowed: type) -> None:
    with pytest.raises(InputError, match=r"Outer\.Model is defined inside of another.*move it to the top"):
        StrictSerializer([allowed])
