-- Digests, ids and hotkeys are text, so that the sqlite3 shell shows them as the API does. Times are Unix milliseconds.

CREATE TABLE cohorts (
  number       INTEGER PRIMARY KEY,
  status       TEXT    NOT NULL CHECK (status IN ('open', 'closed', 'seeded', 'settled')),
  opened_block INTEGER NOT NULL,
  closed_block INTEGER,          -- first block whose submissions are too late
  seed_block   INTEGER,          -- finalized block whose hash the seed comes from; NULL when the seed is fixed
  seed         TEXT,
  policy       INTEGER,          -- version of the policy that the whole cohort is measured and scored under
  policy_json  TEXT,             -- its numbers, so that a replay needs no other row
  settled_at   INTEGER
) STRICT;
CREATE UNIQUE INDEX one_open_cohort ON cohorts (status) WHERE status = 'open';

CREATE TABLE families (
  id         TEXT    PRIMARY KEY,
  name       TEXT    UNIQUE,     -- published names only
  submission TEXT    NOT NULL,   -- the first that brought it
  hotkey     TEXT    NOT NULL,
  material   TEXT    NOT NULL,   -- {name: digest} of its resolved graphs and their sources
  owner      TEXT,               -- hotkey of the first showing above the margin
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE submissions (
  id          TEXT    PRIMARY KEY,
  source      TEXT    NOT NULL,
  name        TEXT,
  hotkey      TEXT    NOT NULL,
  block       INTEGER NOT NULL,
  extrinsic   INTEGER NOT NULL,
  local       INTEGER NOT NULL CHECK (local IN (0, 1)),
  payload     TEXT    NOT NULL,
  archive     TEXT,
  bytes       INTEGER,
  status      TEXT    NOT NULL
              CHECK (status IN ('pending', 'running', 'completed', 'failed', 'rejected', 'held')),
  rule        TEXT,
  reason      TEXT,
  kind        TEXT,
  family      TEXT    REFERENCES families (id),
  material    TEXT,              -- {name: digest}; NULL until examined
  cohort      INTEGER NOT NULL REFERENCES cohorts (number),
  received_at INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL,
  CHECK ((rule IS NULL) = (reason IS NULL))
) STRICT;
CREATE INDEX submissions_by_status ON submissions (status, block, extrinsic);
CREATE INDEX submissions_by_cohort ON submissions (cohort, block, extrinsic);
CREATE INDEX submissions_by_hotkey ON submissions (hotkey);
CREATE INDEX submissions_by_family ON submissions (family);

CREATE TABLE findings (
  submission TEXT    NOT NULL REFERENCES submissions (id),
  reviewer   TEXT    NOT NULL,
  rule       TEXT    NOT NULL,
  grade      TEXT    NOT NULL,
  file       TEXT    NOT NULL,
  line       INTEGER NOT NULL,
  text       TEXT    NOT NULL
) STRICT;
CREATE INDEX findings_by_submission ON findings (submission);

CREATE TABLE cursors (
  source     TEXT    PRIMARY KEY,
  cursor     TEXT    NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE nonces (
  hotkey     TEXT    NOT NULL,
  nonce      TEXT    NOT NULL,
  keep_until INTEGER NOT NULL,
  PRIMARY KEY (hotkey, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_by_age ON nonces (keep_until);

-- What came over HTTP, in the order of acceptance. AUTOINCREMENT: an arrival number is never used again.
CREATE TABLE intake (
  arrival     INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT    NOT NULL UNIQUE,
  hotkey      TEXT    NOT NULL,
  name        TEXT,
  kind        TEXT    NOT NULL,
  archive     TEXT    NOT NULL,
  bytes       INTEGER NOT NULL,
  block       INTEGER NOT NULL,
  cohort      INTEGER,           -- the cohort open at acceptance: what the quota counts
  received_at INTEGER NOT NULL
) STRICT;
CREATE INDEX intake_by_quota ON intake (hotkey, cohort);

CREATE TABLE runs (
  task            TEXT    PRIMARY KEY,
  task_json       TEXT    NOT NULL,
  status          TEXT    NOT NULL CHECK (status IN ('pending', 'running', 'done', 'abandoned')),
  attempts        INTEGER NOT NULL DEFAULT 0,
  error           TEXT,          -- why the last attempt failed on this machine
  class           TEXT,          -- why the subject failed
  evidence        BLOB,          -- the very bytes that `digest` is the SHA-256 of
  digest          TEXT,
  started_at      INTEGER,
  ended_at        INTEGER,
  CHECK ((status = 'done') = (evidence IS NOT NULL)),
  CHECK ((evidence IS NULL) = (digest IS NULL))
) STRICT;
CREATE INDEX runs_by_status ON runs (status);

-- Who is measured in a cohort: its submissions, the published baselines and the title holders.
CREATE TABLE entrants (
  cohort     INTEGER NOT NULL REFERENCES cohorts (number),
  submission TEXT    NOT NULL,
  role       TEXT    NOT NULL CHECK (role IN ('candidate', 'baseline', 'incumbent')),
  kind       TEXT    NOT NULL,
  family     TEXT    NOT NULL,
  hotkey     TEXT    NOT NULL,
  block      INTEGER NOT NULL,
  extrinsic  INTEGER NOT NULL,
  local      INTEGER NOT NULL,
  material   TEXT    NOT NULL,
  PRIMARY KEY (cohort, submission)
) STRICT, WITHOUT ROWID;

CREATE TABLE entrant_runs (
  cohort     INTEGER NOT NULL,
  submission TEXT    NOT NULL,
  place      INTEGER NOT NULL,   -- in the order of the plan
  task       TEXT    NOT NULL REFERENCES runs (task),
  PRIMARY KEY (cohort, submission, place),
  UNIQUE (cohort, submission, task),
  FOREIGN KEY (cohort, submission) REFERENCES entrants (cohort, submission)
) STRICT, WITHOUT ROWID;
CREATE INDEX entrant_runs_by_task ON entrant_runs (task);

CREATE TABLE score_cards (
  cohort         INTEGER NOT NULL REFERENCES cohorts (number),
  submission     TEXT    NOT NULL,
  scorer         TEXT    NOT NULL,
  total          REAL,
  standard_error REAL,
  bits_per_byte  REAL,
  q_arch         REAL,
  q_recipe       REAL,
  eligible       INTEGER NOT NULL CHECK (eligible IN (0, 1)),
  card           TEXT    NOT NULL,
  PRIMARY KEY (cohort, submission)
) STRICT, WITHOUT ROWID;

CREATE TABLE showings (
  submission     TEXT    NOT NULL,
  track          TEXT    NOT NULL,
  hotkey         TEXT    NOT NULL,
  family         TEXT    NOT NULL,
  block          INTEGER NOT NULL,
  extrinsic      INTEGER NOT NULL,
  local          INTEGER NOT NULL,
  advantage      REAL    NOT NULL,
  standard_error REAL    NOT NULL,
  since          INTEGER NOT NULL,
  PRIMARY KEY (submission, track)
) STRICT, WITHOUT ROWID;

CREATE TABLE allocations (
  epoch      INTEGER PRIMARY KEY,
  block      INTEGER NOT NULL,
  policy     TEXT    NOT NULL,   -- name of the reward policy
  kind       TEXT    NOT NULL CHECK (kind IN ('pay', 'burn', 'keep_previous')),
  allocation TEXT    NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

-- One weight intent may need several signed extrinsics, one after the other: the next only when the last is void.
CREATE TABLE receipts (
  intent     TEXT    NOT NULL,
  attempt    INTEGER NOT NULL,
  epoch      INTEGER NOT NULL,
  stage      TEXT    NOT NULL,
  terminal   INTEGER NOT NULL CHECK (terminal IN (0, 1)),
  receipt    TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (intent, attempt)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_receipt_in_flight ON receipts (terminal) WHERE terminal = 0;

-- Numbers that an operator may set: insert a row, and the newest valid one is in force.
--   INSERT INTO policy (numbers, note) VALUES ('{"margin": 0.01}', 'wider margin');
CREATE TABLE policy (
  version    INTEGER PRIMARY KEY AUTOINCREMENT,
  numbers    TEXT    NOT NULL,
  note       TEXT,
  created_at INTEGER NOT NULL DEFAULT (unixepoch() * 1000)
) STRICT;
