import numpy as np
import pytest
import torch

from datasets_scripts.rendering.eye import draw_eye
from datasets_scripts.rendering.fundus import render
from retinamatch.enhancement import local_normalize
from train.data.photometry import add_lesions, blur_each, compress, draw_patches, quantize, smear, through_small_file
from train.data.store import Photograph, find_corners
from train.data.view_settings import Sometimes, ViewSettings
from train.data.views import make_views, pixel_grid, project, sample_at


MILD = {"blur": 0.31, "light": 0.0, "contrast": (1.0, 1.0), "noise": 0.0, "lesions": 0, "compression": 0}


@pytest.fixture(scope="module")
def photographs():
    found = []
    for seed in (0, 1):
        photo = render(draw_eye(seed), 384, seed=0)
        mask = photo.mask.astype(np.uint8)
        image = torch.from_numpy(np.ascontiguousarray(photo.image.transpose(2, 0, 1)))
        labels = photo.keypoints.astype(np.float32)
        corners = find_corners(photo.image, mask)
        found.append(
            Photograph(torch.cat([image, torch.from_numpy(mask)[None]]), labels, corners, "rendered", str(seed))
        )
    return found


class TestWarp:
    def test_there_and_back(self, photographs):
        views = make_views(photographs, [(0, 0), (0, 1)], ViewSettings(size=128, bend=10, perspective=0.1))
        points = torch.rand(2, 200, 2) * 127
        assert torch.allclose(views.warp.to_first(views.warp.to_second(points)), points, atol=0.01)
        assert torch.allclose(views.warp.to_second(views.warp.to_first(points)), points, atol=0.01)

    def test_pixels_follow_the_points(self, photographs):
        """View 1, read where the warp says, equals view 0: without photometric changes they show the same retina."""
        views = make_views(photographs, [(5, 0), (5, 1)], ViewSettings(size=160, **MILD))
        grid = pixel_grid(160).expand(2, -1, -1)
        there = sample_at(torch.cat([views.images[1], views.masks[1]], 1), views.warp.to_second(grid))
        for i in range(2):
            both = (there[i, 1] > 0.99) & (views.masks[0][i].flatten() > 0)
            pair = torch.stack([views.images[0][i].flatten()[both], there[i, 0][both]])
            assert both.sum() > 3000 and torch.corrcoef(pair)[0, 1] > 0.8
            shifted = sample_at(views.images[1], views.warp.to_second(grid) + 6)[i, 0][both]
            assert torch.corrcoef(torch.stack([pair[0], shifted]))[0, 1] < torch.corrcoef(pair)[0, 1] - 0.2

    def test_view_0_lies_in_the_photograph_where_it_says(self, photographs):
        views = make_views(photographs[:1], [(7, 0)], ViewSettings(size=128, **MILD))
        source = torch.stack([photographs[0].mask])[None].float()
        seen = sample_at(source, project(views.to_photograph, pixel_grid(128)[None]))[0, 0] > 0.999
        assert torch.equal(seen, views.masks[0].flatten() > 0)


class TestRandomness:
    def test_a_pair_depends_on_its_key_alone(self, photographs):
        settings = ViewSettings(size=96, compression=0)  # quantization would blow rounding errors up
        together = make_views(photographs, [(1, 2, 3), (4, 5, 6)], settings)
        alone = make_views(photographs[1:], [(4, 5, 6)], settings)
        for k in (0, 1):
            assert torch.allclose(together.images[k][1], alone.images[k][0], atol=1e-4)
        assert torch.equal(together.warp.homography[1], alone.warp.homography[0])

    def test_other_keys_give_other_views(self, photographs):
        first, second = (make_views(photographs[:1], [(0, k)], ViewSettings(size=96)) for k in (0, 1))
        assert (first.images[0] - second.images[0]).abs().mean() > 0.01


class TestPhotometry:
    def test_blur_has_the_width_it_is_told(self):
        image = torch.zeros(2, 1, 65, 65)
        image[:, :, 32, 32] = 1
        blurred = blur_each(image, torch.tensor([1.0, 3.0]))
        axis = torch.arange(65) - 32.0
        variance = (blurred[:, 0].sum(1) * axis**2).sum(1)
        assert torch.allclose(variance, torch.tensor([1.0, 9.0]), atol=0.1)
        assert torch.allclose(blurred.sum((1, 2, 3)), torch.ones(2), atol=1e-4)

    def test_compression_grows_with_the_step(self):
        image = torch.rand(1, 1, 32, 32)
        errors = [(compress(image, torch.full((1, 1, 1, 1), s)) - image).abs().mean() for s in (0.0, 10.0, 60.0)]
        assert errors[0] < 1e-3 < errors[1] < errors[2]
        assert compress(image, torch.full((1, 1, 1, 1), 60.0)).mean() == pytest.approx(image.mean().item(), abs=0.01)

    def test_lesions_change_some_places_and_leave_the_rest(self):
        image = torch.full((1, 1, 128, 128), 0.5)
        draws = torch.rand(1, 4, 8, generator=torch.Generator().manual_seed(0))
        draws[:, 0, 7] = 1
        change = (add_lesions(image, draws) - image).abs()
        assert change.max() > 0.05 and (change < 1e-3).float().mean() > 0.5
        draws[:, 0, 7] = 0
        assert torch.equal(add_lesions(image, draws), image)


ALWAYS = {
    "channels": Sometimes(1.0),
    "haze": Sometimes(1.0, 0.5, 0.5),
    "occluders": Sometimes(1.0, 0.3, 0.3),
    "small_file": Sometimes(1.0, 2.0, 2.0),
    "reversed": Sometimes(1.0),
    "magnified": Sometimes(1.0, 1.5, 1.5),
    "moved": Sometimes(1.0, 8.0, 8.0),
    "overexposed": Sometimes(1.0, 4.0, 4.0),
    "few_grays": Sometimes(1.0, 12.0, 12.0),
}


class TestWideViews:
    @pytest.mark.parametrize("name", ALWAYS)
    def test_each_change_happens_when_asked_for_and_never_otherwise(self, photographs, name):
        keys, mild = [(2, 0), (2, 1)], {**MILD, "noise": 0.03}  # haze alone is undone by the normalization
        narrow = make_views(photographs, keys, ViewSettings(size=96, **mild))
        never = make_views(photographs, keys, ViewSettings(size=96, **mild, **{name: Sometimes(0.0, 0.5, 0.5)}))
        always = make_views(photographs, keys, ViewSettings(size=96, **mild, **{name: ALWAYS[name]}))
        for view in (0, 1):
            assert torch.equal(narrow.images[view], never.images[view])
        changed = [(a - b).abs().mean() > 1e-3 for a, b in zip(narrow.images, always.images)]
        assert all(changed) if name != "magnified" else any(changed)

    def test_a_share_of_the_views_changes(self):
        rng, settings = np.random.default_rng(0), Sometimes(0.3, 2.0, 4.0)
        drawn = [settings.draw(rng) for _ in range(1000)]
        strengths = [value for value in drawn if value is not None]
        assert 250 < len(strengths) < 350 and 2 <= min(strengths) < 2.2 and 3.8 < max(strengths) <= 4

    def test_one_view_shows_a_narrower_field(self, photographs):
        settings = ViewSettings(size=96, zoom=1.0, shear=0.0, perspective=0.0, magnified=Sometimes(1.0, 1.8, 1.8))
        keys = [(k, 0) for k in range(20)]
        linear = make_views(photographs[:1] * 20, keys, settings).warp.homography[:, :2, :2]
        zoom = torch.linalg.det(linear).sqrt()
        assert torch.allclose(torch.maximum(zoom, 1 / zoom), torch.tensor(1.8), atol=0.02)
        assert (zoom > 1).any() and (zoom < 1).any()

    def test_nothing_is_learned_under_an_occluder(self, photographs):
        keys, occluded = [(4, 0), (4, 1)], {"occluders": Sometimes(1.0, 0.4, 0.4)}
        plain, covered = (make_views(photographs, keys, ViewSettings(size=96, **extra)) for extra in ({}, occluded))
        share = [float(c.sum() / p.sum()) for c, p in zip(covered.masks, plain.masks)]
        assert all(0.3 < value < 0.9 for value in share)
        assert all((c <= p).all() for c, p in zip(covered.masks, plain.masks))

    @pytest.mark.parametrize("share", [0.1, 0.45])
    def test_patches_cover_what_they_should(self, share):
        noise = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 1, 7, 7)).astype(np.float32))
        patches = draw_patches(128, torch.tensor([share, share / 2]).view(2, 1, 1, 1), noise)
        assert patches.float().mean((1, 2, 3)).tolist() == pytest.approx([share, share / 2], abs=0.01)

    def test_what_a_view_undergoes_does_not_depend_on_its_batch(self, photographs):
        some = Sometimes(0.5, 0.2, 0.6)
        settings = ViewSettings(
            size=96,
            haze=some,
            reversed=some,
            occluders=some,
            channels=some,
            small_file=Sometimes(0.5, 1.2, 3.0),
            moved=Sometimes(0.5, 2.0, 12.0),
            overexposed=Sometimes(0.5, 1.2, 2.0),
            few_grays=Sometimes(0.5, 8.0, 20.0),
        )
        keys = [(7, k) for k in range(12)]
        together = make_views([photographs[0]] * 12, keys, settings)
        for k in (0, 5, 11):
            alone = make_views(photographs[:1], keys[k : k + 1], settings)
            for one, many in zip((*alone.images, *alone.masks), (*together.images, *together.masks), strict=True):
                torch.testing.assert_close(one[0], many[k], atol=1e-4, rtol=0)

    @pytest.mark.parametrize("degrees", [0, 30, 90, 145])
    def test_what_moved_is_smeared_along_a_line_and_not_across(self, degrees):
        image = torch.zeros(2, 1, 65, 65)
        image[:, :, 32, 32] = 1
        lengths, angle = torch.tensor([6.0, 18.0]), np.radians(degrees)
        streaks = smear(image, lengths[:, None, None], torch.full((2, 1, 1), angle, dtype=torch.float32))[:, 0]
        y, x = torch.meshgrid(torch.arange(65) - 32.0, torch.arange(65) - 32.0, indexing="ij")
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        torch.testing.assert_close(streaks.sum((1, 2)), torch.ones(2))
        spread = [(streaks * axis**2).sum((1, 2)).sqrt() for axis in (along, across)]
        torch.testing.assert_close(spread[0], lengths / 12**0.5, atol=0.3, rtol=0.05)  # of a line, evenly lit
        assert (spread[1] < 0.6).all()

    def test_an_exposure_clips_and_few_grays_are_few(self):
        image = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        rngs = [np.random.default_rng(k) for k in (0, 1)]
        bright = quantize(image.clone(), rngs, ViewSettings(overexposed=Sometimes(1.0, 2.0, 2.0)))
        torch.testing.assert_close(bright, (2 * image).clamp(0, 1))
        coarse = quantize(image.clone(), rngs, ViewSettings(few_grays=Sometimes(1.0, 5.0, 5.0)))
        assert len(coarse.unique()) == 5 and (coarse - image).abs().max() <= 0.125 + 1e-6
        torch.testing.assert_close(quantize(image + 0.5, rngs, ViewSettings()), (image + 0.5).clamp(0, 1))

    def test_a_small_file_loses_what_is_fine_and_keeps_what_is_coarse(self):
        axis = torch.linspace(0, 6.28, 96)
        coarse = (0.5 + 0.2 * torch.sin(2 * axis)).expand(1, 1, 96, 96)
        fine = 0.5 + 0.2 * torch.sin(40 * axis).expand(1, 1, 96, 96)
        step = torch.tensor([5.0])
        assert (through_small_file(coarse, 32, step) - coarse).abs().mean() < 0.03
        assert (through_small_file(fine, 32, step) - 0.5).abs().mean() < 0.05


class TestLocalNormalize:
    def test_light_and_contrast_disappear(self):
        torch.manual_seed(0)
        image = torch.rand(1, 1, 256, 256)
        ramp = torch.linspace(0.7, 1.3, 256)
        mask = torch.ones_like(image)
        plain, lit = local_normalize(image, mask), local_normalize(0.2 + 0.4 * image * ramp, mask)
        assert torch.corrcoef(torch.stack([plain.flatten(), lit.flatten()]))[0, 1] > 0.99

    def test_an_affine_change_of_gray_values_changes_nothing(self):
        image, mask = torch.rand(1, 1, 64, 96), torch.ones(1, 1, 64, 96)
        assert torch.allclose(local_normalize(image, mask), local_normalize(3 * image - 2, mask), atol=1e-3)

    def test_nothing_outside_and_nothing_from_outside(self):
        image = torch.rand(2, 1, 128, 128)
        mask = torch.zeros(2, 1, 128, 128)
        mask[..., 20:100, 30:110] = 1
        image[1] = torch.where(mask[1] > 0, image[0], torch.tensor(9.0))
        found = local_normalize(image, mask)
        assert (found[mask == 0] == 0).all() and torch.allclose(found[0], found[1], atol=1e-5)

    def test_an_empty_mask_and_a_flat_image_are_finite(self):
        assert (local_normalize(torch.rand(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)) == 0).all()
        assert torch.isfinite(local_normalize(torch.full((1, 1, 64, 64), 0.3), torch.ones(1, 1, 64, 64))).all()
