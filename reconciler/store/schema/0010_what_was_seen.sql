-- The digest of a plan that waits as `reconcile plan` shows it; '' where it was proposed before this was recorded.
ALTER TABLE proposals ADD COLUMN plan {text} NOT NULL DEFAULT '';

-- What has to be signed of a source: commit, tag, or nothing.
ALTER TABLE source RENAME COLUMN signed_by TO signatures;
