-- What the entrants of settled cohorts were measured as: digests among the artifacts, or why they could not be written.
CREATE TABLE manifests (
  cohort     INTEGER NOT NULL,
  submission TEXT    NOT NULL,
  family     TEXT    NOT NULL,
  manifest   TEXT,               -- NULL for a baseline, which has no score card
  graph      TEXT,
  metadata   TEXT,
  mermaid    TEXT,
  run_log    TEXT,
  error      TEXT,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (cohort, submission),
  CHECK ((error IS NULL) = (graph IS NOT NULL)),
  FOREIGN KEY (cohort, submission) REFERENCES entrants (cohort, submission)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifests_by_family ON manifests (family, cohort);
