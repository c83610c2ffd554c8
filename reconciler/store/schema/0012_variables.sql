-- The digest of the variables that a task has pinned, to be compared with those of now; '' where it was queued before
-- this was recorded.
ALTER TABLE tasks ADD COLUMN variables {text} NOT NULL DEFAULT '';
