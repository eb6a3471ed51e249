"""The sample story: care outreach at a health insurer. Words, people, money, thresholds.

Standard library only, so that any process may import it. The split rule and all thresholds were written
before anything was measured on the split (see demo/README.md, which also lists every change since).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

# --- The data and how it is split ---

DATASET: Final = "RAND Health Insurance Experiment, as shipped in statsmodels (statsmodels.datasets.randhie)"
DATASET_SOURCE: Final = "statsmodels.datasets.randhie"  # logged with each run
DATASET_LICENCE: Final = "public domain"

HIGH_USE_VISITS: Final = 6  # a member year with this many outpatient visits or more is high use
# Each member goes to one window with all of its years. "live" members are new when the programme reaches them.
WINDOW_PERCENT: Final[dict[str, int]] = {
    "train": 25,
    "validation": 12,
    "reference": 10,
    "control": 18,
    "live": 35,
}

SPLIT_RULE: Final = f"""
One row of the file is one member's one contract year. The file holds no member id, but its rows stand in
order: site after site, family after family, member after member, year after year. Neighbouring rows with the
same plan and the same entry questionnaire are one run. Members signed up for three or for five years, so a run
of 3 or 5 rows is one member and a run of 6 or 10 rows is two; any other run length is ambiguous and left out.
Members are numbered in the file's order. Each member goes, with all of its years, to one window by
sha256("member-<number>") modulo 100: the first {WINDOW_PERCENT["train"]} to train, then
{WINDOW_PERCENT["validation"]} to validation, {WINDOW_PERCENT["reference"]} to reference,
{WINDOW_PERCENT["control"]} to control and {WINDOW_PERCENT["live"]} to live.
The programme starts with renewing members: years 2 and later make the first four windows. It is then extended
to newly enrolled members: year 1 makes the live window. A new member has no visits with the insurer in the year
before; that is a fact, nothing is altered to make it. First years of the first four windows' members and later
years of the live window's members are not used. Rows inside a window are ordered by sha256 of their request id.
""".strip()

FEATURES: Final[tuple[str, ...]] = (
    "coinsurance_pct",
    "individual_deductible",
    "participation_incentive_usd",
    "log_max_expenditure",
    "physical_limitation",
    "chronic_conditions",
    "health_rating",
    "visits_last_year",
    "contract_years",
)
FEATURE_MEANING: Final[dict[str, str]] = {
    "coinsurance_pct": "share of the bill the member pays, percent (0, 25, 50, 95, 100)",
    "individual_deductible": "1 if the plan has an individual deductible",
    "participation_incentive_usd": "yearly participation incentive paid to the member, USD",
    "log_max_expenditure": "ln of the largest yearly spend the plan asks for; 0 with a deductible plan",
    "physical_limitation": "1 if the member has a physical limitation; a fraction where imputed",
    "chronic_conditions": "index of chronic diseases at entry",
    "health_rating": "self-rated health at entry: 0 excellent, 1 good, 2 fair, 3 poor",
    "visits_last_year": "outpatient visits recorded with us in the contract year before; 0 for a new member",
    "contract_years": "contract years completed with us; 0 for a new member",
}

# --- Money: what a wrong decision costs ---

MISS_USD: Final = 200.0  # a high-use year without outreach: care that a call would on average have avoided
FALSE_ALARM_USD: Final = 40.0  # a call to a member who did not need it: half an hour of a nurse
DECISIONS_PER_YEAR: Final = 30_000  # at 31,195 USD per 1,000 without any call: about 0.94 million USD at stake

BEFORE: Final = "No outreach: nobody is called at the start of the year."
RULE_OF_THUMB: Final = "Call every member who rates their health fair or poor or has a physical limitation."


def rule_of_thumb(features: dict[str, float]) -> int:
    """Decide one row by the simplest rule anyone would try, for comparison: 1 is call, 0 is leave alone."""
    return int(features["health_rating"] >= 2 or features["physical_limitation"] >= 0.5)


# --- Thresholds: set before measuring; README.md lists what was changed since ---


@dataclass(frozen=True)
class Thresholds:
    """Every bound the story is judged by. Shares are 0 to 1; money is USD; times are seconds."""

    psi_bound: float = 0.2  # a feature has drifted from here on (the customary "significant" mark)
    psi_bins: int = 10  # quantile bins of the reference
    min_window_rows: int = 400  # a smaller window is not judged
    drifted_feature_share: float = 0.2  # share of features beyond the bound that opens an incident (2 of 9)
    # How much dearer than the shadow version, per 1,000 decisions, a live version may be.
    cost_bound_usd_per_1k: float = 1_000.0
    cost_confidence: float = 0.95  # rollback fires when the lower end of this interval is above the bound
    min_labelled_pairs: int = 400  # rows that both versions answered and that have a label
    canary_share: float = 0.10
    canary_share_confidence: float = 0.999  # two-sided binomial interval of the observed share
    canary_min_requests: int = 500
    bake_seconds: int = 10  # the demo's; a day or more in earnest, and recorded in the evidence either way
    load_test_seconds: int = 6
    load_test_error_share: float = 0.0
    load_test_seed: int = 20_190
    load_test_tries: int = 4  # each run stays on record; the newest decides, and the evidence counts them all
    # The requirement (latency_p99_ms) is judged by the load test; the alert is for a service that people would call broken.
    alert_p99_ms: float = 2_000.0


THRESHOLDS: Final = Thresholds()
# How the story checks itself and how often it tries. The portal holds none of it, so it is not of the filed plan.
OF_THE_TELLING: Final = ("canary_share_confidence", "canary_min_requests", "load_test_tries")

# --- The use case ---

USE_CASE: Final[dict[str, str]] = {
    "name": "Care outreach",
    "problem": (
        "Some members need outpatient care six times a year or more. Those whom a nurse calls early need less "
        "acute care. Today nobody is called: the desk cannot call everyone, and does not know whom to call."
    ),
    "decision": "Whether the outreach desk calls a member at the start of the contract year.",
    "output_users": "Nurses of the outreach desk, through the desk's call list",
    "risk_tier": "limited",
    "exposure": "medium",  # DECISIONS_PER_YEAR: up to 100,000 decisions and up to 1,000,000 USD a year
    "purpose": "assists",
    "risk_reason": (
        "It puts a call list in order; a nurse decides each call and may skip any or add one. Nobody is refused anything by it: care, "
        "cover and price stay as they are for those who are not called. Medium exposure: 30,000 decisions and less than 1,000,000 USD a year."
    ),
}

NFRS: Final[dict[str, float]] = {
    "projected_load_rps": 10.0,
    "latency_p99_ms": 200.0,
    "availability_pct": 99.5,
    "freshness_hours": 24.0,
    "concurrent_users": 40.0,
}


@dataclass(frozen=True)
class Person:
    """A sample person. `function` is set for approvers only."""

    name: str
    email: str
    role: Literal["stakeholder", "approver", "ml_engineer", "auditor", "admin"]
    function: Literal["business", "risk", "security", ""] = ""


PEOPLE: Final[dict[str, Person]] = {
    "sponsor": Person("Amara Okafor", "sponsor@gatehouse.example", "stakeholder"),
    "owner": Person("Jonas Lindqvist", "business@gatehouse.example", "approver", "business"),
    "risk": Person("Mei Tanaka", "risk@gatehouse.example", "approver", "risk"),
    "security": Person("Rafael Duarte", "security@gatehouse.example", "approver", "security"),
    "engineer": Person("Elena Petrova", "engineer@gatehouse.example", "ml_engineer"),
    "auditor": Person("Tomasz Nowak", "auditor@gatehouse.example", "auditor"),
    "admin": Person("Ines Moreau", "admin@gatehouse.example", "admin"),
}

INTEGRATIONS: Final[tuple[dict[str, str], ...]] = (
    {
        "name": "Member register",
        "direction": "in",
        "owner": "Membership IT",
        "detail": "Plan terms and entry questionnaire, nightly",
    },
    {
        "name": "Claims store",
        "direction": "in",
        "owner": "Claims",
        "detail": "Visits of the contract year before",
    },
    {
        "name": "Outreach desk call list",
        "direction": "out",
        "owner": "Outreach desk",
        "detail": "Asks the endpoint once for each member at the start of the contract year",
    },
    {
        "name": "Visit feedback",
        "direction": "in",
        "owner": "Claims",
        "detail": "Labels: whether the year became a high-use year",
    },
)


@dataclass(frozen=True)
class Kpi:
    """One KPI. Floor and target are percentages of the frozen baseline, or figures where the baseline is 0.

    `lower_is_better` turns the comparison. The baseline is measured on the validation rows with nobody called;
    `has_baseline` is false where there is nothing to measure without the model.
    """

    key: str
    name: str
    kind: Literal["business", "quality", "technical", "adoption"]
    unit: str
    lower_is_better: bool
    floor_level: float
    target_level: float
    meaning: str
    has_baseline: bool = True
    source: str = "Measured: the validation rows as they were, nobody called"
    in_percent: bool = True

    def floor(self, baseline: float) -> float:
        """The value that must be kept, in the KPI's unit."""
        return baseline * self.floor_level / 100 if self.in_percent else self.floor_level

    def target(self, baseline: float) -> float:
        """The value that is aimed for, in the KPI's unit."""
        return baseline * self.target_level / 100 if self.in_percent else self.target_level


KPIS: Final[tuple[Kpi, ...]] = (
    Kpi(
        "cost_per_1k_usd",
        "Cost per 1,000 decisions",
        "business",
        "USD",
        True,
        100.0,
        80.0,
        f"({MISS_USD:.0f} USD a miss, {FALSE_ALARM_USD:.0f} USD a needless call) / decisions * 1,000",
    ),
    Kpi(
        "recall",
        "High-use members reached",
        "quality",
        "share",
        False,
        0.31,
        0.40,
        "Calls to members whose year became high use / all members whose year became high use",
        in_percent=False,
    ),
    Kpi(
        "contacted_share",
        "Members called",
        "adoption",
        "share",
        True,
        0.46,
        0.32,
        "Calls / decisions. The desk has nurses to call at most 46% of the members",
        in_percent=False,
    ),
    Kpi(
        "latency_p99_ms",
        "Answer time, p99",
        "technical",
        "ms",
        True,
        100.0,
        40.0,
        "99th percentile of the endpoint's answer time",
        has_baseline=False,
        source="Measured by the portal at the endpoint; without the model nothing is asked, so there is no baseline",
        in_percent=False,
    ),
)

ATTESTATIONS: Final[dict[str, tuple[str, ...]]] = {
    "poc": ("The problem, the decision and the people who use the output are described correctly.",),
    "pilot": (
        "The data may be used for this purpose; the privacy assessment is filed.",
        "A nurse sees each suggestion before a member is called and may set it aside.",
        "The outreach desk has been shown the call list and agrees to the pilot.",
    ),
    "production": (
        "The on-call rota covers the endpoint, and the people on it have rehearsed a rollback.",
        "The outreach desk has capacity for the calls expected at this stage.",
        "Members are told that a model helps to decide who is called.",
    ),
}

SIGNERS: Final[dict[str, tuple[str, ...]]] = {
    "poc": ("owner",),
    "pilot": ("owner", "risk"),
    "production": ("owner", "risk", "security"),
}

RATE_CARD: Final[dict[str, float]] = {
    "cpu_core_hour_usd": 0.048,
    "memory_gib_hour_usd": 0.006,
    "gpu_hour_usd": 2.50,
    "storage_gib_month_usd": 0.023,
}

MODEL_NAME: Final = "care-outreach"
MODEL_FEATURES_V1: Final[tuple[str, ...]] = (
    "coinsurance_pct",
    "individual_deductible",
    "physical_limitation",
    "chronic_conditions",
    "health_rating",
)
MODEL_CARD: Final[dict[str, str]] = {
    "intended_use": "Suggest which members the outreach desk calls at the start of a contract year.",
    "not_for": "Pricing, underwriting, refusing care, or any decision without a nurse.",
    "training_data": f"{DATASET}; renewal years, train window.",
    "limits": ("Observed 1974 to 1982 in the United States. Labels are visits, not need: members who could not pay went less."),
    "contact": PEOPLE["engineer"].email,
}
VERSION_NOTES: Final[dict[int, str]] = {
    1: "Scaled logistic regression on plan and entry questionnaire; needs no history.",
    2: "Gradient boosting on all features, with last year's visits. Trained on renewals only.",
}
