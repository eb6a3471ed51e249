"""What KPIs write in the trail."""

ACTIONS = {
    "kpis.kpi.defined": "A KPI was defined",
    "kpis.kpi.changed": "A KPI's definition was changed",
    "kpis.measurements.recorded": "Measurements arrived",
    "kpis.baseline.frozen": "A baseline was frozen",
    "kpis.conversion.signed_off": "The money value of a KPI was signed off",
    "kpis.rate_card.set": "A rate card was set",
    "kpis.cost.recorded": "Running costs arrived",
}
