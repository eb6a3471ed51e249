"""What the search box finds: a text vector PostgreSQL keeps beside each row, and indexes over it.

The columns are not Django's: it neither reads nor writes them. Parts of a name count as words of their own. pg_trgm is a trusted
extension, so the owner of the database may add it; without it the search for parts of names reads the names one by one.
"""

from django.db import migrations

# table -> what is searched, most telling first.
TABLES = {
    "registry_registeredmodel": ("name || ' ' || translate(name, '/._-', '    ')", "description || ' ' || tags::text"),
    "registry_modelversion": ("run_name || ' ' || flavor || ' ' || author", "description || ' ' || tags::text"),
    "registry_modelcard": (
        "intended_use",
        "out_of_scope || ' ' || limitations || ' ' || training_data || ' ' || evaluation || ' ' || explainability || ' ' || ethical"
        " || ' ' || hardware || ' ' || instructions || ' ' || owner_contact",
    ),
    "registry_dataset": ("name || ' ' || translate(name, '/._-', '    ') || ' ' || digest", "source"),
    "registry_governeddataset": ("name || ' ' || translate(name, '/._-', '    ')", "description || ' ' || permissions || ' ' || licence"),
    "registry_failuremode": ("title", "effect || ' ' || condition || ' ' || handling"),
}
MOST = 200_000


def _vector(first: str, rest: str) -> str:
    parts = ((first, "A"), (rest, "C"))
    return " || ".join(f"setweight(to_tsvector('simple'::regconfig, left({text}, {MOST})), '{weight}')" for text, weight in parts)


UP = "".join(
    f"ALTER TABLE {table} ADD COLUMN search tsvector GENERATED ALWAYS AS ({_vector(*texts)}) STORED;\n"
    f"CREATE INDEX {table}_search ON {table} USING gin (search);\n"
    for table, texts in TABLES.items()
) + """
DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX registry_registeredmodel_name_part ON registry_registeredmodel USING gin (upper(name) gin_trgm_ops);
    CREATE INDEX registry_dataset_name_part ON registry_dataset USING gin (upper(name) gin_trgm_ops);
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
    RAISE NOTICE 'pg_trgm is not available: parts of names are searched without an index';
END $$;
"""
DOWN = "".join(f"ALTER TABLE {table} DROP COLUMN search;\n" for table in TABLES) + (
    "DROP INDEX IF EXISTS registry_registeredmodel_name_part; DROP INDEX IF EXISTS registry_dataset_name_part;"
)


class Migration(migrations.Migration):
    dependencies = [("registry", "0011_kept_as_it_was")]

    operations = [migrations.RunSQL(UP, DOWN)]
