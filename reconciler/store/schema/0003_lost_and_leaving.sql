-- An attempt whose worker was silent for too long is lost: its step goes on without it, its end may still be recorded.
ALTER TABLE attempts ADD COLUMN lost_at {real};

DROP INDEX live_attempts;

CREATE UNIQUE INDEX live_attempts ON attempts (task, step) WHERE finished_at IS NULL AND lost_at IS NULL;

CREATE INDEX unfinished_attempts ON attempts (worker) WHERE finished_at IS NULL;

-- Workers that Git no longer declares while attempts live on them: still spoken with, never given work.
CREATE TABLE leaving_workers (
    name {text} PRIMARY KEY,
    spec {text} NOT NULL
){strict};
