-- The installation's own keys; the private ones are sealed.
CREATE TABLE authority_keys (
    purpose {text} NOT NULL,
    number {integer} NOT NULL,
    certificate {text} NOT NULL,
    private_key {bytes} NOT NULL,
    state {text} NOT NULL,
    since {real} NOT NULL,
    made_at {real} NOT NULL,
    PRIMARY KEY (purpose, number)
){strict};

-- One key certifies and one key serves, whatever the code does, and at most one of each is to follow.
CREATE UNIQUE INDEX authority_keys_in_use ON authority_keys (purpose, state) WHERE state <> 'former';

-- Pools are a JSON list; a used_by of '' is nobody.
CREATE TABLE enrolment_tokens (
    id {text} PRIMARY KEY,
    secret_digest {text} NOT NULL,
    worker {text} NOT NULL,
    pools {text} NOT NULL,
    replaces {integer} NOT NULL,
    created_by {text} NOT NULL,
    created_at {real} NOT NULL,
    expires_at {real} NOT NULL,
    used_by {text} NOT NULL,
    used_at {real},
    revoked_at {real},
    refusals {integer} NOT NULL
){strict};

CREATE TABLE identities (
    thumbprint {text} PRIMARY KEY,
    worker {text} NOT NULL,
    subscription {text} NOT NULL,
    listen {text} NOT NULL,
    certified_at {real} NOT NULL,
    expires_at {real} NOT NULL,
    enrolled_by {text} NOT NULL
){strict};

CREATE INDEX identities_of_workers ON identities (worker);

CREATE TABLE revocations (
    thumbprint {text} PRIMARY KEY,
    worker {text} NOT NULL,
    reason {text} NOT NULL,
    by_whom {text} NOT NULL,
    at {real} NOT NULL
){strict};

-- Capabilities are a JSON object; without a seen_at the worker was never seen.
CREATE TABLE worker_status (
    worker {text} PRIMARY KEY,
    state {text} NOT NULL,
    since {real} NOT NULL,
    reason {text} NOT NULL,
    seen_at {real},
    address {text} NOT NULL,
    release {text} NOT NULL,
    boot {text} NOT NULL,
    store {text} NOT NULL,
    incarnation {integer} NOT NULL,
    capabilities {text} NOT NULL
){strict};
