-- Which node leads: its engine alone writes, under an epoch that only rises. One that has given the lead back has until 0.
-- Nodes are told apart by what their files hold, since names are people's; built_in is the node whose built-in worker is meant.
CREATE TABLE leadership (
    one {integer} PRIMARY KEY CHECK (one = 1),
    node {text} NOT NULL,
    files {text} NOT NULL,
    epoch {integer} NOT NULL,
    since {real} NOT NULL,
    until {real} NOT NULL,
    built_in_node {text} NOT NULL,
    built_in_files {text} NOT NULL
){strict};

INSERT INTO leadership (one, node, files, epoch, since, until, built_in_node, built_in_files)
    VALUES (1, '', '', 0, 0, 0, '', '');

-- Attempts that were given up on the built-in worker of a node that leads no longer: only that node can tell how they end.
CREATE TABLE left_attempts (
    ticket {text} PRIMARY KEY REFERENCES attempts (ticket),
    node {text} NOT NULL,
    files {text} NOT NULL
){strict};

-- Script files that tasks pin, by their SHA-256, for nodes that take a task over; where one node works alone, none.
CREATE TABLE pinned_files (
    digest {text} PRIMARY KEY,
    content {bytes} NOT NULL
){strict};
