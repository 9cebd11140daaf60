"""Settings of systems: plain data both ways, refused by name, published ones as the papers have them."""

import json

import pytest

from diffsda.baselines.dbse.authors import build
from diffsda.baselines.dbse.settings import PUBLISHED, DBSESettings, SeriesSettings, VideoSettings
from diffsda.errors import InputError


@pytest.mark.parametrize("name", PUBLISHED)
def test_there_and_back(name):
    settings = PUBLISHED[name].replace(as_published=True, slot="noise")
    plain = json.loads(json.dumps(settings.to_dict()))
    assert type(settings).from_dict(plain) == settings
    assert type(settings).from_dict({}) == type(settings)()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"static": 0}, "static: got 0, expected 1 to 65536"),
        ({"static": 70_000}, "static: got 70000"),
        ({"static": 4.0}, "static: got 4.0, expected a whole number"),
        ({"static": True}, "static: got True, expected a whole number"),
        ({"weight_sequence": -1.0}, "weight_sequence: got -1.0"),
        ({"weight_sequence": float("nan")}, "weight_sequence: got nan, expected a number"),
        ({"weight_sequence": 10**400}, "weight_sequence: got 1000"),
        ({"static": 10**400}, "static: got 1000"),
        ({"decoder": "conv"}, "decoder: got 'conv', expected one of transposed, upsampling"),
        ({"slot": "ones"}, "slot: got 'ones', expected one of zeros, noise or none"),
        ({"as_published": 1}, "as_published: got 1, expected true or false"),
        ({"annealing": -1}, "annealing: got -1"),
    ],
)
def test_unusable_values(change, said):
    with pytest.raises(InputError) as caught:
        VideoSettings.from_dict(change)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value)) < 200


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'statik'.*did you mean 'static'"):
        VideoSettings.from_dict({"statik": 3})
    with pytest.raises(InputError, match="got list"):
        SeriesSettings.from_dict([])


def test_the_slot_follows_what_is_published_unless_said():
    slots = [(p, s, VideoSettings(as_published=p, slot=s).noisy_slot) for p in (False, True) for s in (None, "zeros")]
    assert [noisy for _, _, noisy in slots] == [False, False, True, False]
    assert VideoSettings(slot="noise").noisy_slot


def test_settings_of_no_kind_build_nothing():
    with pytest.raises(InputError, match="expected those of video, audio or series"):
        build(DBSESettings())
