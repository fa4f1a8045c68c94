-- A user of the database who can read the extract and do nothing else.
CREATE ROLE silosynth_reader LOGIN PASSWORD 'PASSWORD' CONNECTION LIMIT 2;
ALTER ROLE silosynth_reader SET default_transaction_read_only = on;
GRANT USAGE ON SCHEMA research TO silosynth_reader;
GRANT SELECT ON research.stroke_2025 TO silosynth_reader;
