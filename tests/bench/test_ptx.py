"""Reading PTX: every form of access, and the lines it belongs to."""

from __future__ import annotations

import pytest

from diffsda.bench import ptx
from diffsda.errors import InputError

HEAD = '.file 1 "/a/fused.py"\n\t.loc\t1 7 3 // fused.py:7:3\n'


@pytest.mark.parametrize(
    ("code", "kind", "size"),
    [
        ("ld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd1 + 0 ];", "load", 16),
        ("@%p1 ld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd1 + 0 ];", "load", 16),
        ("@!%p1 st.global.v2.b64 [ %rd2 + 0 ], { %rd9, %rd10 };", "store", 16),
        ("ld.global.L1::evict_last.v4.u32 {%r1, %r2, %r3, %r4}, [%rd1];", "load", 16),
        ("ld.global.nc.L1::no_allocate.L2::cache_hint.v2.f32 {%f1, %f2}, [%rd1], %rd7;", "load", 8),
        ("st.global.b16 [ %rd4 + 0 ], { %rs1 };", "store", 2),
        ("ld.global.b128 %rq1, [%rd1];", "load", 16),
        ("ld.global.v8.b32 {%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8}, [%rd1];", "load", 32),
        ("ld.volatile.global.s64 %rd3, [%rd1];", "load", 8),
        ("cp.async.cg.shared.global [ %r1 + 0 ], [ %rd1 + 0 ], 0x10, 0x10;", "load", 16),
        ("@%p2 cp.async.ca.shared.global [ %r1 + 0 ], [ %rd1 + 0 ], 4, 4;", "load", 4),
        (
            "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2}], [%r3];",
            "load",
            16,
        ),
        ("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd1, {%r2, %r3}], [%r4];", "store", 16),
    ],
)
def test_every_form_of_access_is_seen(code, kind, size):
    assert ptx.accesses(HEAD + "\t" + code) == [ptx.Access(kind, size, (("/a/fused.py", 7),))]


@pytest.mark.parametrize("code", ["ld.shared.v4.b32 {%r1}, [%r2];", "ld.param.b64 %rd1, [k];", "// ld.global.b32 x"])
def test_other_memory_is_not_counted(code):
    assert ptx.accesses(HEAD + code) == []


def test_an_inlined_access_belongs_to_its_line_and_to_the_calls():
    text = '.file 1 "/a/kernel.py"\n.file 2 "/b" "inner.py"\n'
    text += ".loc 2 4 16 // inner.py:4:16 @[ kernel.py:9:17 @[ kernel.py:30:2 ] ]\n"
    (access,) = ptx.accesses(text + "ld.global.b32 %r1, [%rd1];")
    assert access.lines == (("/b/inner.py", 4), ("kernel.py", 9), ("kernel.py", 30))


def test_ptx_without_lines_is_refused():
    with pytest.raises(InputError, match=r"no \.loc"):
        ptx.accesses("ld.global.b32 %r1, [%rd1];")


def test_a_mark_covers_its_whole_statement(tmp_path):
    source = tmp_path / "fused_x.py"
    loop = "for i in range(3):\n    a = load(\n        i,\n    )  # wide\n    b = 1\n"
    source.write_text(loop + "store(a)  # wide both ways\n# wideness\n")
    assert ptx.marked(str(source)) == {2, 3, 4, 6}


def test_a_mark_on_nothing_is_refused(tmp_path):
    source = tmp_path / "fused_y.py"
    source.write_text("for i in range(3):  # wide\n    a = 1\n")
    with pytest.raises(InputError, match=r"fused_y.py:1: .* on no statement"):
        ptx.marked(str(source))


def test_the_narrowest_marked_access_counts(tmp_path):
    source = tmp_path / "fused_z.py"
    source.write_text("x = load()  # wide\ny = load()\nstore()  # wide\n")
    there = (("/elsewhere/fused_z.py", 1),)
    found = [
        ptx.Access("load", 16, there),
        ptx.Access("load", 4, there),
        ptx.Access("load", 2, (("/elsewhere/fused_z.py", 2),)),
        ptx.Access("store", 16, (("/elsewhere/other.py", 9), ("fused_z.py", 3))),
    ]
    assert ptx.narrowest(found, [str(source)]) == (4, 16)
    assert ptx.narrowest(found[2:3], [str(source)]) == (None, None)
