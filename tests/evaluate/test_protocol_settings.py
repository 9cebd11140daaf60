"""Settings of protocols: each has words, takes what it says, and is what the protocol's module makes of it."""

import re

import pytest

from diffsda.errors import InputError
from diffsda.evaluate import pairs
from diffsda.evaluate.heads import mortality, oil, static_class
from diffsda.evaluate.informativeness import TREES
from diffsda.evaluate.protocols import PROTOCOLS, classification, dci, eer, multifactor, prediction, speech_quality
from diffsda.evaluate.protocols.setting import KINDS, Setting

ALL = [(one.name, name) for one in PROTOCOLS.values() for name in one.settings]


@pytest.mark.parametrize(("of", "name"), ALL)
def test_every_setting_has_words(of, name):
    setting = PROTOCOLS[of].settings[name]
    assert len(setting.about.split()) > 2
    assert setting.usual
    line = setting.line(name)
    assert line.startswith(f"{name}: {setting.about} (")
    assert f"left out: {setting.usual}" in line
    for choice in setting.choices:
        assert choice in line
    if not setting.choices:
        assert KINDS[setting.kind] in line


@pytest.mark.parametrize(
    ("of", "name", "usual"),
    [
        ("swap-labels", "pairs", pairs.COUNT),
        ("swap-video", "pairs", pairs.COUNT),
        ("eer", "utterances", eer.MOST),
        ("speech-quality", "heard", speech_quality.HEARD),
        ("prediction", "outcome", prediction.DEATH),
        ("prediction", "target", prediction.OIL),
        ("prediction", "window", oil.WINDOW),
        ("prediction", "runs", prediction.RUNS),
        ("prediction", "passes", mortality.PASSES),
        ("prediction", "passes", oil.PASSES),
        ("classification", "runs", classification.RUNS),
        ("classification", "passes", static_class.PASSES),
        ("classification", "lr", static_class.LR),
        ("multifactor", "count", multifactor.COUNT),
        ("dci", "count", dci.COUNT),
        ("dci", "width", dci.WIDTH),
        ("dci", "trees", TREES),
    ],
)
def test_what_is_left_out_is_what_the_module_takes(of, name, usual):
    assert re.search(rf"\b{re.escape(str(usual))}\b", PROTOCOLS[of].settings[name].usual)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("whole", 1, 0),
        ("whole", 7, True),
        ("seed", 0, -1),
        ("number", 0.5, 0),
        ("truth", False, 0),
        ("table", {}, "a"),
        ("word", "a", ["a"]),
        ("words", ["a", "b"], 3),
    ],
)
def test_values_of_a_kind(kind, good, bad):
    setting = Setting(kind, "nothing", "what it is for")
    setting.check("it", good)
    with pytest.raises(InputError, match=f"setting it: got .*, expected {re.escape(KINDS[kind])}"):
        setting.check("it", bad)


def test_words_that_are_no_choice_are_refused():
    one, several = (Setting(kind, "a", "what it is for", ("a", "b")) for kind in ("word", "words"))
    one.check("it", "b")
    several.check("it", "a,b")
    several.check("it", ["b", "a"])
    for setting, bad in ((one, "c"), (several, "a,c"), (several, ["c"])):
        with pytest.raises(InputError, match="setting it: got 'c', expected a, b"):
            setting.check("it", bad)
