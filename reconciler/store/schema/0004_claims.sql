-- What bounds concurrency: how much of it is used, who has it alone ('' is nobody), and its fence, which only rises.
-- Without a capacity only claims alone bound it.
CREATE TABLE resources (
    name {text} PRIMARY KEY,
    capacity {integer},
    used {integer} NOT NULL,
    alone {text} NOT NULL,
    fence {integer} NOT NULL
){strict};

INSERT INTO resources (name, capacity, used, alone, fence) SELECT resource, NULL, 0, '', token FROM fences;

DROP TABLE fences;

-- A holder is a ticket, or a task as `task/12`; the token is the resource's fence at the time of the claim.
CREATE TABLE claims (
    holder {text} NOT NULL,
    resource {text} NOT NULL REFERENCES resources (name),
    alone {integer} NOT NULL,
    token {integer} NOT NULL,
    PRIMARY KEY (holder, resource)
){strict};

CREATE INDEX claims_of_resources ON claims (resource);

-- The workers that a task prefers under a key, how many grants it had on each, and the order in which they were leased.
CREATE TABLE worker_leases (
    task {integer} NOT NULL REFERENCES tasks (id),
    lease_key {text} NOT NULL,
    worker {text} NOT NULL,
    grants {integer} NOT NULL,
    number {integer} NOT NULL,
    PRIMARY KEY (task, lease_key, worker)
){strict};

-- What the attempt was granted on, as JSON; '' of those granted before there were requests.
ALTER TABLE attempts ADD COLUMN request {text} NOT NULL DEFAULT '';
