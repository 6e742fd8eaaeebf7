"""``soleclaim identity``: what is refused before anything is written, and what is told."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from soleclaim.cmd.identity import identity
from soleclaim.identity.fitting import is_kept_apart

ROW = "Zhangbei Manjing Wind Farm,wind,49.5,41.15,114.7,CN\n"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Two lists and labels."""
    headings = "id,name,technology,capacity_mw,latitude,longitude,country\n"
    texts = {
        "left": headings + "1," + ROW,
        "right": headings + "=2," + ROW,
        "labels": "left_id,right_id,label\n1,=2,same\n7,8,same\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return {name: str(tmp_path / f"{name}.csv") for name in texts}


@pytest.mark.parametrize("name", ["left", "right", "link"])
def test_a_file_that_is_read_is_never_written_to(files: dict[str, str], tmp_path: Path, name: str) -> None:
    os.symlink(files["left"], tmp_path / "link.csv")
    before = Path(files["left"]).read_text(), Path(files["right"]).read_text()
    found = CliRunner().invoke(
        identity, ["match", files["left"], files["right"], "--out", str(tmp_path / f"{name}.csv")]
    )
    assert found.exit_code == 2
    assert "is a file that is read" in found.stderr
    assert (Path(files["left"]).read_text(), Path(files["right"]).read_text()) == before


def test_a_picture_replaces_no_file_that_is_read(files: dict[str, str]) -> None:
    arguments = ["evaluate", files["left"], files["right"], "--labels", files["labels"], "--picture", files["labels"]]
    assert CliRunner().invoke(identity, arguments).exit_code == 2


def test_a_picture_of_no_known_kind_is_told_before_the_work(files: dict[str, str], tmp_path: Path) -> None:
    arguments = ["evaluate", files["left"], files["right"], "--labels", files["labels"], "--picture"]
    found = CliRunner().invoke(identity, [*arguments, str(tmp_path / "p.xyz")])
    assert found.exit_code == 2
    assert "must end in .png, .svg or .pdf" in found.stderr


def test_ids_are_written_as_they_are(files: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "decisions.csv"
    found = CliRunner().invoke(identity, ["match", files["left"], files["right"], "--out", str(out)])
    assert found.exit_code == 0, found.output
    assert out.read_text().splitlines()[1].startswith("1,=2,")


def test_labels_of_records_that_no_list_has_are_told(files: dict[str, str]) -> None:
    arguments = ["evaluate", files["left"], files["right"], "--labels", files["labels"], "--json"]
    found = CliRunner().invoke(identity, arguments)
    assert "1 of 2 labels name a record that its list does not have" in found.stderr
    document = json.loads(found.stdout)
    assert document["labels_of_unknown_records"] == 1
    assert document["recall"]["of"] == 1


@pytest.mark.parametrize("left_id", [f"plant-{number}" for number in range(6)])
def test_the_half_that_is_kept_apart_is_counted_alone(tmp_path: Path, left_id: str) -> None:
    header = "id,name,technology,capacity_mw\n"
    (tmp_path / "left.csv").write_text(f"{header}{left_id},Glens of Foudland,wind,26\n")
    (tmp_path / "right.csv").write_text(f"{header}9,Glens of Foudland Wind Farm,wind,26\n")
    (tmp_path / "labels.csv").write_text(f"left_id,right_id,label\n{left_id},9,same\n")
    left, right, labels = (str(tmp_path / f"{name}.csv") for name in ("left", "right", "labels"))
    for more, counted in (([], 1), (["--kept-apart"], int(is_kept_apart(left_id)))):
        found = CliRunner().invoke(identity, ["evaluate", left, right, "--labels", labels, "--json", *more])
        assert json.loads(found.stdout)["recall"]["of"] == counted, found.output
        assert not found.stderr


def test_a_column_can_be_left_out(tmp_path: Path) -> None:
    header = "id,name,technology,capacity_mw,latitude,longitude,country\n"
    (tmp_path / "left.csv").write_text(f"{header}1,Glens of Foudland,wind,26,57.4,-2.6,GB\n")
    (tmp_path / "right.csv").write_text(f"{header}2,Glens of Foudland,wind,5,57.4,-2.6,GB\n")
    left, right, out = (str(tmp_path / f"{name}.csv") for name in ("left", "right", "out"))
    joined = {}
    for more in ("", "right:capacity_mw=", "capacity_mw="):
        given = ["--map", more] if more else []
        found = CliRunner().invoke(identity, ["match", left, right, "--out", out, *given])
        joined[more] = found.stdout.split(" the same")[0]
    assert joined == {"": "0", "right:capacity_mw=": "1", "capacity_mw=": "1"}
    for wrong, told in (("id=", "every row needs an id"), ("capacity_mw", "write COLUMN=THEIRS")):
        found = CliRunner().invoke(identity, ["match", left, right, "--out", out, "--map", wrong])
        assert found.exit_code == 2
        assert told in found.stderr


def test_labels_with_a_cell_of_any_length_are_read_first_of_all_files(files: dict[str, str]) -> None:
    with Path(files["labels"]).open("a") as file:
        file.write("x" * 200_000 + ",1,same\n")
    arguments = ["evaluate", files["left"], files["right"], "--labels", files["labels"]]
    found = CliRunner().invoke(identity, arguments)
    assert found.exit_code == 0, found.output
