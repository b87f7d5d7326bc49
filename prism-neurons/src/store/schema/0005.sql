-- Policy by section: insert a row, and the newest of its section that is in effect and valid is in force.
--   INSERT INTO policy (section, value, note) VALUES ('reward_pools', '{"margin": 0.05}', 'wider margin');
ALTER TABLE policy RENAME TO policy_numbers;
CREATE TABLE policy (
  version         INTEGER PRIMARY KEY AUTOINCREMENT,
  section         TEXT    NOT NULL,
  value           TEXT    NOT NULL,   -- the keys that it replaces, as JSON
  note            TEXT,
  author          TEXT,
  effective_block INTEGER,            -- in effect from this block on; NULL for at once
  effective_at    INTEGER,            -- in effect from this time on; NULL for at once
  enabled         INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
  created_at      INTEGER NOT NULL DEFAULT (unixepoch() * 1000)
) STRICT;
CREATE INDEX policy_by_section ON policy (section, version);
-- A row of numbers set both of these sections at once. One that was refused for its names stays refused.
INSERT INTO policy (version, section, value, note, created_at)
  SELECT (SELECT max(version) FROM policy_numbers) + row_number() OVER (ORDER BY old.version, part.section),
         part.section,
         CASE WHEN NOT json_valid(old.numbers) THEN old.numbers
              WHEN json_type(old.numbers) <> 'object' THEN old.numbers
              WHEN EXISTS (SELECT 1 FROM json_each(old.numbers) AS n
                           WHERE substr(n.key, 1, 7) <> 'reward.' AND substr(n.key, 1, 6) <> 'score.')
                THEN old.numbers
              ELSE (SELECT json_group_object(substr(n.key, length(part.prefix) + 1), json(old.numbers -> n.fullkey))
                    FROM json_each(old.numbers) AS n WHERE substr(n.key, 1, length(part.prefix)) = part.prefix)
         END,
         old.note, old.created_at
  FROM policy_numbers AS old
  CROSS JOIN (SELECT 'reward_pools' AS section, 'reward.' AS prefix
              UNION ALL SELECT 'score_weights', 'score.') AS part;
DROP TABLE policy_numbers;

-- The whole policy that a cohort is measured, scored and paid under; NULL where only its numbers were kept.
ALTER TABLE cohorts ADD COLUMN policy_whole TEXT;

-- What an operator has to look at. It is over when what raised it is.
CREATE TABLE alarms (
  kind       TEXT    NOT NULL,
  subject    TEXT    NOT NULL,
  text       TEXT    NOT NULL,
  raised_at  INTEGER NOT NULL,
  seen_at    INTEGER NOT NULL,
  cleared_at INTEGER,
  PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

-- A running run is its owner's while the owner gives signs of life.
ALTER TABLE runs ADD COLUMN owner TEXT;
ALTER TABLE runs ADD COLUMN expires INTEGER;                       -- when it is another's, without a sign of life
ALTER TABLE runs ADD COLUMN not_before INTEGER;                    -- when it may be tried again
ALTER TABLE runs ADD COLUMN orphaned INTEGER NOT NULL DEFAULT 0;   -- attempts whose process ended
ALTER TABLE runs ADD COLUMN hotkey TEXT;                           -- on whose behalf it was claimed last
ALTER TABLE runs ADD COLUMN turn INTEGER;                          -- the order of claims
ALTER TABLE runs ADD COLUMN asked INTEGER;                         -- since which turn it waits for devices
CREATE INDEX runs_by_turn ON runs (hotkey, turn);

-- One row for each device that a running run has to itself.
CREATE TABLE device_leases (
  device   TEXT    PRIMARY KEY,
  target   TEXT    NOT NULL,
  task     TEXT    NOT NULL REFERENCES runs (task),
  owner    TEXT    NOT NULL,
  attempt  INTEGER NOT NULL,
  taken_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX device_leases_by_task ON device_leases (task);
