-- The order in which patients are recycled: `stable_at` as the last store set it, or the end of protection.
ALTER TABLE patient ADD COLUMN recycle_at INTEGER NOT NULL DEFAULT 0;
UPDATE patient SET recycle_at = coalesce(stable_at, last_update * 1000);
CREATE INDEX patient_recycling ON patient (recycle_at) WHERE deleted = 0 AND protected = 0;
