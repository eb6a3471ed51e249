"""Settings: composition only. Every deployment-specific value comes from the environment (see docker-compose.yml)."""

import importlib.util
import os
from pathlib import Path

from portal import env

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.text("GATEHOUSE_DATA", str(BASE_DIR / ".gatehouse")))

SECRET_KEY = env.text("GATEHOUSE_SECRET_KEY")
DEBUG = env.flag("GATEHOUSE_DEBUG")
DEMO = env.flag("GATEHOUSE_DEMO")
BASE_URL = env.text("GATEHOUSE_BASE_URL", "http://127.0.0.1:8000").rstrip("/")
GATEWAY_URL = env.text("GATEHOUSE_GATEWAY_URL", "http://127.0.0.1:8001").rstrip("/")
MLFLOW_URL = env.text("GATEHOUSE_MLFLOW_URL", "http://127.0.0.1:5000").rstrip("/")
# What the portal shows MLflow as a bearer token; empty where MLflow asks for none.
MLFLOW_TOKEN = env.text("GATEHOUSE_MLFLOW_TOKEN", "")
REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6379/0")
CAPTURE_DIR = Path(env.text("GATEHOUSE_CAPTURE_DIR", str(DATA_DIR / "captures")))
WITNESS_DIR = Path(env.text("GATEHOUSE_WITNESS_DIR", str(DATA_DIR / "witness")))
ORDER_KEY = env.text("GATEHOUSE_ORDER_KEY", "")
ORDER_PUBLIC_KEYS = env.text("GATEHOUSE_ORDER_PUBLIC_KEYS", str(DATA_DIR / "keys" / "order-public.json"))
SEAL_KEY = env.text("GATEHOUSE_SEAL_KEY", "")
SEAL_PUBLIC_KEY = env.text("GATEHOUSE_SEAL_PUBLIC_KEY", str(DATA_DIR / "keys" / "seal-public.json"))
SEAL_ORIGIN = env.text("GATEHOUSE_SEAL_ORIGIN", "gatehouse/audit")
SERVICE_HTTPS = BASE_URL.startswith("https://")

ALLOWED_HOSTS = [h for h in env.text("GATEHOUSE_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]").split(",") if h]
CSRF_TRUSTED_ORIGINS = [BASE_URL]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "django_htmx",
    "guardian",
    "apps.core",
    "apps.audit",
    "apps.outbox",
    "apps.accounts",
    "apps.notices",
    "apps.decisions",
    "apps.registry",
    "apps.usecases",
    "apps.kpis",
    "apps.deployments",
    "apps.loadtests",
    "apps.monitoring",
    "apps.approvals",
    "apps.dashboard",
]
# Those that change nothing, or nothing that people ask about.
NOTHING_OF_THEIR_OWN = ("apps.core", "apps.outbox", "apps.dashboard")
AUDIT_CATALOGUES = [f"{a}.audit_actions" for a in INSTALLED_APPS if a.startswith("apps.") and a not in NOTHING_OF_THEIR_OWN]

# Which use cases' events a person may read: the trail lies below use cases and asks by name.
AUDIT_USECASE_SCOPE = "apps.usecases.selectors.visible_ids"
# What an evidence pack holds beside the trail: composed by the app that may read all others.
AUDIT_PACK_CONTENTS = "apps.dashboard.selectors_pack.contents"
# The same for the registry: which models a person's use cases use.
REGISTRY_USECASE_SCOPE = "apps.usecases.selectors.registry_scope"
# In which functions a person signs for somebody who is away.
USECASE_DELEGATIONS = "apps.approvals.selectors.delegated_functions"
# Use cases ask which checks a rollout phase may name, and approvals, above them, gathers checks.
PHASE_CHECKS = "apps.approvals.checks.settled"
# Aliases that say what runs where, and the environment whose decision each follows; compared without case and compatibility forms.
PROTECTED_ALIASES = env.pairs("GATEHOUSE_PROTECTED_ALIASES", {"champion": "production", "production": "production"})
# Tags that begin so say what was decided: nobody sets them on a version without a live decision.
EVIDENCE_TAG_PREFIX = env.text("GATEHOUSE_EVIDENCE_TAG_PREFIX", "gatehouse.")

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.middleware.RequestIdMiddleware",
    "portal.middleware.ContentSecurityPolicyMiddleware",
    "portal.middleware.ShortWayMiddleware",
    "portal.middleware.RefuseNulMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.middleware.DomainErrorMiddleware",
]

if os.environ.get("GATEHOUSE_FAULT_FILE"):
    MIDDLEWARE.insert(0, "portal.faults.KillBeforeAnswer")  # fault tests only

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.frame",
            ],
            "builtins": ["django.contrib.humanize.templatetags.humanize", "apps.core.templatetags.gatehouse"],
        },
    }
]

DATABASES = {"default": env.database("DATABASE_URL")}
DATABASES["default"]["TEST"] = {"NAME": os.environ.get("GATEHOUSE_TEST_DB", "test_gatehouse")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "guardian.backends.ObjectPermissionBackend"]
GUARDIAN_RAISE_403 = False
ANONYMOUS_USER_NAME = None
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LOGIN_URL = "accounts:sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "accounts:sign-in"

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SERVICE_HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = "gatehouse_session"
SESSION_COOKIE_AGE = 12 * 3600
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SECURE_SSL_REDIRECT = SERVICE_HTTPS and env.flag("GATEHOUSE_SSL_REDIRECT", True)
SECURE_HSTS_SECONDS = int(env.number("GATEHOUSE_HSTS_SECONDS", 31536000 if SERVICE_HTTPS else 0))
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SERVICE_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
BEHIND_PROXY = env.flag("GATEHOUSE_BEHIND_PROXY")
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024

# Email: to the console until a server is named.
EMAIL_HOST = env.text("GATEHOUSE_EMAIL_HOST", "")
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'console'}.EmailBackend"
EMAIL_PORT = int(env.number("GATEHOUSE_EMAIL_PORT", 587))
EMAIL_HOST_USER = env.text("GATEHOUSE_EMAIL_USER", "")
EMAIL_HOST_PASSWORD = env.text("GATEHOUSE_EMAIL_PASSWORD", "")
EMAIL_USE_TLS = env.flag("GATEHOUSE_EMAIL_STARTTLS", True)
EMAIL_TIMEOUT = 15
DEFAULT_FROM_EMAIL = env.text("GATEHOUSE_EMAIL_FROM", "gatehouse@localhost")
# Receivers on this machine: only where the portal is tried out.
WEBHOOKS_TO_LOOPBACK = env.flag("GATEHOUSE_WEBHOOKS_TO_LOOPBACK", DEMO)

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
# Plotly's script comes from its installed package; nothing of a third party is committed.
_PLOTLY = importlib.util.find_spec("plotly")
STATICFILES_DIRS = [BASE_DIR / "static"]
if _PLOTLY and _PLOTLY.submodule_search_locations:
    STATICFILES_DIRS.append(("plotly", Path(_PLOTLY.submodule_search_locations[0]) / "package_data"))  # type: ignore[arg-type]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Files are served from where they lie; nothing collects them (so there is no STATIC_ROOT).
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# Nothing that comes out of Redis is ever unpickled: agents and gateways hold its password. So there is no shared cache.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.accounts.api.authentication.TokenAuthentication",
        "apps.accounts.api.authentication.BrowserSession",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["apps.accounts.api.permissions.SignedInWithScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "apps.core.api.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "apps.core.schema.Schema",
    "EXCEPTION_HANDLER": "apps.core.api.problem_details",
    "PAGE_SIZE": 50,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Gatehouse API",
    "DESCRIPTION": "Everything the pages do, for scripts: use cases, models, gates, deployments, KPIs, the trail.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["apps.accounts.api.permissions.SignedInWithScope"],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SCHEMA_PATH_PREFIX_TRIM": False,
    "PREPROCESSING_HOOKS": ["portal.urls.only_public_api"],
    "COMPONENT_SPLIT_REQUEST": True,
    # The same field name with another set of choices needs a name of its own in the schema.
    "ENUM_NAME_OVERRIDES": {
        "GateStateEnum": "apps.approvals.models.Gate.State",
        "RolloutStateEnum": "apps.deployments.models.Rollout.State",
        "OrderStateEnum": "apps.deployments.models.WorkOrder.State",
        "LoadRunStateEnum": "apps.loadtests.models.LoadRun.State",
        "WindowStateEnum": "apps.monitoring.models.MonitorWindow.State",
        "CheckStateEnum": ["pass", "fail", "missing"],
        "GateKindEnum": "apps.approvals.models.Gate.Kind",
        "TalkKindEnum": ["comment", "question"],
        "DecisionKindEnum": "apps.decisions.models.Decision.Kind",
        "DownloadKindEnum": "apps.audit.models.Download.Kind",
        "DownloadStateEnum": "apps.audit.models.Download.State",
        "MonitorKindEnum": "apps.monitoring.models.Monitor.Kind",
        "ShiftKindEnum": "apps.deployments.models.TrafficShift.Kind",
        "OrderKindEnum": ["start", "stop", "load_test"],
        "RehearsalKindEnum": ["shift", "restart"],
        "HostStateEnum": ["active", "retired"],
        "KpiDirectionEnum": "apps.kpis.models.Kpi.Direction",
        "IntegrationDirectionEnum": ["in", "out", "both"],
        "StageEnum": "apps.usecases.models.Stage",
        "RiskTierEnum": "apps.usecases.models.RiskTier",
        "TierExceptionStateEnum": "apps.usecases.models.TierException.State",
        "PhaseStateEnum": ["planned", "open", "closed", "ended"],
        "FailureStateEnum": "apps.registry.rules.failures.STATES",
        "FailureKindEnum": "apps.registry.rules.failures.KINDS",
        "FailureSeverityEnum": "apps.registry.rules.failures.SEVERITIES",
        "EvaluationKindEnum": "apps.registry.models.evaluations.EVALUATION_KINDS",
        "SensitivityEnum": "apps.registry.rules.datasets.SENSITIVITIES",
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "portal.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": env.text("GATEHOUSE_LOG_LEVEL", "INFO")},
    "loggers": {"django.server": {"level": "WARNING"}, "httpx": {"level": "WARNING"}},
}

# How long things may take. Seconds unless the name says otherwise.
ROLLOUT_BAKE_S = env.number("GATEHOUSE_ROLLOUT_BAKE_S", 600)
ORDER_VALIDITY_S = env.number("GATEHOUSE_ORDER_VALIDITY_S", 300)
HOST_STALE_AFTER_S = env.number("GATEHOUSE_HOST_STALE_AFTER_S", 20)
OUTBOX_CLAIM_S = env.number("GATEHOUSE_OUTBOX_CLAIM_S", 30)
RECONCILE_EVERY_S = env.number("GATEHOUSE_RECONCILE_EVERY_S", 5)
MONITOR_EVERY_S = env.number("GATEHOUSE_MONITOR_EVERY_S", 60)
SHADOW_KEEP_S = env.number("GATEHOUSE_SHADOW_KEEP_S", 86400)
# Days a use case is expected to stay in a stage, such as proposal=14,poc=60; what is not named keeps the portal's own.
STAGE_DAYS = env.days("GATEHOUSE_STAGE_DAYS")
NOTICES_EVERY_S = env.number("GATEHOUSE_NOTICES_EVERY_S", 10)
COST_EVERY_S = env.number("GATEHOUSE_COST_EVERY_S", 3600)
