-- Workers that a person drains whatever Git declares, until the override ends; times are seconds since the epoch.
CREATE TABLE overrides (
    worker {text} PRIMARY KEY,
    made_by {text} NOT NULL,
    reason {text} NOT NULL,
    since {real} NOT NULL,
    until {real} NOT NULL
){strict};

-- Workers that drain, whoever wants it: since when, since when nothing lives there, and since when the deadline has passed.
CREATE TABLE drains (
    worker {text} PRIMARY KEY,
    since {real} NOT NULL,
    drained_at {real},
    overdue_at {real}
){strict};
