"""Exposure and purpose, from which the risk tier follows; below it only by a signed exception. Raw SQL included.

The function usecases_tier_of holds the table of materiality.py; a test compares them pair by pair.
"""

import apps.core.clock
import apps.core.ids
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION usecases_tier_rank(tier varchar) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE tier WHEN 'minimal' THEN 0 WHEN 'limited' THEN 1 WHEN 'high' THEN 2 ELSE -1 END
$$;
CREATE FUNCTION usecases_tier_of(exposure varchar, purpose varchar) RETURNS varchar LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN product IS NULL THEN '' WHEN product >= 6 THEN 'high' WHEN product >= 3 THEN 'limited' ELSE 'minimal' END
    FROM (SELECT CASE exposure WHEN 'small' THEN 1 WHEN 'medium' THEN 2 WHEN 'large' THEN 3 END
               * CASE purpose WHEN 'informs' THEN 1 WHEN 'assists' THEN 2 WHEN 'decides' THEN 3 WHEN 'vital' THEN 6 END AS product) AS m
$$;

CREATE FUNCTION usecases_tier_follows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    rank integer := usecases_tier_rank(NEW.risk_tier);
    lowered boolean := TG_OP = 'UPDATE' AND OLD.stage <> 'proposal' AND rank < usecases_tier_rank(OLD.risk_tier);
BEGIN
    IF (lowered OR rank < usecases_tier_rank(usecases_tier_of(NEW.exposure, NEW.purpose))) AND NOT EXISTS (
        SELECT 1 FROM usecases_tierexception e WHERE e.usecase_id = NEW.id AND e.state = 'signed' AND e.tier = NEW.risk_tier
            AND e.exposure = NEW.exposure AND e.purpose = NEW.purpose) THEN
        RAISE EXCEPTION 'a lower risk tier takes an exception that a risk owner has signed' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER usecases_tier_follows BEFORE INSERT OR UPDATE OF risk_tier, exposure, purpose ON usecases_usecase
    FOR EACH ROW EXECUTE FUNCTION usecases_tier_follows();

CREATE FUNCTION usecases_tier_exception_goes_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'asked' THEN
            RAISE EXCEPTION 'a tier exception begins as asked for' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE'
       OR (OLD.id, OLD.created_at, OLD.usecase_id, OLD.exposure, OLD.purpose, OLD.from_tier, OLD.tier, OLD.reason, OLD.asked_by_id, OLD.asked_at)
          IS DISTINCT FROM
          (NEW.id, NEW.created_at, NEW.usecase_id, NEW.exposure, NEW.purpose, NEW.from_tier, NEW.tier, NEW.reason, NEW.asked_by_id, NEW.asked_at)
       OR (OLD.state, NEW.state) NOT IN (('asked', 'signed'), ('asked', 'refused'), ('asked', 'ended'), ('signed', 'ended'))
       OR (OLD.state = 'signed' AND (OLD.signer_id, OLD.printed_name, OLD.method, OLD.comment, OLD.signed_at)
          IS DISTINCT FROM (NEW.signer_id, NEW.printed_name, NEW.method, NEW.comment, NEW.signed_at)) THEN
        RAISE EXCEPTION 'a tier exception is answered once and ended once' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'signed' AND NEW.signer_id = NEW.asked_by_id THEN
        RAISE EXCEPTION 'who asks for a lower tier does not sign it' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER usecases_tier_exception_goes_on BEFORE INSERT OR UPDATE OR DELETE ON usecases_tierexception
    FOR EACH ROW EXECUTE FUNCTION usecases_tier_exception_goes_on();

-- At commit: a tier below what follows still rests on a signed exception (one may replace another before).
CREATE FUNCTION usecases_tier_still_rests() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM usecases_usecase u WHERE u.id = NEW.usecase_id
            AND usecases_tier_rank(u.risk_tier) < usecases_tier_rank(usecases_tier_of(u.exposure, u.purpose))
            AND NOT EXISTS (SELECT 1 FROM usecases_tierexception e WHERE e.usecase_id = u.id AND e.state = 'signed' AND e.tier = u.risk_tier)) THEN
        RAISE EXCEPTION 'the risk tier rests on this exception: raise it first' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER usecases_tier_still_rests AFTER UPDATE ON usecases_tierexception DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION usecases_tier_still_rests();
"""
BACKWARD = """
DROP TRIGGER usecases_tier_still_rests ON usecases_tierexception;
DROP FUNCTION usecases_tier_still_rests();
DROP TRIGGER usecases_tier_exception_goes_on ON usecases_tierexception;
DROP FUNCTION usecases_tier_exception_goes_on();
DROP TRIGGER usecases_tier_follows ON usecases_usecase;
DROP FUNCTION usecases_tier_follows();
DROP FUNCTION usecases_tier_of(varchar, varchar);
DROP FUNCTION usecases_tier_rank(varchar);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("usecases", "0005_phases_open_by_decision"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="TierException",
            fields=[
                ("id", models.UUIDField(default=apps.core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(default=apps.core.clock.now, editable=False)),
                ("exposure", models.CharField(choices=[("small", "Small"), ("medium", "Medium"), ("large", "Large")], max_length=20)),
                (
                    "purpose",
                    models.CharField(
                        choices=[("informs", "Informs"), ("assists", "Assists"), ("decides", "Decides"), ("vital", "Vital")], max_length=20
                    ),
                ),
                ("from_tier", models.CharField(choices=[("minimal", "Minimal"), ("limited", "Limited"), ("high", "High")], max_length=20)),
                ("tier", models.CharField(choices=[("minimal", "Minimal"), ("limited", "Limited"), ("high", "High")], max_length=20)),
                ("reason", models.TextField()),
                (
                    "state",
                    models.CharField(
                        choices=[("asked", "Asked"), ("signed", "Signed"), ("refused", "Refused"), ("ended", "Ended")],
                        default="asked",
                        max_length=20,
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                ("printed_name", models.CharField(blank=True, default="", max_length=200)),
                ("method", models.CharField(blank=True, default="", max_length=50)),
                ("comment", models.TextField(blank=True, default="")),
                ("signed_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("end_reason", models.TextField(blank=True, default="")),
            ],
        ),
        migrations.AddField(
            model_name="usecase",
            name="exposure",
            field=models.CharField(
                blank=True, choices=[("small", "Small"), ("medium", "Medium"), ("large", "Large")], db_default="", default="", max_length=20
            ),
        ),
        migrations.AddField(
            model_name="usecase",
            name="purpose",
            field=models.CharField(
                blank=True,
                choices=[("informs", "Informs"), ("assists", "Assists"), ("decides", "Decides"), ("vital", "Vital")],
                db_default="",
                default="",
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="usecase",
            constraint=models.CheckConstraint(
                condition=models.Q(("exposure__in", ["", "small", "medium", "large"])), name="usecases_known_exposure"
            ),
        ),
        migrations.AddConstraint(
            model_name="usecase",
            constraint=models.CheckConstraint(
                condition=models.Q(("purpose__in", ["", "informs", "assists", "decides", "vital"])), name="usecases_known_purpose"
            ),
        ),
        migrations.AddField(
            model_name="tierexception",
            name="asked_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="asked_tier_exceptions", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="tierexception",
            name="signer",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="signed_tier_exceptions", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="tierexception",
            name="usecase",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="tier_exceptions", to="usecases.usecase"),
        ),
        migrations.AddConstraint(
            model_name="tierexception",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "asked")), fields=("usecase",), name="usecases_one_tier_asked_at_a_time"
            ),
        ),
        migrations.AddConstraint(
            model_name="tierexception",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "signed")), fields=("usecase",), name="usecases_one_tier_exception_in_force"
            ),
        ),
        migrations.AddConstraint(
            model_name="tierexception",
            constraint=models.CheckConstraint(condition=models.Q(("reason", ""), _negated=True), name="usecases_tier_exception_has_reason"),
        ),
        migrations.AddConstraint(
            model_name="tierexception",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("signer", None), ("state", "asked")),
                    models.Q(models.Q(("state", "asked"), _negated=True), ("signed_at__isnull", False), ("signer__isnull", False)),
                    ("state", "ended"),
                    _connector="OR",
                ),
                name="usecases_tier_exception_is_signed",
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
