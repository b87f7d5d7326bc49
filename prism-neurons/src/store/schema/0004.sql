-- What later submissions are compared with: one row for each part of whatever was examined, published baselines included.
-- A million rows are read by the program alone: ids and digests are bytes here, lower(hex(submission)) is the text.
CREATE TABLE fingerprints (
  entry      INTEGER PRIMARY KEY,  -- in the order of record
  submission BLOB    NOT NULL,
  part       TEXT    NOT NULL CHECK (part IN ('architecture', 'hooks', 'recipe')),
  hotkey     BLOB,                 -- NULL for a published baseline, which is nobody's
  family     BLOB    NOT NULL,
  block      INTEGER NOT NULL,
  extrinsic  INTEGER NOT NULL,
  local      INTEGER NOT NULL CHECK (local IN (0, 1)),
  work       BLOB    NOT NULL,     -- digest of all that is run
  structure  BLOB    NOT NULL,     -- digest of the part
  sketch     BLOB,                 -- 128 minima of eight bits
  UNIQUE (submission, part)
) STRICT;

-- Under which keys an entry is found. A key keeps its oldest entries: precedence decides who copied.
CREATE TABLE fingerprint_keys (
  key   INTEGER NOT NULL,
  entry INTEGER NOT NULL,
  PRIMARY KEY (key, entry)
) STRICT, WITHOUT ROWID;

CREATE TABLE duplicate_reports (
  submission TEXT    PRIMARY KEY REFERENCES submissions (id),
  grade      TEXT    NOT NULL CHECK (grade IN ('borderline', 'near', 'structural', 'exact')),
  report     TEXT    NOT NULL,     -- duplicate_report.v1
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every hold and what became of it. Rows are never deleted: they are the record of who decided what.
CREATE TABLE holds (
  number     INTEGER PRIMARY KEY AUTOINCREMENT,
  submission TEXT    NOT NULL REFERENCES submissions (id),
  rule       TEXT    NOT NULL,
  reason     TEXT    NOT NULL,
  since      INTEGER NOT NULL,
  expires    INTEGER,              -- NULL: waits for what is missing, however long
  expiry     TEXT CHECK (expiry IN ('allow', 'attach', 'reject', 'examine')),
  attach     TEXT,                 -- the family that it resembles
  answer     TEXT CHECK (answer IN ('allow', 'attach', 'reject', 'examine')),
  family     TEXT,                 -- that it was attached to
  operator   TEXT,                 -- who answered; NULL: nobody did, and it expired or what was missing came
  note       TEXT,                 -- why
  ended_at   INTEGER,
  CHECK ((expires IS NULL) = (expiry IS NULL)),
  CHECK ((answer IS NULL) = (ended_at IS NULL)),
  CHECK ((family IS NOT NULL) = (answer IS 'attach'))
) STRICT;
CREATE UNIQUE INDEX one_open_hold ON holds (submission) WHERE answer IS NULL;
CREATE INDEX holds_by_submission ON holds (submission);
CREATE INDEX holds_by_expiry ON holds (expires) WHERE answer IS NULL;
INSERT INTO holds (submission, rule, reason, since)
  SELECT id, coalesce(rule, 'held'), coalesce(reason, 'held'), updated_at FROM submissions WHERE status = 'held';
