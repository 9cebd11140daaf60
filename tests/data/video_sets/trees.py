"""Miniature downloads in each set's own form: real JPEG, PNG, GIF and MP4 files of a few pixels."""

import io
import json
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from diffsda.data.video.film import encode


def picture(number, width=48, height=40):
    """Return a smooth picture that tells its number: its blue is 8 times that."""
    y, x = np.mgrid[:height, :width]
    channels = (x * 255 // width, y * 255 // height, np.full((height, width), (8 * number) % 256))
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def jpeg(number, width=48, height=40, **options):
    """Return the bytes of a JPEG of that picture."""
    file = io.BytesIO()
    picture(number, width, height).save(file, "JPEG", **{"quality": 95, "subsampling": "4:2:0", **options})
    return file.getvalue()


def number_of(frame):
    """Return the number of a decoded frame, (H, W, 3) uint8 or (3, H, W) in [-1, 1]."""
    frame = np.asarray(frame)
    blue = frame[..., 2] if frame.shape[-1] == 3 else (frame[2] + 1) * 127.5
    return round(float(blue.mean()) / 8)


def frames(folder, numbers, name="img_{}.jpg", size=(48, 40), make=None):
    """Write a folder of frames, named after their numbers, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = folder / name.format(number)
        if make is not None:
            path.write_bytes(make(number))
        elif path.suffix == ".png":
            picture(number, *size).save(path)
        else:
            path.write_bytes(jpeg(number, *size))
    return folder


def video(path, count, size=(64, 64)):
    """Write a VP9 file of so many frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(path, [picture(n, *size) for n in range(count)], "vp9", size, Fraction(25))
    return path


def gif(path, count):
    """Write an animated GIF at ten frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = (picture(n) for n in range(count))
    first.save(path, save_all=True, append_images=rest, duration=100, loop=0)
    return path


def pickled(path, what):
    """Pickle something plain."""
    path.write_bytes(pickle.dumps(what))
    return path


def mug(root, train=3, test=2, people=("001", "006", "010"), length=16):
    """Write the authors' MUG: every person poses anger and surprise."""
    for part, count in (("train", train), ("test", test)):
        for person in people:
            for emotion in (0, 5):
                for take in range(count):
                    frames(root / f"mug_pre2_{part}/{emotion}/user{person}_take{take:03}_00", range(length), "{}.jpg")
    for person in (*people, "084"):
        (root / "MUG/subjects3" / person).mkdir(parents=True)
    return root


def voxceleb(root, speakers=("Abe_Vigoda", "Eva_Green", "Zoe_Saldana"), clips=2, length=12):
    """Write VoxCeleb1's face tracks: one video of each speaker."""
    for number, speaker in enumerate(speakers):
        for clip in range(1, clips + 1):
            folder = root / "VoxCeleb/unzippedIntervalFaces/data" / speaker / "1.6" / f"yt{number}" / str(clip)
            frames(folder, range(1, length + 1), "{:07}.jpg")
    return root


EMOTION = {"sep_flag": False, "labels": "happy"}
SEVERAL = {
    "sep_flag": True,
    "labels": [
        {"emotion": "neutral", "start_sec": 0, "end_sec": 1},
        {"emotion": "disgust", "start_sec": 1, "end_sec": 2},
    ],
}


def celebv_hq(root, clips=5, length=12, folder="35666"):
    """Write CelebV-HQ: an info file and videos; the last clip shows two emotions."""
    names = [f"-vid{n}_A_{n}" for n in range(clips)]
    about = {
        name: {
            "ytb_id": name[:-2],
            "attributes": {
                "appearance": [1, 0, n % 2],
                "action": [0, n % 2],
                "emotion": SEVERAL if n == clips - 1 else EMOTION,
            },
        }
        for n, name in enumerate(names)
    }
    top = Path(root) / "CelebV-HQ"
    for name in names:
        video(top / folder / f"{name}.mp4", length)
    words = {"appearance_mapping": ["Blurry", "Male", "Wavy Hair"], "action_mapping": ["blow", "close_eyes"]}
    (top / "celebvhq_info.json").write_text(json.dumps({"meta_info": words, "clips": about}), encoding="utf-8")
    return root


def indexed(folder, split):
    """Return the lines of an index."""
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
