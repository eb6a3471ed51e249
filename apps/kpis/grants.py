"""What the application's database role may do here: nothing measured or frozen is ever deleted."""

GRANTS = {
    "kpis_measurement": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "kpis_baseline": {"gatehouse_app": ["SELECT", "INSERT", "UPDATE"]},
    "kpis_valueconversion": {"gatehouse_app": ["SELECT", "INSERT"]},
    "kpis_ratecard": {"gatehouse_app": ["SELECT", "INSERT"]},
    "kpis_costentry": {"gatehouse_app": ["SELECT", "INSERT"]},
}
