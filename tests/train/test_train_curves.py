"""200 steps in bf16 give the loss curve of float32, within what another seed would change."""

import pytest
from loss_curves import RECIPES, away, curves

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("name", RECIPES)
def test_bf16_stays_within_the_seed_spread_of_float32(tmp_path, name):
    recipe = RECIPES[name]
    plain = curves(recipe, tmp_path, precision="float32")
    assert (plain[:, 0] > 1.2 * plain[:, -1]).all(), "there was something to learn"
    assert away(curves(recipe, tmp_path, precision="bf16"), plain) < 1
    for factor in (3, 1 / 3):
        wrong = recipe.replace(optim={"lr": recipe.optim.lr * factor})
        assert away(curves(wrong, tmp_path, [0]), plain) > 1, "another learning rate is seen at once"
