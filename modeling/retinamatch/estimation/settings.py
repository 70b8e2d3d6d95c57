"""The settings of the estimator and of its decision."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EstimationSettings:
    """Settings of the estimator and of its decision; lengths are in working pixels, 768 across the field of view.

    Lengths and weights were chosen by the mean AUC over all pairs of `fire_dev`, clean and degraded 1, 2 and 3, with
    RootSIFT; none is near the edge of what works. `evaluation/impostors.py` says where the thresholds of the decision
    come from.

    Attributes:
        minimum_matches: Fewer matches are not looked at.
        trials: Rotations of the eye tried on random pairs of matches.
        start_radius: Distance at which a match agrees with a rotation.
        search_radii: Of the guided search around the rotation, one round each.
        final_radii: Of the guided search around the quadratic transform, one round each.
        ratio: Of the guided search; see `guided_matches`.
        noise: Range of the standard deviation of a coordinate that the reweighting believes.
        prior_weight: The prior points, which hold the polynomial where no match lies, weigh as much as so many matches.
        refined_prior_weight: The same in the dense refinement, where matches are many and better than what the prior
            points rest on; and once these follow the matches, for matches of the least noise. It rises with the square
            of the noise.
        trusted_misfit: Where the rotation of the eye goes farther beside the matches, beyond their noise, the weight of
            the prior points falls with the square of that.
        refine_reaches: Half the side of the window of the dense refinement, one round each.
        wide_reaches: The same where there are too few keypoints, or where the refinement moved the transform far: a
            window may not have reached what it looked for.
        far_moved: Median distance by which it moves the moving keypoints then.
        lens_rounds: Guided searches around a cubic transform, at most, where one lens may distort more than the other.
        distorted: Error of a cubic transform in matches held out, as a fraction of that of a quadratic one, below which
            one does, and "auto" takes the cubic one. Pairs of `fire_dev` are above .96, with a distortion of 5 per cent
            drawn on one of them below .82.
        clearly_distorted: The same where fewer than `plenty` matches are located: those of two small files, which
            follow what their compression did, are at .84.
        minimum_similarity: Cosine of two descriptors below which the dense refinement has found nothing.
        inlier_radius: Distance at which a match agrees with the quadratic transform.
        minimum_agreeing: Least number of the given matches that agree.
        minimum_share: Least fraction of them among the given matches that lie in the overlap.
        minimum_excess: Least excess of the guided matches over what chance gives; see `decision.Evidence`.
        minimum_span: Least fraction of the fixed field of view that the guided matches span.
        minimum_alike: Least share of places at which the photographs look alike, where the keypoints pass.
        promising_alike: Share from which on it is worth refining a transform of which the keypoints do not pass.
        sufficient_alike: Share from which on the photographs are believed where the keypoints do not pass.
        sufficient_correlation: Least median of their correlations for that.
        minimum_cells: Least number of places for that.
        unseen_share: Where fewer places can be compared, least share of the given matches that agree, for them to be
            believed without.
        fixed_departure: A transform that departs from a shift of the picture by less, as a fraction of its width, may
            be that of a pattern that is fixed to the picture; see `fixed_pattern.py`.
        doubtful_departure: One that departs by less, where the keypoints do not pass, or are few.
        doubtful_agreeing: So few of the given matches agree under a pattern that lies anywhere.
        fixed_displacement: One that displaces the picture by less lies at the very same place.
        planar: One of matches that a plane explains with an error smaller than so many times that of the best class may
            be that of a pattern as well, however it lies.
        minimum_alike_in_hue: Least share of places at which the hues look alike then.
        bright: Skewness from which on what both photographs show is bright, as no vessel is.
        bright_in_hue: Least share of places at which the hues look alike where it lies in a plane.
        glaring: Skewness from which on it is not believed there, whatever its hue, but for copies.
        copied_share: Least fraction of the given matches that agree between copies of one photograph.
        doubtful_in_hue: Least share of them where the keypoints do not pass, below `fixed_departure`.
        same_place_in_hue: Least share of them at the very same place.
        most_foreign: What both photographs show must have the colors of a retina as well: the most that
            `SharedDetail.foreign_color` may say.
        bright_departure: In gray, what both photographs show must be dark below it, where the keypoints do not pass;
            elsewhere below `fixed_departure`.
        doubtless_agreeing: Elsewhere, so many of the given matches agree for no letters, and less of the hue must.
        doubtless_share: And such a fraction of them.
        many_in_hue: Least share of places at which the hues look alike then.
        copied_correlation: In gray, the least median of the correlations then: that of copies of one photograph.
        settling_rounds: Dense refinements, one after the other, where there are too few keypoints.
        plenty: Number of located matches from which on their scatter alone tells the precision.
        few_factor: Where there are too few keypoints, the error is so many times what the located matches tell, which
            agree on what is wrong too. Of 11 registrations of `fire_dev` by a network the median is below two; those by
            RootSIFT need more.
        test_displacement: Of the transform, to see how much of it a dense refinement keeps.
        roughly: Standard error of the transform over the overlap beyond which a registration is called a rough one.
        useless: Standard error beyond which a pair is refused where there are too few keypoints.
        scale_range: Of the local magnification, between photographs at working size.
        maximum_stretch: Largest quotient of the magnifications in two directions at one place.
    """

    minimum_matches: int = 6
    trials: int = 2000
    start_radius: float = 12.0
    search_radii: tuple[float, ...] = (8.0, 5.0)
    final_radii: tuple[float, ...] = (5.0, 4.0)
    ratio: float = 0.9
    noise: tuple[float, float] = (0.5, 2.0)
    prior_weight: float = 30.0
    refined_prior_weight: float = 8.0
    trusted_misfit: float = 0.7
    refine_reaches: tuple[float, ...] = (6.0, 4.0)
    wide_reaches: tuple[float, ...] = (12.0, 8.0, 6.0, 4.0)
    far_moved: float = 1.5
    lens_rounds: int = 4
    distorted: float = 0.9
    clearly_distorted: float = 0.7
    minimum_similarity: float = 0.5
    inlier_radius: float = 3.0
    minimum_agreeing: int = 10
    minimum_share: float = 0.12
    minimum_excess: float = 3.0
    minimum_span: float = 0.02
    minimum_alike: float = 0.38
    promising_alike: float = 0.25
    sufficient_alike: float = 0.45
    sufficient_correlation: float = 0.2
    minimum_cells: int = 16
    unseen_share: float = 0.5
    fixed_departure: float = 0.004
    doubtful_departure: float = 0.1
    doubtful_agreeing: int = 30
    fixed_displacement: float = 0.0015
    planar: float = 1.15
    minimum_alike_in_hue: float = 0.25
    bright: float = 0.4
    bright_in_hue: float = 0.6
    glaring: float = 1.0
    copied_share: float = 0.9
    doubtful_in_hue: float = 0.4
    same_place_in_hue: float = 0.6
    most_foreign: float = 1.0
    bright_departure: float = 0.01
    doubtless_agreeing: int = 40
    doubtless_share: float = 0.35
    many_in_hue: float = 0.22
    copied_correlation: float = 0.97
    settling_rounds: int = 3
    plenty: int = 350
    few_factor: float = 5.0
    test_displacement: float = 4.0
    roughly: float = 5.0
    useless: float = 40.0
    scale_range: tuple[float, float] = (0.5, 2.0)
    maximum_stretch: float = 2.0


__all__ = ["EstimationSettings"]
