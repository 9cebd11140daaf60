"""The spoken prompts and dialogue in Debian packages: which packages, whose voices, what is said, what is held out."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROMPTS = "usr/share/asterisk/sounds"
DIALOGUE = "usr/share/games/fillets-ng/sound"


@dataclass(frozen=True)
class Package:
    """A Debian package with recordings, and on what terms its copyright file gives them."""

    name: str
    by: str
    licence: str


@dataclass(frozen=True)
class Voice:
    """Somebody speaking one language in one package."""

    name: str
    package: str
    speaker: str
    """The person: two voices may be one."""
    language: str
    gender: str
    mark: str
    """The folder of the prompts, or the letter that the dialogue's files carry for who speaks."""


@dataclass(frozen=True)
class Recording:
    """One file: its prompt says which words it holds, over all voices."""

    path: Path
    voice: Voice
    prompt: str

    @property
    def key(self) -> str:
        """Name the recording among all others."""
        return f"{self.voice.name}/{self.prompt}"


PACKAGES = (
    Package("asterisk-core-sounds-en-wav", "Allison Smith", "CC-BY-SA-3.0"),
    Package("asterisk-core-sounds-es-wav", "Allison Smith", "CC-BY-SA-3.0"),
    Package("asterisk-core-sounds-fr-wav", "June Wallack", "CC-BY-SA-3.0"),
    Package("asterisk-core-sounds-it-wav", "Carlo Flora, translated by Silvia Petrin", "CC-BY-3.0"),
    Package("asterisk-prompt-it-menardi-wav", "Marco Menardi and Paola Dal Zot", "CC-BY-SA-3.0"),
    Package("asterisk-core-sounds-ru-wav", "Maxim Topal, www.ivrvoice.ru", "CC-BY-3.0"),
    Package("fillets-ng-data-cs", "the authors of Fish Fillets NG, ALTAR interactive", "GPL-2"),
    Package("fillets-ng-data-nl", "the authors of Fish Fillets NG, ALTAR interactive", "GPL-2"),
)
"""What is fetched, with who made it and the licence of the recordings, as the packages' copyright files say it."""

VOICES = (
    Voice("en_allison", "asterisk-core-sounds-en-wav", "allison", "en", "female", "en_US_f_Allison"),
    Voice("es_allison", "asterisk-core-sounds-es-wav", "allison", "es", "female", "es_MX_f_Allison"),
    Voice("fr_june", "asterisk-core-sounds-fr-wav", "june", "fr", "female", "fr_CA_f_June"),
    Voice("it_carlo", "asterisk-core-sounds-it-wav", "carlo", "it", "male", "it_IT_m_Carlo"),
    Voice("it_menardi", "asterisk-prompt-it-menardi-wav", "menardi", "it", "female", "it_IT_f_Menardi"),
    Voice("ru_ivrvoice", "asterisk-core-sounds-ru-wav", "ivrvoice", "ru", "female", "ru_RU_f_IvrvoiceRU"),
    Voice("cs_small_fish", "fillets-ng-data-cs", "cs_small_fish", "cs", "female", "m"),
    Voice("cs_big_fish", "fillets-ng-data-cs", "cs_big_fish", "cs", "male", "v"),
    Voice("nl_small_fish", "fillets-ng-data-nl", "nl_small_fish", "nl", "female", "m"),
    Voice("nl_big_fish", "fillets-ng-data-nl", "nl_big_fish", "nl", "male", "v"),
)
"""Ten voices of nine people. Sex as the prompts' folders and the game's roles say it; the fishes' pitch agrees."""

NO_SPEECH = frozenset(
    ("beep", "beeperr", "ascending-2tone", "descending-2tone", "confbridge-join", "confbridge-leave", "tt-monkeys")
)
"""Prompts that are tones, or monkeys, in every language; so is all in the folder silence."""
EMPTY = frozenset(
    ("ru_ivrvoice/asterisk/is", "nl_small_fish/fillets/elevator1/zd1-m-cesta", "nl_big_fish/fillets/gems/zav-v-sto")
)
"""Recordings that hold no samples in the packages as published (1.6.1-1 and 1.0.1-1.1)."""
SHARES = {"test": 0.2, "val": 0.1}
"""Shares of prompts held out, of all voices alike."""

_LINE = re.compile(r"[^-]+-(?P<mark>[a-z0-9]+)-.+")


def recordings(voice: Voice, tree: Path) -> list[Recording]:
    """Return a voice's recordings in the unpacked package, in the order of their prompts.

    A prompt is ``asterisk/<path below the voice's folder>``, or ``fillets/<level>/<file>``; neither has a suffix.
    """
    found = _prompts(voice, tree) if voice.package.startswith("asterisk") else _dialogue(voice, tree)
    return [Recording(found[prompt], voice, prompt) for prompt in sorted(found)]


def _prompts(voice: Voice, tree: Path) -> dict[str, Path]:
    folder = tree / PROMPTS / voice.mark
    paths = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.wav")}
    return {
        f"asterisk/{name}": path
        for name, path in paths.items()
        if name not in NO_SPEECH and not name.startswith("silence/")
    }


def _dialogue(voice: Voice, tree: Path) -> dict[str, Path]:
    folder = tree / DIALOGUE
    out = {}
    for path in folder.rglob(f"{voice.language}/*.ogg"):
        line = _LINE.fullmatch(path.stem)
        if line and line["mark"] == voice.mark:
            out[f"fillets/{path.parent.parent.relative_to(folder).as_posix()}/{path.stem}"] = path
    return out


def split_of(prompt: str) -> str:
    """Return the part a prompt belongs to: a hash of its name decides, whatever else there is.

    So a prompt is on one side for all voices, and stays there when a package is missing or gains prompts. Prompts that
    may well be the same words go together: the international alphabet that one voice speaks besides its own, and lines
    of a level that both fishes have.
    """
    place = int.from_bytes(hashlib.sha256(_family(prompt).encode()).digest()[:8], "big") / 2**64
    if place < SHARES["test"]:
        return "test"
    return "val" if place < SHARES["test"] + SHARES["val"] else "train"


def _family(prompt: str) -> str:
    kind, _, name = prompt.partition("/")
    if kind == "asterisk":
        return f"{kind}/{name.replace('phonetic/ICAO/', 'phonetic/')}"
    level, _, line = name.rpartition("/")
    return f"{kind}/{level}/{re.sub('-[mv]-', '-', line, count=1)}"


def summary(found: Mapping[str, list[Recording]]) -> str:
    """Say in a line how many recordings there are of whom, and how many prompts of each package's kind all share."""
    counts = Counter({name: len(ours) for name, ours in found.items()})
    prompts = {one.prompt for ours in found.values() for one in ours}
    return f"{counts.total()} recordings of {len(prompts)} prompts: " + ", ".join(f"{n} {c}" for n, c in counts.items())
