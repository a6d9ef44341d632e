-- What a provider that is another system must look up and has no room for.

-- Which client of it a customer is. One to one.
CREATE TABLE customer_link (
    provider text NOT NULL,
    customer_id bigint NOT NULL,
    client_id bigint NOT NULL,
    link_time timestamptz NOT NULL,
    PRIMARY KEY (provider, customer_id),
    UNIQUE (provider, client_id)
);

-- The mail address that a customer had when he ordered last: a client is found by it.
CREATE TABLE customer_contact (
    customer_id bigint PRIMARY KEY,
    email text NOT NULL,
    update_time timestamptz NOT NULL
);
