-- Where the readiness check writes: a server that cannot be written to is of no use to a shop.
CREATE TABLE heartbeat (
  id TINYINT PRIMARY KEY,
  at DATETIME(6) NOT NULL
);
