"""Anyone's CSV files: what is read, what is told, what is refused."""

from pathlib import Path

import pytest

from soleclaim.identity.lists import ListFault, read_capacity, read_degrees, read_labels, read_list
from soleclaim.identity.owners import owner_number, read_owners
from soleclaim.identity.places import NOWHERE, Place, Spot, distance_km, read_place


@pytest.mark.parametrize(
    ("text", "megawatts"),
    [("49.5", 49.5), ("49,5", 49.5), ("49,500 kW", 49.5), ("1 200 MW", 1200.0), ("1.2 GW", 1200.0), ("1,200.5", 1200.5),
     ("49.5MWp", 49.5), ("", None), ("0", None), ("-5", None), ("about 50", None), ("1e400", None), ("12.3.4", None)],
)  # fmt: skip
def test_capacities(text: str, megawatts: float | None) -> None:
    assert read_capacity(text) == (None if megawatts is None else pytest.approx(megawatts))


@pytest.mark.parametrize(
    ("text", "degrees"),
    [("42.82", 42.82), ("42.82 N", 42.82), ("E124.08", 124.08), ("42°49'12\"N", 42.82), ("12.5 S", -12.5),
     ("-12.5", -12.5), ("330428.15", 330428.15), ("", None), ("north", None)],
)  # fmt: skip
def test_degrees(text: str, degrees: float | None) -> None:
    assert read_degrees(text) == (None if degrees is None else pytest.approx(degrees))


def test_wrong_positions_are_guessed_at_and_said_to_be_guesses() -> None:
    assert read_place(117.33, 34.41, "CN") == Place((Spot(34.41, 117.33),), repaired=True)
    assert read_place(30.6, -114.4, "CN").spots == (Spot(30.6, 114.4),)
    glued = read_place(330428.15, 1075853.0, "CN")
    assert glued.repaired
    assert distance_km(glued, read_place(33.0745, 107.9814, "CN")) == pytest.approx(0, abs=0.1)
    assert read_place(2.1531, 100.6931, "CN") == Place((), repaired=True), "a lost digit cannot be guessed"
    assert read_place(None, 100.0, "CN") == read_place(0.0, 0.0, "CN") == NOWHERE


def test_numbers_of_owners_are_checked_and_meet() -> None:
    assert owner_number("uscc", "91110000600037341L") == owner_number("cn_org_code", "60003734-1") == "org:600037341"
    assert owner_number("uscc", "91110000600037341M") is None
    assert owner_number("lei", "213800KUD8LAJWSQ9D15") == "lei:213800KUD8LAJWSQ9D15"
    assert owner_number("lei", "213800KUD8LAJWSQ9D16") is None


def test_share_lists_are_read() -> None:
    owners = read_owners("华电云南发电有限公司[56%]; Huaneng Hydropower Co Ltd [11%]; other [14%]")
    assert [each.share for each in owners] == [56.0, 11.0]
    assert [each.han for each in owners] == ["华电云南发电", ""]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_unreadable_cells_are_unknown_and_told(tmp_path: Path) -> None:
    read = read_list(
        write(tmp_path / "a.csv", "id,name,capacity_mw,latitude,identifiers\n1,Foo,lots,up,cdm:x;cdm:12\n")
    )
    (row,) = read.rows
    assert (row.capacity_mw, row.latitude, row.identifiers) == (None, None, (("cdm", "12"),))
    assert [each.split(": ")[1].split(" ")[0] for each in read.remarks] == ["identifier", "capacity_mw", "latitude"]
    assert all(each.startswith("row 2: ") for each in read.remarks)


def test_columns_may_have_other_names_and_files_another_encoding(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "\ufeffref,title,mw\n7,麒麟寺水电站,111\n", "utf-16-le")
    (row,) = read_list(file, {"id": "ref", "name_local": "title", "capacity_mw": "mw"}).rows
    assert (row.id, row.name_local, row.capacity_mw) == ("7", "麒麟寺水电站", 111.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name\nFoo\n", "no column id"), ("id,name\n,Foo\n", "row 2 has no id"),
        ("id,name\n1,Foo\n1,Bar\n", "row 3: id 1 stands twice"), ("", "no column id"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ListFault, match=told):
        read_list(write(tmp_path / "a.csv", text))


def test_other_encodings_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ListFault, match="not a CSV file in UTF-8"):
        read_list(write(tmp_path / "a.csv", "id,name\n1,水电站\n", "gb18030"))


def test_labels_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ListFault, match="row 2: label must be"):
        read_labels(write(tmp_path / "l.csv", "left_id,right_id,label\n1,2,maybe\n"))
