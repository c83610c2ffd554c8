-- Numbers that rise one by one in the order of commits: the state's serial, tasks, events, revisions.
CREATE TABLE counters (
    name {text} PRIMARY KEY,
    value {integer} NOT NULL
){strict};

-- Objects as they were last applied.
CREATE TABLE objects (
    kind {text} NOT NULL,
    name {text} NOT NULL,
    spec {text} NOT NULL,
    metadata {text} NOT NULL,
    digest {text} NOT NULL,
    file {text} NOT NULL,
    line {integer} NOT NULL,
    col {integer} NOT NULL,
    revision {text} NOT NULL,
    generation {integer} NOT NULL,
    protected {integer} NOT NULL,
    PRIMARY KEY (kind, name)
){strict};

-- Which space of which source this state belongs to: one row.
CREATE TABLE bindings (
    one {integer} PRIMARY KEY CHECK (one = 1),
    space {text} NOT NULL,
    root {text} NOT NULL,
    path {text} NOT NULL
){strict};

CREATE TABLE revisions (
    number {integer} PRIMARY KEY,
    revision {text} NOT NULL,
    at {real} NOT NULL
){strict};

CREATE TABLE applied_plans (
    digest {text} PRIMARY KEY,
    revision {text} NOT NULL,
    at {real} NOT NULL
){strict};

-- What tasks pin, by digest.
CREATE TABLE pins (
    digest {text} PRIMARY KEY,
    content {text} NOT NULL
){strict};

-- A tenant of '' is none.
CREATE TABLE tasks (
    id {integer} PRIMARY KEY,
    deployment {text} NOT NULL,
    project {text} NOT NULL,
    environment {text} NOT NULL,
    tenant {text} NOT NULL,
    release {text} NOT NULL,
    digest {text} NOT NULL,
    pin {text} NOT NULL REFERENCES pins (digest),
    process {text} NOT NULL,
    revision {text} NOT NULL,
    state {text} NOT NULL,
    priority {integer} NOT NULL,
    reason {text} NOT NULL,
    cancel_by {text} NOT NULL,
    adopted {integer} NOT NULL,
    queued_at {real} NOT NULL,
    started_at {real},
    finished_at {real}
){strict};

CREATE INDEX unfinished_tasks ON tasks (id) WHERE finished_at IS NULL;

-- The last task of each slot, so that a plan need not look through all tasks ever.
CREATE TABLE slots (
    project {text} NOT NULL,
    environment {text} NOT NULL,
    tenant {text} NOT NULL,
    last_task {integer} NOT NULL REFERENCES tasks (id),
    PRIMARY KEY (project, environment, tenant)
){strict};

CREATE TABLE step_runs (
    task {integer} NOT NULL REFERENCES tasks (id),
    position {integer} NOT NULL,
    key {text} NOT NULL,
    name {text} NOT NULL,
    state {text} NOT NULL,
    reason {text} NOT NULL,
    since {real},
    started_at {real},
    finished_at {real},
    PRIMARY KEY (task, position),
    UNIQUE (task, key)
){strict};

CREATE TABLE attempts (
    ticket {text} PRIMARY KEY,
    task {integer} NOT NULL,
    step {integer} NOT NULL,
    number {integer} NOT NULL,
    worker {text} NOT NULL,
    token {integer} NOT NULL,
    state {text} NOT NULL,
    spec {text} NOT NULL,
    decision {text} NOT NULL,
    ending {text} NOT NULL,
    granted_at {real} NOT NULL,
    started_at {real},
    finished_at {real},
    log_length {integer} NOT NULL,
    log_digest {text} NOT NULL,
    UNIQUE (task, step, number),
    FOREIGN KEY (task, step) REFERENCES step_runs (task, position)
){strict};

-- At most one live attempt per step run (G2), whatever the code does.
CREATE UNIQUE INDEX live_attempts ON attempts (task, step) WHERE finished_at IS NULL;

CREATE TABLE fences (
    resource {text} PRIMARY KEY,
    token {integer} NOT NULL
){strict};

CREATE TABLE worker_sessions (
    worker {text} PRIMARY KEY,
    epoch {integer} NOT NULL
){strict};

-- Values are UTF-8, or sealed where they are sensitive.
CREATE TABLE outputs (
    task {integer} NOT NULL REFERENCES tasks (id),
    step {text} NOT NULL,
    name {text} NOT NULL,
    value {bytes} NOT NULL,
    sensitive {integer} NOT NULL,
    PRIMARY KEY (task, step, name)
){strict};

CREATE TABLE artifacts (
    ticket {text} NOT NULL REFERENCES attempts (ticket),
    name {text} NOT NULL,
    task {integer} NOT NULL,
    step {text} NOT NULL,
    size {integer} NOT NULL,
    digest {text} NOT NULL,
    PRIMARY KEY (ticket, name)
){strict};

CREATE INDEX artifacts_of_tasks ON artifacts (task);

-- Teams are a JSON list; a decision of '' is none yet.
CREATE TABLE interventions (
    task {integer} NOT NULL,
    step {integer} NOT NULL,
    instructions {text} NOT NULL,
    teams {text} NOT NULL,
    asked_at {real} NOT NULL,
    decision {text} NOT NULL,
    decided_by {text} NOT NULL,
    decided_at {real},
    notes {text} NOT NULL,
    PRIMARY KEY (task, step),
    FOREIGN KEY (task, step) REFERENCES step_runs (task, position)
){strict};

CREATE TABLE events (
    id {integer} PRIMARY KEY,
    at {real} NOT NULL,
    actor {text} NOT NULL,
    action {text} NOT NULL,
    subject {text} NOT NULL,
    outcome {text} NOT NULL,
    revision {text} NOT NULL,
    detail {text} NOT NULL
){strict};

CREATE INDEX events_of_subjects ON events (subject, id);

-- A holder of '' is none; the row stays, so that tokens never fall.
CREATE TABLE leases (
    name {text} PRIMARY KEY,
    holder {text} NOT NULL,
    token {integer} NOT NULL,
    expires_at {real} NOT NULL
){strict};

-- The key that seals this store's values, by its fingerprint: one row once a key was used.
CREATE TABLE seals (
    one {integer} PRIMARY KEY CHECK (one = 1),
    fingerprint {text} NOT NULL
){strict};
