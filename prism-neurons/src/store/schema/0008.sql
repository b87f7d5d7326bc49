-- Attempts that ended because the validator was asked to stop: neither the machine nor the run failed.
ALTER TABLE runs ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
