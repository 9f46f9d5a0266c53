-- Names, access and history. Bytes lie in the object store. Times are milliseconds since 1970; hashes are in SRI form.
-- Portable between SQLite and PostgreSQL: no autoincrement, no boolean, no dialect's functions.

CREATE TABLE tokens (
    id         TEXT   NOT NULL PRIMARY KEY,
    owner      TEXT   NOT NULL,
    scope      TEXT   NOT NULL,
    -- SHA-256 of the token in hexadecimal: the token itself is never stored.
    hash       TEXT   NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE environments (
    owner         TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    visibility    TEXT   NOT NULL,
    head_number   BIGINT NOT NULL DEFAULT 0,
    head_digest   TEXT,
    live_number   BIGINT NOT NULL DEFAULT 0,
    live_digest   TEXT,
    live_sequence BIGINT NOT NULL DEFAULT 0,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (owner, name)
);

CREATE TABLE generations (
    owner        TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    number       BIGINT NOT NULL,
    digest       TEXT   NOT NULL,
    created      TEXT   NOT NULL,
    author       TEXT   NOT NULL,
    message      TEXT   NOT NULL,
    published_at BIGINT NOT NULL,
    published_by TEXT   NOT NULL,
    PRIMARY KEY (owner, name, number),
    UNIQUE (owner, name, digest)
);

CREATE TABLE pointers (
    owner    TEXT   NOT NULL,
    name     TEXT   NOT NULL,
    sequence BIGINT NOT NULL,
    number   BIGINT NOT NULL,
    digest   TEXT   NOT NULL,
    time     TEXT   NOT NULL,
    -- The signed pointer as it came (JSON): the object `live.json` is a copy for static servers.
    signed   TEXT   NOT NULL,
    moved_at BIGINT NOT NULL,
    moved_by TEXT   NOT NULL,
    PRIMARY KEY (owner, name, sequence)
);

-- Which store paths an environment's generations need: what is public follows from it.
CREATE TABLE environment_paths (
    owner     TEXT NOT NULL,
    name      TEXT NOT NULL,
    hash_part TEXT NOT NULL,
    PRIMARY KEY (owner, name, hash_part)
);
CREATE INDEX environment_paths_by_path ON environment_paths (owner, hash_part);

CREATE TABLE nars (
    owner       TEXT   NOT NULL,
    file        TEXT   NOT NULL,
    file_size   BIGINT NOT NULL,
    uploaded_at BIGINT NOT NULL,
    uploaded_by TEXT   NOT NULL,
    PRIMARY KEY (owner, file)
);

CREATE TABLE paths (
    owner       TEXT   NOT NULL,
    hash_part   TEXT   NOT NULL,
    store_path  TEXT   NOT NULL,
    nar_hash    TEXT   NOT NULL,
    nar_size    BIGINT NOT NULL,
    file        TEXT   NOT NULL,
    file_size   BIGINT NOT NULL,
    uploaded_at BIGINT NOT NULL,
    uploaded_by TEXT   NOT NULL,
    PRIMARY KEY (owner, hash_part)
);
CREATE INDEX paths_by_file ON paths (owner, file);

CREATE TABLE audit (
    id      TEXT   NOT NULL PRIMARY KEY,
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    detail  TEXT   NOT NULL
);
CREATE INDEX audit_by_time ON audit (at);
