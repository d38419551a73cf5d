from hypothesis import given
from hypothesis import strategies as st

from stellwerk.report.charts import axis, parts
from stellwerk.report.drawing import BOX, draw
from stellwerk.report.records import SubtaskView


def subtask(name: str, *needs: str) -> SubtaskView:
    return SubtaskView(
        id=name,
        worker="make",
        status="accepted",
        tier="small",
        depends_on=list(needs),
        attempts=[],
        usd=None,
        seconds=0.0,
    )


def test_a_chain_is_as_wide_as_it_is_long_and_a_fan_as_tall() -> None:
    chain = draw([subtask("a"), subtask("b", "a"), subtask("c", "b")])
    fan = draw([subtask("a"), subtask("b"), subtask("c")])
    assert len({box.y for box in chain.boxes}) == 1
    assert [box.subtask.id for box in sorted(chain.boxes, key=lambda box: box.x)] == ["a", "b", "c"]
    assert len({box.x for box in fan.boxes}) == 1
    assert len(chain.lines) == 2
    assert fan.lines == []


def test_lines_do_not_cross_where_they_need_not() -> None:
    # In the order of the plan, a-d and b-c would cross.
    drawn = draw([subtask("a"), subtask("b"), subtask("c", "b"), subtask("d", "a")])
    rows = {box.subtask.id: box.y for box in drawn.boxes}
    assert (rows["a"] < rows["b"]) == (rows["d"] < rows["c"])


def test_what_is_needed_and_not_there_is_left_out() -> None:
    assert draw([subtask("a", "gone")]).lines == []


@given(st.lists(st.sets(st.integers(0, 11), max_size=3), max_size=12))
def test_what_is_needed_stands_left_and_nothing_overlaps(needs: list[set[int]]) -> None:
    plan = [subtask(f"s{n}", *(f"s{m}" for m in needed if m < n)) for n, needed in enumerate(needs)]
    drawn = draw(plan)
    places = {box.subtask.id: (box.x, box.y) for box in drawn.boxes}
    assert places.keys() == {one.id for one in plan}
    for one in plan:
        for need in one.depends_on:
            assert places[need][0] + BOX[0] < places[one.id][0]
    for name, (x, y) in places.items():
        assert 0 <= x <= drawn.width - BOX[0]
        assert 0 <= y <= drawn.height - BOX[1]
        for other, (x2, y2) in places.items():
            assert name == other or abs(x - x2) >= BOX[0] or abs(y - y2) >= BOX[1]


def test_a_bar_is_whole_and_in_the_order_of_the_ladder() -> None:
    made = parts({"large": 1, "small": 3, "none": 0}, ["small", "large"])
    assert [(part.name, part.x, part.width) for part in made] == [("small", 0.0, 75.0), ("large", 75.0, 25.0)]
    assert parts({}, []) == []


@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=5))
def test_an_axis_holds_its_values(values: list[float]) -> None:
    made = axis(values)
    assert all(-1 <= made.place(value) <= 101 for value in values)
    assert 2 <= len(made.ticks) <= 8


def test_an_axis_of_shares_ends_at_all_of_them() -> None:
    assert [tick.label for tick in axis([0, 1], percent=True).ticks] == [
        "0 %",
        "25 %",
        "50 %",
        "75 %",
        "100 %",
    ]
