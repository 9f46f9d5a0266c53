-- The present list of each owner's revoked generations; the audit log tells how it came to be.
CREATE TABLE revocations (
    owner    TEXT   NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    -- The signed list as it came (JSON): the object `revocations.json` is a copy for static servers.
    signed   TEXT   NOT NULL,
    put_at   BIGINT NOT NULL,
    put_by   TEXT   NOT NULL
);
