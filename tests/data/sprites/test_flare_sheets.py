"""Flare's files: what is in them is what is read, and what is wrong is named with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diffsda.data.sprites.sheets import Action, Cell, find_mod, read_order, read_sheet
from diffsda.errors import InputError

SHEET = "animations/avatar/male/shirt.txt"


def test_a_sheet_is_read(flare):
    sheet = read_sheet(flare.mod, "male", "shirt")
    assert {name: (action.frames, action.kind) for name, action in sheet.actions.items()} == {
        "run": (8, "looped"),
        "swing": (4, "play_once"),
        "stance": (3, "back_forth"),
    }
    assert len(sheet.action("run").cells) == 64
    assert sheet.action("run").cells[0, 1] == Cell(16, 0, 10, 14, 1, 30)
    assert sheet.pixels()[""].shape[2] == 4


@pytest.mark.parametrize("inner", ["", "usr/share/games/flare/mods", "usr/share/games/flare/mods/fantasycore"])
def test_the_data_is_found_from_several_folders(flare, inner):
    assert find_mod(flare.tree / inner) == flare.mod


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no engine/hero_layers.txt"):
        find_mod(tmp_path)


def test_the_order_of_layers(flare):
    order = read_order(flare.mod)
    assert len(order) == 8
    assert order[0] == ("main", "feet", "legs", "hands", "chest", "head", "off")
    assert order[7][0] == "head"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("layer=3,main", "layer=3,main,main", r"hero_layers.txt:6: got layer=3,main,main"),
        ("layer=3,", "layer=8,", r"hero_layers.txt:6: got direction 8"),
        ("layer=3,", "layer=2,", r"has no layers for direction 3"),
        ("layer=3,", "colour=3,", r"hero_layers.txt:6: got colour="),
    ],
)
def test_a_wrong_order_is_refused(flare, old, new, words):
    path = flare.mod / "engine/hero_layers.txt"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=words):
        read_order(flare.mod)


def test_frames_over_time():
    assert Action("looped", 8).timeline(8) == list(range(8))
    assert Action("play_once", 4).timeline(8) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert Action("play_once", 6).timeline(8) == [0, 0, 1, 2, 3, 3, 4, 5]
    assert Action("back_forth", 4).timeline(8) == [0, 1, 2, 3, 3, 2, 1, 0]
    assert Action("looped", 1).timeline(8) == [0] * 8


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("frames=8", "frames=eight", r"shirt.txt:5: got 'eight', expected whole numbers"),
        ("frames=8", "frames=0", r"shirt.txt:5: got frames=0, expected 1 to 1000"),
        ("frames=8", "frames=7", r"\[run\] has frame 7, expected 7 frames"),
        ("type=looped", "type=round", r"shirt.txt:7: got type=round, expected one of looped"),
        ("type=looped", "", r"\[run\] has no type"),
        ("frame=0,0,0,0,10", "frame=0,0,-1,0,10", r"shirt.txt:8: got frame=0,0,-1"),
        ("frame=0,0,0,0,10", "frame=0,8,0,0,10", r"shirt.txt:8: got direction 8"),
        ("frame=0,0,0,0,10", "frame=0,0,0,10", r"shirt.txt:8: got 7 values"),
        ("frame=0,0,0,0,10", "frame 0,0,0,0,10", r"shirt.txt:8: got 'frame 0,0"),
        ("[swing]", "[run]", r"shirt.txt:\d+: has \[run\] a second time"),
        ("image=", "picture=", r"has no image, expected image="),
        ("image=images", "image=../../../images", r"shirt.txt:1: names the image .* outside"),
        (",30\n", ",30,other\n", r"names an image that is not there"),
    ],
)
def test_a_wrong_sheet_is_refused(flare, old, new, words):
    path = flare.mod / SHEET
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=words):
        read_sheet(flare.mod, "male", "shirt")


def test_images_with_keys(flare):
    path = flare.mod / SHEET
    image = "image=images/avatar/male/shirt.png"
    text = path.read_text().replace(image, f"{image},a\nimage=images/avatar/male/mail.png,b")
    path.write_text(text.replace(",30\n", ",30,b\n"))
    sheet = read_sheet(flare.mod, "male", "shirt")
    assert sheet.action("run").cells[0, 0].image == "b"
    assert set(sheet.pixels()) == {"a", "b"}


def test_wrong_images_are_refused(flare):
    image = flare.mod / "images/avatar/male/shirt.png"
    sheet = read_sheet(flare.mod, "male", "shirt")
    with Image.open(image) as whole:
        whole.crop((0, 0, 8, 8)).save(image)
    with pytest.raises(InputError, match=r"\[run\] frame 0, direction 0: reaches out of the image of 8x8"):
        sheet.pixels()
    image.write_bytes(image.read_bytes()[:40])
    with pytest.raises(InputError, match=r"shirt.png: cannot be read as an image"):
        sheet.pixels()
    image.unlink()
    with pytest.raises(InputError, match=r"shirt.png: no such file"):
        sheet.pixels()
    with pytest.raises(InputError, match=r"cape.txt: no such file"):
        read_sheet(flare.mod, "male", "cape")


@given(st.text(st.sampled_from("frames=,0123[]type loop\n#image.png-"), max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    mod = tmp_path_factory.mktemp("mod")
    path = mod / "animations/avatar/male/any.txt"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    try:
        sheet = read_sheet(mod, "male", "any")
    except InputError:
        return
    assert all(action.frames for action in sheet.actions.values())
