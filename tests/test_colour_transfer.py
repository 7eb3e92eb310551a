"""Colours of some images on another: Lab by known values, statistics by what they become."""

import pytest
import torch

from saddlepoint.evaluation.colour_transfer import from_lab, to_lab, transferred

#: sRGB in 8 bits and L*, a*, b* under D65, as tabled by B. Lindbloom's calculator (2 decimals).
KNOWN = {
    (255, 255, 255): (100.0, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
    (119, 119, 119): (50.03, 0.0, 0.0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
}


def images(*shape, seed=0, low=0.3, high=0.7):
    """Random ones, away from black and white unless said otherwise."""
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
    return (values * (high - low) + low) * 2 - 1


@pytest.mark.parametrize("rgb", KNOWN)
def test_lab_of_known_colours(rgb):
    image = torch.tensor(rgb).view(1, 3, 1, 1) / 127.5 - 1
    expected = torch.tensor(KNOWN[rgb], dtype=torch.float64)
    torch.testing.assert_close(to_lab(image).flatten(), expected, rtol=0, atol=0.05)


def test_lab_and_back():
    x = images(5, 3, 8, 8, low=0, high=1)
    torch.testing.assert_close(from_lab(to_lab(x)).float(), x, rtol=0, atol=1e-5)


def statistics(lab):
    """Of each channel over all other dimensions, (3, ...) to (3,) and (3,)."""
    return lab.mean(1), lab.std(1, unbiased=False)


def test_an_image_gets_mean_and_spread_of_its_examples():
    # A narrow range, so that no colour is cut off.
    x, examples = (
        images(2, 3, 8, 8, low=0.4, high=0.6),
        images(2, 4, 3, 8, 8, seed=1, low=0.45, high=0.6),
    )
    found = transferred(x, examples)
    for i in range(2):
        ours = statistics(to_lab(found[i : i + 1])[0].flatten(1))
        theirs = statistics(to_lab(examples[i]).transpose(0, 1).flatten(1))
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_an_image_is_its_own_example():
    x = images(3, 3, 8, 8)
    torch.testing.assert_close(transferred(x, x[:, None]), x, rtol=0, atol=1e-4)
    plain = torch.full((1, 3, 8, 8), 0.2)  # without any spread
    torch.testing.assert_close(transferred(plain, plain[:, None]), plain, rtol=0, atol=1e-4)


def test_only_hair_is_exchanged_for_hair():
    x, examples = images(2, 3, 8, 8), images(2, 2, 3, 8, 8, seed=1)
    inside, of_examples = torch.zeros(2, 1, 8, 8), torch.zeros(2, 2, 1, 8, 8)
    inside[:, :, :4] = 1
    of_examples[:, :, :, 2:] = 1
    found = transferred(x, examples, inside, of_examples)
    assert torch.equal(found[:, :, 4:], x[:, :, 4:])
    alone = transferred(x[:, :, :4], examples[:, :, :, 2:])
    torch.testing.assert_close(found[:, :, :4], alone)
    # Where no example has any hair, there is nothing to take.
    assert torch.equal(transferred(x, examples, inside, of_examples * 0), x)
