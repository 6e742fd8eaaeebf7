"""Anyone's CSV files: what is read, what is told, what is refused."""

from pathlib import Path

import pytest

from soleclaim.identity.lists import ListFault, read_capacity, read_degrees, read_labels, read_list
from soleclaim.identity.owners import owner_number, read_owners
from soleclaim.identity.places import NOWHERE, Place, Spot, distance_km, read_place
from soleclaim.identity.record import read_profile


@pytest.mark.parametrize(
    ("text", "megawatts"),
    [("49.5", 49.5), ("49,5", 49.5), ("49,500 kW", 49.5), ("1 200 MW", 1200.0), ("1.2 GW", 1200.0), ("1,200.5", 1200.5),
     ("49.5MWp", 49.5), ("", None), ("0", None), ("-5", None), ("about 50", None), ("1e400", None), ("12.3.4", None),
     ("500 W", 0.0005), ("1,500 W", 0.0015), ("500 kW DC", 0.5), ("2 MWe", 2.0), ("6 MWac", 6.0), ("500 hp", None),
     ("300 TW", None), ("10 t", None), ("5 MVA", None), ("7 x", None)],
)  # fmt: skip
def test_capacities(text: str, megawatts: float | None) -> None:
    assert read_capacity(text) == (None if megawatts is None else pytest.approx(megawatts))


@pytest.mark.parametrize(
    ("text", "degrees"),
    [("42.82", 42.82), ("42.82 N", 42.82), ("E124.08", 124.08), ("42°49'12\"N", 42.82), ("12.5 S", -12.5),
     ("-12.5", -12.5), ("330428.15", 330428.15), ("", None), ("north", None),
     ("-0°30'", -0.5), ("0°30'S", -0.5), ("42°99'", None), ("42°10'60\"", None), ("-181", None), ("181", None),
     ("1000", None), ("180", 180.0)],
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
        write(
            tmp_path / "a.csv",
            "id,name,capacity_mw,latitude,commissioning_year,identifiers\n1,Foo,lots,up,soon,cdm:x;cdm:12\n",
        )
    )
    (row,) = read.rows
    assert (row.capacity_mw, row.latitude, row.identifiers) == (None, None, (("cdm", "12"),))
    assert [each.split(": ")[1].split(" ")[0] for each in read.remarks] == [
        "commissioning_year", "identifier", "capacity_mw", "latitude",
    ]  # fmt: skip
    assert all(each.startswith("row 2: ") for each in read.remarks)
    assert read.remarks[2].endswith("write megawatts, or a number with W, kW, MW or GW")


def test_positions_that_cannot_be_are_told_and_put_no_plant_anywhere(tmp_path: Path) -> None:
    read = read_list(write(tmp_path / "a.csv", "id,latitude,longitude,country\n1,91,20,FR\n2,9,-181,FR\n3,9,20,FR\n"))
    assert [each[:15] for each in read.remarks] == ["row 2: latitude", "row 3: longitud"]
    assert [read_profile(each).place.spots for each in read.rows] == [(), (), (Spot(9.0, 20.0),)]


def test_columns_may_have_other_names_and_files_another_encoding(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "\ufeffref,title,mw\n7,麒麟寺水电站,111\n", "utf-16-le")
    (row,) = read_list(file, {"id": "ref", "name_local": "title", "capacity_mw": "mw"}).rows
    assert (row.id, row.name_local, row.capacity_mw) == ("7", "麒麟寺水电站", 111.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name\nFoo\n", "no column id; the file has name; tell which is meant, for example --map"),
        ("id;name\n1;Foo\n", "its cells must be parted by commas"), ("id,name\n,Foo\n", "row 2 has no id"),
        ("id,name\n1,Foo\n1,Bar\n", "row 3: id 1 stands twice"), ("", "no column id"),
        ('id,name\n1,Foo\n2,"open\n3,Bar\n', r"a\.csv: the row that starts in line 3 is not CSV"),
        ("id,name\n1,Foo, Bar\n", r"a\.csv: line 2 has 3 cells under 2 headings"),
        ("id,name,name\n1,Foo,Bar\n", r"a\.csv: line 1 has the heading name twice"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ListFault, match=told):
        read_list(write(tmp_path / "a.csv", text))


def test_headings_that_are_not_used_and_empty_cells_at_the_end_do_no_harm(tmp_path: Path) -> None:
    (row,) = read_list(write(tmp_path / "a.csv", "id,name,note,note,,\n\n1,Foo,a,b,,,,\n")).rows
    assert (row.id, row.name) == ("1", "Foo")


def test_other_encodings_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ListFault, match="not a CSV file in UTF-8 or UTF-16; in a spreadsheet program, save it as CSV UTF-8"
    ):
        read_list(write(tmp_path / "a.csv", "id,name\n1,水电站\n", "gb18030"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_labels_are_read_as_lists_are(tmp_path: Path, encoding: str) -> None:
    long = "x" * 200_000
    text = f"left_id,right_id,label\n1,2,same\n1,2,same\n{long},3,different\n"
    assert read_labels(write(tmp_path / "l.csv", text, encoding)) == {("1", "2"): "same", (long, "3"): "different"}


def test_a_pair_with_two_labels_is_refused_naming_both(tmp_path: Path) -> None:
    with pytest.raises(ListFault, match=r"l\.csv: rows 2 and 4: 1 and 2 are same in one and different in the other"):
        read_labels(write(tmp_path / "l.csv", "left_id,right_id,label\n1,2,same\n1,3,same\n1,2,different\n"))


def test_labels_in_no_known_encoding_are_refused_naming_the_file(tmp_path: Path) -> None:
    with pytest.raises(ListFault, match=r"l\.csv: not a CSV file in UTF-8"):
        read_labels(write(tmp_path / "l.csv", "left_id,right_id,label\n风,2,same\n", "gb18030"))


def test_labels_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ListFault, match="row 2: label must be"):
        read_labels(write(tmp_path / "l.csv", "left_id,right_id,label\n1,2,maybe\n"))
