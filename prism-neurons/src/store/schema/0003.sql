-- What the next attempt at a run goes on from: a digest among the artifacts.
ALTER TABLE runs ADD COLUMN checkpoint TEXT;
