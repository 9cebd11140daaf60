"""Missing entries in the loss of every system: whatever they hold, they are read as 0 and have no error."""

import pytest
import torch
from divid_models import VECTOR as DIVID_VECTOR
from divid_models import VIDEO as DIVID_VIDEO
from small_dbse import SETTINGS

from diffsda.baselines.dbse.authors import build
from diffsda.baselines.dbse.loss import squared_error
from diffsda.baselines.divid.loss import absolute_error
from diffsda.baselines.divid.model import DiViD
from diffsda.baselines.spyl.model import SPYL
from diffsda.baselines.spyl.settings import SPYLSettings
from diffsda.errors import InputError

WIDTHS = {"width": 4, "features": 8, "hidden": 6, "static": 4, "dynamic": 3}
SYSTEMS = {
    "dbse video": (lambda: build(SETTINGS["video"].replace(size=16)), (3, 3, 16, 16)),
    "dbse video, first frame apart": (lambda: build(SETTINGS["upsampling"].replace(size=16)), (3, 3, 16, 16)),
    "dbse audio": (lambda: build(SETTINGS["audio"]), (5, 9)),
    "spyl video": (lambda: SPYL(SPYLSettings(size=16, **WIDTHS)), (3, 3, 16, 16)),
    "spyl": (lambda: SPYL(SPYLSettings(kind="vector", channels=5, **WIDTHS)), (4, 5)),
    "divid video": (lambda: DiViD(DIVID_VIDEO), (3, 3, 8, 8)),
    "divid": (lambda: DiViD(DIVID_VECTOR), (4, 5)),
}
# The terms that compare clips, or the noise in them, entry by entry.
ENTRY_BY_ENTRY = {"sequence", "single", "reconstruction", "noise"}
each = pytest.mark.parametrize("name", SYSTEMS)


def case(name, randomise):
    """Return a system with random weights, clips, and a mask of a third of their entries."""
    make, shape = SYSTEMS[name]
    draw = torch.Generator().manual_seed(1)
    x = torch.rand(3, *shape, generator=draw)
    return randomise(make()).train(), x, torch.rand(x.shape, generator=draw).lt(1 / 3).float()


def loss(model, x, lengths=None, mask=None):
    """Return the terms of the loss, and the gradient of the total by parameter; the draws are always the same."""
    model.zero_grad()
    state = {k: v.clone() for k, v in model.named_buffers()}
    torch.manual_seed(5)  # dropout draws from torch's own
    terms = model.loss(x, lengths, torch.Generator().manual_seed(0), mask=mask)
    terms.total.backward()
    for k, v in model.named_buffers():
        v.copy_(state[k])
    return terms.to_dict(), {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}


@each
def test_what_missing_entries_hold_changes_nothing(name, randomise):
    model, x, mask = case(name, randomise)
    wanted, gradients = loss(model, torch.where(mask.bool(), 0.0, x), mask=mask)
    for filling in (7.0, float("nan")):
        given, others = loss(model, torch.where(mask.bool(), filling, x), mask=mask)
        assert given == wanted
        assert all(torch.equal(v, others[k]) for k, v in gradients.items())
    assert loss(model, x)[0] != wanted


@each
def test_a_mask_of_nothing_is_none(name, randomise):
    model, x, _ = case(name, randomise)
    (given, _), (wanted, _) = loss(model, x, mask=torch.zeros_like(x)), loss(model, x)
    assert given == pytest.approx(wanted, rel=1e-5)


@each
def test_where_all_is_missing_nothing_is_asked(name, randomise):
    model, x, _ = case(name, randomise)
    given, _ = loss(model, x, mask=torch.ones_like(x))
    asked = ENTRY_BY_ENTRY & set(given)
    assert asked
    assert {given[term] for term in asked} == {0.0}
    blank, _ = loss(model, torch.zeros_like(x))
    assert {t: v for t, v in given.items() if t not in (*asked, "loss")} == pytest.approx(
        {t: v for t, v in blank.items() if t not in (*asked, "loss")}
    )


@each
def test_only_what_is_missing_has_no_error(name, randomise):
    model, x, mask = case(name, randomise)
    x = torch.where(mask.bool(), 0.0, x)
    whole, _ = loss(model, x)
    # What the mask hides is 0 already, so that the encoder reads the same with and without it.
    part, _ = loss(model, x, mask=mask)
    for term in ENTRY_BY_ENTRY & set(whole):
        assert part[term] > 0, term
        if term != "noise":
            assert part[term] < whole[term], term


@each
def test_masks_and_lengths_together(name, randomise):
    model, x, mask = case(name, randomise)
    lengths = torch.tensor([x.shape[1], 2, x.shape[1]])
    x[1, 2:] = 9.0
    padded = mask.clone()
    padded[1, 2:] = 1 - padded[1, 2:]
    given, _ = loss(model, x, lengths, mask)
    wanted, _ = loss(model, x, lengths, padded)
    assert given == pytest.approx(wanted, rel=1e-5)
    assert given != pytest.approx(loss(model, x, lengths)[0], rel=1e-3)


@each
def test_masks_of_other_shapes_are_refused(name, randomise):
    model, x, mask = case(name, randomise)
    with pytest.raises(InputError, match="mask: got"):
        model.loss(x, mask=mask[:, :, :1])
    assert model.masks


def test_errors_by_hand():
    given, wanted = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.zeros(1, 2, 2)
    missing, real = torch.tensor([[[True, False], [False, False]]]), torch.tensor([[True, False]])
    assert float(squared_error(given, wanted, missing=missing)) == 4 + 9 + 16
    assert float(squared_error(given, wanted, real, missing)) == 4
    assert float(absolute_error(given, wanted, None, missing)) == 3
    assert float(absolute_error(given, wanted, real, missing)) == 2
    assert float(absolute_error(given, wanted[:, :1], None, missing)) == 3
    assert float(absolute_error(given, wanted, torch.zeros_like(real), missing)) == 0
