-- The source that this state follows, as it was looked at last: one row. A failed_since of NULL is a look that succeeded.
CREATE TABLE source (
    one {integer} PRIMARY KEY CHECK (one = 1),
    url {text} NOT NULL,
    ref {text} NOT NULL,
    folder {text} NOT NULL,
    head {text} NOT NULL,
    signed_by {text} NOT NULL,
    looked_at {real} NOT NULL,
    failed_since {real},
    problem {text} NOT NULL
){strict};

-- Commits in the order in which they were judged, and what became of each.
CREATE TABLE commits (
    number {integer} PRIMARY KEY,
    revision {text} NOT NULL,
    author {text} NOT NULL,
    subject {text} NOT NULL,
    verdict {text} NOT NULL,
    reason {text} NOT NULL,
    seen_at {real} NOT NULL,
    judged_at {real} NOT NULL
){strict};

CREATE UNIQUE INDEX commits_by_revision ON commits (revision);

CREATE TABLE conditions (
    type {text} PRIMARY KEY,
    status {text} NOT NULL,
    reason {text} NOT NULL,
    message {text} NOT NULL,
    revision {text} NOT NULL,
    since {real} NOT NULL
){strict};

-- While a row is here and not over, nothing is carried out: one row.
CREATE TABLE suspensions (
    one {integer} PRIMARY KEY CHECK (one = 1),
    by_whom {text} NOT NULL,
    reason {text} NOT NULL,
    since {real} NOT NULL,
    until {real} NOT NULL
){strict};

-- Plans that wait for a person, by their digest; a decision of '' is none yet.
CREATE TABLE proposals (
    digest {text} PRIMARY KEY,
    revision {text} NOT NULL,
    why {text} NOT NULL,
    summary {text} NOT NULL,
    made_at {real} NOT NULL,
    decision {text} NOT NULL,
    decided_by {text} NOT NULL,
    decided_at {real},
    notes {text} NOT NULL
){strict};
