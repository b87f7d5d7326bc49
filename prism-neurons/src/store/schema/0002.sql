-- A committed vector waits for its reveal while those of the next epochs follow: one extrinsic is on its way at a time, and
-- an epoch has one vector at a time.
DROP INDEX one_receipt_in_flight;
CREATE UNIQUE INDEX one_receipt_sending ON receipts (terminal)
  WHERE terminal = 0 AND stage NOT IN ('committed', 'revealed');
CREATE UNIQUE INDEX one_open_receipt_per_epoch ON receipts (epoch) WHERE terminal = 0;
