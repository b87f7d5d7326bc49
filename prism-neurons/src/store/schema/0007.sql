-- What a showing rests on.
ALTER TABLE showings ADD COLUMN trials        INTEGER NOT NULL DEFAULT 1;  -- tries of hotkey and family at its first confirmation
ALTER TABLE showings ADD COLUMN confirmations INTEGER NOT NULL DEFAULT 1;  -- that the advantage is the mean of

-- What its operators make a family; NULL until somebody shows something of it, and for Python.
ALTER TABLE families ADD COLUMN class TEXT;

-- Who held what of each family after each cohort: who took the slot, and whose showing is the best of it.
CREATE TABLE slots (
  cohort         INTEGER NOT NULL REFERENCES cohorts (number),
  family         TEXT    NOT NULL,
  track          TEXT    NOT NULL,
  owner          TEXT    NOT NULL,
  submission     TEXT    NOT NULL,
  hotkey         TEXT    NOT NULL,
  advantage      REAL    NOT NULL,
  standard_error REAL    NOT NULL,
  confirmations  INTEGER NOT NULL,
  trials         INTEGER NOT NULL,
  PRIMARY KEY (cohort, family, track)
) STRICT, WITHOUT ROWID;

-- The newest settled cohort that an allocation rests on.
ALTER TABLE allocations ADD COLUMN cohort INTEGER REFERENCES cohorts (number);
UPDATE allocations SET cohort = (SELECT max(number) FROM cohorts WHERE settled_at <= allocations.created_at);

-- Settled cohorts whose weights anyone can read on the chain: what a board shows earlier, others copy instead of measuring.
CREATE VIEW published_cohorts AS
  SELECT number FROM cohorts WHERE status = 'settled' AND number <= (
    SELECT max(a.cohort) FROM allocations a JOIN receipts r ON r.epoch = a.epoch
    WHERE r.stage IN ('revealed', 'read_back'));
