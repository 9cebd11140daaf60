"""Debian packages: downloaded by apt or taken from a folder, unpacked by dpkg-deb or without it."""

import hashlib
import io
import os
import shutil
import stat
import tarfile

import pytest

from diffsda.data.debian import Unpacked, fetch
from diffsda.errors import DiffSDAError, InputError

NAME = "pictures_1%3a2.0-1_all.deb"
FILES = {"./usr/share/pictures/a.txt": b"one", "./usr/share/doc/pictures/copyright": b"ours"}


def archive(files, how):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{how}") as tar:
        for name, held in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(held)
            tar.addfile(member, io.BytesIO(held))
        for name, kind in (("./usr/link", tarfile.SYMTYPE), ("./usr/pipe", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    return packed.getvalue()


def build(path, files=FILES, how="xz"):
    """Write a .deb file: an ar archive of a version, a control and a data member."""
    control = archive({"./control": b"Package: pictures\nVersion: 1:2.0-1\nArchitecture: all\n"}, "gz")
    data = archive(files, how)
    members = {"debian-binary": b"2.0\n", "control.tar.gz": control, f"data.tar.{how}": data}
    held = b"!<arch>\n"
    for name, body in members.items():
        held += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
    path.write_bytes(held)
    return path


def offer(deb):
    held = deb.read_bytes()
    return f"'http://example.org/{deb.name}' {deb.name} {len(held)} SHA256:{hashlib.sha256(held).hexdigest()}"


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """Put an apt-get on the path that answers as written into files; return a function that writes them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "apt-get"
    script.write_text(
        f"""#!/bin/sh
echo "$@" >> {folder}/calls
case "$1" in
--print-uris) cat {folder}/offer; cat {folder}/trouble >&2; exit $(cat {folder}/status);;
indextargets) cat {folder}/indexes;;
download) cat {folder}/failure >&2; test -s {folder}/failure && exit 100; cp {folder}/held "$(cat {folder}/file)";;
esac
"""
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def answer(deb=None, trouble="", indexes="", failure=""):
        for name, text in (("trouble", trouble), ("indexes", indexes), ("failure", failure), ("calls", "")):
            (folder / name).write_text(text)
        (folder / "offer").write_text(f"{offer(deb)}\n" if deb else "")
        (folder / "file").write_text(deb.name if deb else "")
        (folder / "status").write_text("0" if deb else "100")
        if deb:
            shutil.copy(deb, folder / "held")
        return folder

    return answer


@pytest.fixture
def deb(tmp_path):
    (tmp_path / "debs").mkdir()
    return build(tmp_path / "debs" / NAME)


def quiet(words):
    pass


def plain_files(tree):
    return {f"./{p.relative_to(tree).as_posix()}": p.read_bytes() for p in tree.rglob("*") if p.is_file()}


@pytest.mark.parametrize("program", ["with dpkg-deb", "without"])
@pytest.mark.parametrize("how", ["xz", "gz"])
def test_a_package_in_a_folder_is_unpacked(tmp_path, deb, monkeypatch, program, how):
    build(deb, how=how)
    if program == "without":
        monkeypatch.setenv("PATH", "")
    elif shutil.which("dpkg-deb") is None:
        pytest.skip("there is no dpkg-deb")
    got = fetch("pictures", tmp_path / "work", root=deb.parent, tell=quiet)
    assert (got.version, got.package, got.tree.parent) == ("1:2.0-1", "pictures", tmp_path / "work")
    assert len(got.sha256) == 64
    assert plain_files(got.tree) == FILES
    assert not (got.tree / "usr/link").is_symlink()
    assert not list((tmp_path / "work").glob(".*"))


def test_names_that_lead_out_are_left_out(tmp_path, deb, monkeypatch):
    monkeypatch.setenv("PATH", "")
    build(deb, {**FILES, "../outside": b"x", "/tmp/outside-of-it": b"x"})
    got = fetch("pictures", tmp_path / "work", root=deb.parent, tell=quiet)
    assert plain_files(got.tree) == FILES
    assert not (tmp_path / "work/outside").exists()


def test_a_tree_is_taken_as_it_is(tmp_path):
    tree = tmp_path / "trees/pictures"
    tree.mkdir(parents=True)
    assert fetch("pictures", tmp_path / "work", root=tree.parent, tell=quiet) == Unpacked(tree=tree, package="pictures")
    assert fetch("other", tmp_path / "work", root=tree.parent, tell=quiet).tree == tree.parent
    assert not (tmp_path / "work").exists()


def test_apt_downloads_once(tmp_path, deb, apt):
    calls = apt(deb) / "calls"
    said = []
    first = fetch("pictures", tmp_path / "work", tell=said.append)
    assert said == ["pictures: downloading 0.0 MB", f"pictures: unpacking {NAME}"]
    assert plain_files(first.tree) == FILES
    assert calls.read_text().count("\ndownload") == 1
    assert fetch("pictures", tmp_path / "work", tell=said.append) == first
    assert len(said) == 2
    # Cut off, as by a kill: it is downloaded again.
    (tmp_path / "work" / NAME).write_bytes(b"!<arch>")
    assert fetch("pictures", tmp_path / "work", tell=quiet) == first
    assert calls.read_text().count("\ndownload") == 2


def test_without_apt_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"apt-get: not found, expected a Debian or Ubuntu system; .* as --root"):
        fetch("pictures", tmp_path / "work", tell=quiet)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            {"trouble": "E: Unable to locate package pictures"},
            InputError,
            "has no index of packages yet; run `apt-get up",
        ),
        (
            {"trouble": "E: Unable to locate package pictures", "indexes": "/bin/sh"},
            InputError,
            "apt's index has no such package; run `apt-get update`",
        ),
        ({"trouble": "E: The list of sources could not be read."}, DiffSDAError, "failed .The list of sources"),
    ],
)
def test_what_apt_does_not_have(tmp_path, apt, answer, kind, words):
    apt(**answer)
    with pytest.raises(kind, match=words):
        fetch("pictures", tmp_path / "work", tell=quiet)


def test_no_network(tmp_path, deb, apt):
    apt(deb, failure="W: unsandboxed\nE: Failed to fetch http://example.org  Could not resolve 'example.org'\n")
    with pytest.raises(DiffSDAError, match=r"could not download it \(Failed to fetch .* Could not resolve") as error:
        fetch("pictures", tmp_path / "work", tell=quiet)
    assert error.value.exit_code == 1


def test_another_file_than_promised(tmp_path, deb, apt):
    folder = apt(deb)
    (folder / "held").write_bytes(b"something else")
    with pytest.raises(DiffSDAError, match=r"is not what apt's index promises \(SHA-256\)"):
        fetch("pictures", tmp_path / "work", tell=quiet)


@pytest.mark.parametrize("program", ["with dpkg-deb", "without"])
@pytest.mark.parametrize("damage", ["cut", "no ar", "no data", "zst"])
def test_a_damaged_package(tmp_path, deb, monkeypatch, program, damage):
    held = deb.read_bytes()
    if program == "without":
        monkeypatch.setenv("PATH", "")
    deb.write_bytes(
        {
            "cut": held[:-80],
            "no ar": b"PK" + held[2:],
            "no data": held[: held.index(b"data.tar.xz")],
            "zst": held.replace(b"data.tar.xz ", b"data.tar.zst"),
        }[damage]
    )
    with pytest.raises(DiffSDAError, match=r"cannot be unpacked \(|holds no files"):
        fetch("pictures", tmp_path / "work", root=deb.parent, tell=quiet)
    assert not any((tmp_path / "work").iterdir())


def test_two_versions_and_strange_names_are_refused(tmp_path, deb):
    build(deb.with_name("pictures_3.0_all.deb"))
    with pytest.raises(InputError, match=r"expected one version only"):
        fetch("pictures", tmp_path / "work", root=deb.parent, tell=quiet)
    with pytest.raises(InputError, match=r"package: got '--allow'"):
        fetch("--allow", tmp_path / "work", tell=quiet)
    with pytest.raises(InputError, match=r"--root: .* is no folder"):
        fetch("pictures", tmp_path / "work", root=tmp_path / "nowhere", tell=quiet)
