-- The order of `sqlite/0007_recycling.sql`. Here `stable_at` keeps what the last store set; it is in no index (see 0001), but the period of
-- 2^18 ms into which it falls is, and changes rarely.
ALTER TABLE patient ADD COLUMN recycle_slot bigint GENERATED ALWAYS AS (stable_at >> 18) STORED;
CREATE INDEX patient_recycling ON patient (recycle_slot) WHERE deleted = 0 AND NOT protected;
