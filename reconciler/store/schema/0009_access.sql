-- Tokens of the API, by name; a digest is the SHA-256 of the token in hexadecimal, grants are JSON.
CREATE TABLE access_tokens (
    name {text} PRIMARY KEY,
    digest {text} NOT NULL,
    grants {text} NOT NULL,
    created_by {text} NOT NULL,
    created_at {real} NOT NULL,
    expires_at {real} NOT NULL,
    last_used_at {real},
    revoked_at {real}
){strict};

CREATE UNIQUE INDEX access_tokens_by_digest ON access_tokens (digest);

-- Answers to requests that may be sent again, sealed, by who asked and the key that they gave.
CREATE TABLE kept_answers (
    bearer {text} NOT NULL,
    idempotency_key {text} NOT NULL,
    request {text} NOT NULL,
    answer {bytes} NOT NULL,
    at {real} NOT NULL,
    PRIMARY KEY (bearer, idempotency_key)
){strict};

CREATE INDEX kept_answers_by_age ON kept_answers (at);
