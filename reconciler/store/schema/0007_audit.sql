-- Events say also who acted, from where, under which space and plan, and what the change was (canonical JSON, '' is none).
-- Each holds the hash of the one before it and its own, over all its other columns; those of before are chained at once.
ALTER TABLE events ADD COLUMN kind {text} NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN origin {text} NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN space {text} NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN plan {text} NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN before {text} NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN after {text} NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN previous {text} NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN hash {text} NOT NULL DEFAULT '';

UPDATE events SET kind = CASE
    WHEN actor = 'engine' THEN 'engine'
    WHEN actor = 'serve' THEN 'controller'
    WHEN actor LIKE 'agent %' THEN 'agent'
    ELSE 'person' END;

-- The last event and its hash: one row, which every writer of events updates only as it has read it.
CREATE TABLE heads (
    one {integer} PRIMARY KEY CHECK (one = 1),
    event {integer} NOT NULL,
    hash {text} NOT NULL
){strict};

INSERT INTO heads (one, event, hash) SELECT 1, COALESCE(MAX(value), 0), '' FROM counters WHERE name = 'event';

DELETE FROM counters WHERE name = 'event';
