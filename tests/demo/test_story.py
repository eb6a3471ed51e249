from apps.usecases import materiality
from demo import story


def test_the_windows_share_out_every_member() -> None:
    assert sum(story.WINDOW_PERCENT.values()) == 100


def test_every_feature_has_a_meaning_and_version_one_uses_only_known_ones() -> None:
    assert set(story.FEATURE_MEANING) == set(story.FEATURES)
    assert set(story.MODEL_FEATURES_V1) < set(story.FEATURES)


def test_the_tier_is_the_one_that_follows_from_exposure_and_purpose() -> None:
    used = story.USE_CASE
    assert materiality.tier_of(used["exposure"], used["purpose"]) == used["risk_tier"] == "limited"
    assert 1_000 < story.DECISIONS_PER_YEAR <= 100_000, "medium exposure, as docs/reference/risk-tiers.md has it"


def test_each_kpi_has_its_target_on_the_better_side_of_its_floor() -> None:
    assert 3 <= len(story.KPIS) <= 5
    for kpi in story.KPIS:
        if kpi.lower_is_better:
            assert kpi.target_level < kpi.floor_level
        else:
            assert kpi.target_level > kpi.floor_level


def test_every_signer_is_an_approver_and_the_requester_is_not_one_of_them() -> None:
    signers = {key for keys in story.SIGNERS.values() for key in keys}
    assert all(story.PEOPLE[key].role == "approver" and story.PEOPLE[key].function for key in signers)
    assert "engineer" not in signers
    assert len(story.SIGNERS["pilot"]) >= 2


def test_the_rule_of_thumb_calls_for_poor_health_or_a_limitation() -> None:
    well = dict.fromkeys(story.FEATURES, 0.0)
    assert story.rule_of_thumb(well) == 0
    assert story.rule_of_thumb({**well, "health_rating": 2.0}) == 1
    assert story.rule_of_thumb({**well, "physical_limitation": 1.0}) == 1
