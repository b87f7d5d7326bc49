-- Attempts that ended because the validator was asked to stop: neither the machine nor the run failed.
ALTER TABLE runs ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;

-- A claim asks for the newest of each; without these it would read all that was ever measured.
CREATE INDEX runs_by_last_turn ON runs (turn) WHERE turn IS NOT NULL;
CREATE INDEX runs_by_asked ON runs (asked) WHERE asked IS NOT NULL;

-- Published baselines have negative entries: the first that are read of each key, whenever they came.
UPDATE fingerprints SET entry = -entry WHERE hotkey IS NULL AND entry > 0;
UPDATE fingerprint_keys SET entry = -entry
  WHERE entry IN (SELECT -entry FROM fingerprints WHERE hotkey IS NULL);
